"""Langevin sweeps: what is projected, a sweep at its smallest, and what is kept of it."""

import json
from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bnnsample
from experiments import _langevin, _langevin_sweep, langevin_data, langevin_width
from experiments._data import load
from experiments._measure import Measurement

SIGNS = np.array([-1, 1])


@pytest.mark.parametrize("coordinates", ["standard", "repriorised"])
def test_directions_are_of_the_networks_own_parameters_and_outputs(coordinates):
    """A chain that does not move records the projections of the network it starts from."""
    data = load("digits", 6, seed=0, n_eval=3, dtype=np.float64)
    model = bnnsample.models.mlp(1, "gelu")
    bench = _langevin.ProjectedBench(
        model, data, 5, bnnsample.likelihoods.Gaussian(0.3), coordinates, "ghmc", 2
    )
    x = jnp.asarray(data.x)
    starts = [model.init(jax.random.key(i), x, 5, 10) for i in range(_langevin.NUM_CHAINS)]
    states = bench.start(starts)
    keys = jax.random.split(jax.random.key(7), _langevin.NUM_CHAINS)
    options = {**bench.defaults, "step_size": jnp.asarray(1e-12)}
    _, (parameters, function, accepted) = bench.program(
        bench.posterior, bench.watch.signs, bench.directions, options, keys, states
    )
    assert parameters.shape == (4, _langevin.DRAWS_AT_ONCE, 100)
    np.testing.assert_allclose(accepted, 1, atol=1e-6)
    for chain, network in enumerate(starts):
        flat = np.concatenate([np.asarray(leaf).ravel() for leaf in jax.tree.leaves(network)])
        signs = np.concatenate([np.asarray(sign) for sign in bench.watch.signs])
        # Every hundredth parameter belongs to one direction, of length one.
        dense = np.zeros((100, len(flat)))
        dense[np.arange(len(flat)) % 100, np.arange(len(flat))] = signs
        dense /= np.linalg.norm(dense, axis=1, keepdims=True)
        outputs = np.asarray(model.apply(network, jnp.asarray(data.x_eval))).ravel()
        for draw in (0, -1):
            np.testing.assert_allclose(parameters[chain, draw], dense @ flat, atol=1e-8)
            expected = outputs @ np.asarray(bench.directions)
            np.testing.assert_allclose(function[chain, draw], expected, atol=1e-8)


@pytest.mark.slow
def test_a_sweep_end_to_end(tmp_path, monkeypatch):
    arguments = ["--n-trains", "8", "--noise-scales", "0.1", "--width", "6", "--gradients", "100"]
    arguments += ["--out", str(tmp_path)]
    monkeypatch.setattr(langevin_data, "N_TRAIN", 8)
    with jax.enable_x64(False):
        rows = langevin_data.main(arguments)
    assert [row["method"] for row in rows] == ["standard", "repriorised"]
    for row in rows:
        assert 0 < row["ess_per_step_parameters"] <= 1
        assert 0 < row["ess_per_step_function"] <= 1
        assert 0 < row["acceptance"] <= 1
        assert row["gradient_ms"] > 0
        assert row["num_steps"] % 4 == 0


class Slow:
    """Chains whose parameters mix after 500 draws, and their function at once."""

    thin = 2

    def __init__(self):
        self.asked = []

    def measure(self, setting, states, num_draws, seed):
        self.asked.append((setting["damping"], num_draws))
        r_hat = 1.2 if num_draws < 500 else 1.01
        return replace(
            SHORT, setting=setting, num_draws=_langevin.NUM_CHAINS * num_draws, r_hat_weights=r_hat
        )


SHORT = Measurement({"damping": 1.0}, 0.8, 5.0, 4.0, 1.0, 4 * 50, 400, 1.0, 1.4)


@pytest.mark.parametrize(
    ("longest", "runs", "r_hat"),
    [
        (100, [], 1.4),
        (101, [], 1.4),
        (150, [75], 1.2),
        (1600, [200, 800], 1.01),
        (10_000, [200, 800], 1.01),
    ],
    ids=["never", "no longer", "up to the longest", "exactly", "until mixed"],
)
def test_unmixed_chains_run_longer(longest, runs, r_hat):
    bench, options = Slow(), SimpleNamespace(gradients=100, longest=longest, seed=3)
    function = replace(SHORT, setting={"damping": 2.0})
    best = {"function": function, "weights": SHORT}
    found = _langevin.until_mixed(bench, best, "there", options)
    assert found["weights"].r_hat_weights == r_hat
    assert bench.asked == [(1.0, draws) for draws in runs]
    assert found["function"] is function


def test_one_setting_is_measured_once_for_both():
    bench, options = Slow(), SimpleNamespace(gradients=100, longest=400, seed=3)
    unmixed = replace(SHORT, r_hat_function=np.nan)
    best = {"function": unmixed, "weights": unmixed}
    found = _langevin.until_mixed(bench, best, "there", options)
    assert bench.asked == [(1.0, 200)]
    assert found["function"] is found["weights"]


