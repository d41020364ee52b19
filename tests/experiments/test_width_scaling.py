"""The width experiment end to end at its smallest, and the parts its figures rest on."""

import csv

import jax
import numpy as np
import pytest

from experiments import _data, _measure, _methods, width_scaling


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    out = tmp_path_factory.mktemp("width")
    arguments = ["--widths", "8", "--data", "diabetes", "--n-train", "12", "--gradients", "80"]
    with jax.enable_x64(False):
        rows = width_scaling.main([*arguments, "--out", str(out)])
    return rows, out


def test_every_method_has_a_row_with_finite_figures(outcome):
    rows, _ = outcome
    assert [row["method"] for row in rows] == [
        "collapsed + infinite HMC",
        "collapsed + pCN",
        "collapsed + unit-wise",
        "standard + HMC",
        "repriorised + Langevin",
        "standard + Langevin",
    ]
    for row in rows:
        assert 0 < row["ess_per_gradient_function"] <= 1
        assert 0 < row["ess_per_gradient_weights"] <= 1
        assert row["ess_per_second_function"] > 0
        assert 0 < row["acceptance"] <= 1


def test_ratios_to_the_baselines_are_said(outcome):
    rows, _ = outcome
    lines = width_scaling.ratios(rows).split("\n")
    ours, hmc = (next(r for r in rows if r["method"].endswith(m)) for m in ("e HMC", "d + HMC"))
    ratio = ours["ess_per_gradient_weights"] / hmc["ess_per_gradient_weights"]
    assert len(lines) == 3
    assert "over standard + HMC" in lines[0]
    assert f"{ratio:.1f} (weights)" in lines[0]
    unmixed = [{**r, "r_hat_function": 1.2} for r in rows]
    assert width_scaling.ratios(unmixed).count("at least") == 3


def test_csv_and_figure_are_written(outcome):
    rows, out = outcome
    with (out / "width_scaling.csv").open() as file:
        written = list(csv.DictReader(file))
    assert [row["method"] for row in written] == [row["method"] for row in rows]
    assert (out / "width_scaling.png").read_bytes()[:4] == b"\x89PNG"
    assert not list(out.glob("*.part*"))


def test_digits_are_shifted_one_hot():
    data = _data.load("digits", 16, seed=0)
    assert data.y.shape == (16, 10)
    np.testing.assert_allclose(np.sort(np.unique(data.y)), [-0.1, 0.9], rtol=1e-6)
    np.testing.assert_allclose(data.y.sum(1), 0, atol=1e-6)


def test_training_and_evaluation_points_are_distinct():
    data = _data.load("diabetes", 64, seed=0)
    rows = {tuple(row) for row in data.x}
    assert not rows & {tuple(row) for row in data.x_eval}


def test_too_many_points_are_refused():
    with pytest.raises(ValueError, match="n_train"):
        _data.load("diabetes", 10**6, seed=0)
    with pytest.raises(ValueError, match="unknown data"):
        _data.load("cifar", 4, seed=0)


def test_grid_holds_every_combination():
    method = _methods.BASELINES[0]
    settings = method.settings(0.1)
    assert len(settings) == len(method.factors) * len(_methods.ANGLES)
    assert {s["trajectory_angle"] for s in settings} == set(_methods.ANGLES)


def test_measurement_divides_by_gradients():
    m = _measure.Measurement({}, 0.8, 50.0, 20.0, 1.0, 100, 400, 2.0)
    assert m.function_per_gradient == 0.125
    assert m.weights_per_gradient == 0.05
    assert m.function_per_second == 25.0
