"""The speed of likelihoods: what is counted, what is printed, and small runs end to end."""

import jax
import numpy as np
import pytest

from experiments import large_data, likelihood_speed


def row(method, function, weights, r_hat=1.0):
    return {
        "data": "digits", "readout_scale": 1.0, "width": 8, "method": method,
        "ess_per_gradient_function": function, "ess_per_gradient_weights": weights,
        "r_hat_function": r_hat,
    }  # fmt: skip


def test_ratios_and_bounds():
    """Ours over the baseline's; a baseline that did not mix is an upper bound."""
    rows = [row("ours", 0.3, 0.2), row("standard + HMC", 0.1, 0.05, r_hat=1.2)]
    line = likelihood_speed.ratios(rows).splitlines()[-1]
    assert line == "| digits | 1 | 8 | 0.300 / 0.200 | at most 0.100 / 0.050 | 3.0 / 4.0 |"


def test_data_of_labels():
    options = likelihood_speed.parse(["--n-train", "40"])
    data, likelihood = likelihood_speed.problem("digits", options)
    assert data.x.shape == (40, 64)
    assert data.x_eval.shape == (32, 64)
    assert likelihood.classes == tuple(range(10))
    assert set(np.unique(data.y)) <= set(range(10))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["breast_cancer", "diabetes"])
def test_end_to_end(name, tmp_path):
    arguments = ["--data", name, "--widths", "6", "--draws", "30", "--gradients", "120"]
    arguments += ["--n-train", "16", "--out", str(tmp_path)]
    with jax.enable_x64(False):
        rows = likelihood_speed.main(arguments)
        again = likelihood_speed.main(arguments)
    methods = {"ours", "standard + HMC"} | ({"ours, noise known"} if name == "diabetes" else set())
    assert {r["method"] for r in rows} == methods
    assert all(0 < r["ess_per_gradient_function"] <= 1 for r in rows)
    assert [r["num_gradients"] for r in again] == [r["num_gradients"] for r in rows]
    assert (tmp_path / "likelihood_speed.png").read_bytes()[:4] == b"\x89PNG"


def test_gradients_of_many_points(capsys):
    """Both likelihoods in both precisions; float32 near float64."""
    rows = large_data.main(["--n", "30", "--width", "5", "60", "--repeats", "1"])
    assert len(rows) == 8
    assert all(r["gradient_error"] < 1e-3 for r in rows)
    assert {r["gradient_error"] for r in rows if r["dtype"] == "float64"} == {0.0}