def test_a_sweep_is_kept_and_not_measured_again(tmp_path, monkeypatch, capsys):
    def measured(cell, options):
        figures = dict.fromkeys(set(_langevin_sweep.COLUMNS) - set(cell._fields), 0.5)
        row = {**figures, **cell._asdict(), "num_steps": options.gradients, "setting": "{}"}
        row |= {"num_steps_parameters": options.gradients, "setting_parameters": "{}"}
        return [{**row, "method": method} for method in ("standard", "repriorised")]

    arguments = ["--n-trains", "8", "16", "--noise-scales", "0.1", "--width", "6"]
    arguments += ["--gradients", "100", "--out", str(tmp_path)]
    monkeypatch.setattr(langevin_data, "N_TRAIN", 8)
    monkeypatch.setattr(_langevin_sweep, "measure", measured)
    rows = langevin_data.main(arguments)
    monkeypatch.setattr(_langevin_sweep, "measure", None)
    again = langevin_data.main(arguments)
    assert [row["n_train"] for row in rows] == [8, 8, 16, 16]
    for column in set(_langevin_sweep.COLUMNS) - {"setting", "setting_parameters"}:
        assert [row[column] for row in again] == [row[column] for row in rows]
    names = {f"langevin_data.{kind}" for kind in ("csv", "png", "json")}
    assert {path.name for path in tmp_path.iterdir()} == names
    settings = json.loads((tmp_path / "langevin_data.json").read_text())
    assert settings["width"] == 6
    assert settings["versions"]["jax"] == jax.__version__
    assert "repriorised / standard" in capsys.readouterr().out


def row_with(method, parameters, function):
    """A row of R-hats of parameters and function."""
    return {
        **dict.fromkeys(_langevin_sweep.COLUMNS, 1.0), "network": "fcn-1", "method": method,
        "width": 8, "n_train": 4, "ess_per_step_parameters": 0.25, "ess_per_step_function": 0.5,
        "ess_per_second_function": 2.0,
        "r_hat_parameters": parameters, "r_hat_function": function,
    }  # fmt: skip


def test_unmixed_chains_are_bounds():
    row = row_with("standard", 1.2, 1.01)
    assert "| <= 0.25000 | 0.50000 | 2 |" in _langevin_sweep.table([row])
    row = row_with("standard", 1.01, np.nan)
    assert "| 0.25000 | <= 0.50000 | <= 2 |" in _langevin_sweep.table([row])


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (1.01, 1.01, "per step 1.0 times (parameters), 2.0 times (function),"),
        (1.2, 1.01, "per step at least 1.0 times (parameters), at least 2.0 times (function),"),
        (1.01, 1.2, "per step at most 1.0 times (parameters), at most 2.0 times (function),"),
        (1.2, 1.2, "1.0 times (parameters, neither has mixed), 2.0 times (function, neither"),
    ],
    ids=["both mixed", "after", "before", "neither"],
)
def test_ratios_are_bounds_where_one_has_mixed(before, after, said):
    better = {**row_with("repriorised", after, after), "ess_per_step_function": 1.0}
    assert said in _langevin_sweep.ratio_line(row_with("standard", before, before), better)


def test_cells_are_those_asked_for(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(_langevin_sweep, "sweep", lambda cells, *_: asked.extend(cells))
    options = ["--networks", "fcn-1", "resnet-8", "--widths", "4", "--out", str(tmp_path)]
    langevin_width.main(options)
    assert [(c.network, c.width, c.n_train) for c in asked] == [
        ("fcn-1", 4, 128), ("resnet-8", 4, 32),
    ]  # fmt: skip
    asked.clear()
    langevin_data.main(["--n-trains", "8", "--noise-scales", "0.1", "2", "--out", str(tmp_path)])
    assert [(c.n_train, c.noise) for c in asked] == [(8, 0.1), (128, 0.1), (128, 2.0)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--data", "cifar10"], "--data-dir"),
        (["--gradients", "5"], "from 100 on"),
        (["--noise-scale", "0"], "positive"),
        (["--networks", "fcn-2"], "fcn-1"),
        (["--gradients", "500", "--longest", "400"], "--longest"),
    ],
    ids=["no folder", "few gradients", "no noise", "unknown network", "longest is shorter"],
)
def test_bad_options_end_it(options, said, capsys):
    with pytest.raises(SystemExit):
        langevin_width.main(options)
    assert said in capsys.readouterr().err


def test_images_are_images_for_a_residual_network(tmp_path):
    options = langevin_width.parse(["--out", str(tmp_path)])
    for network, shape in (("fcn-3", (64,)), ("resnet-8", (8, 8, 1))):
        cell = _langevin.Cell("digits", network, 4, 5, 0.1)
        data = _langevin.data_of(cell, options)
        assert data.x.shape == (5, *shape)
        assert data.x_eval.shape == (32, *shape)
        assert _langevin.model_of(network).network is not None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_data_have_the_dtype_asked_for(dtype):
    options = langevin_width.parse(["--dtype", dtype])
    data = _langevin.data_of(_langevin.Cell("digits", "fcn-1", 4, 5, 0.1), options)
    assert {a.dtype for a in (data.x, data.y, data.x_eval)} == {np.dtype(dtype)}
