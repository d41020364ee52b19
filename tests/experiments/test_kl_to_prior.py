"""The divergence experiment at its smallest, and the line it fits."""

import jax
import numpy as np
import pandas as pd
import pytest
import scipy.optimize

from experiments import kl_to_prior


def test_end_to_end(tmp_path, capsys):
    """On diabetes with 12 points, KL to the prior falls as 1 / width."""
    arguments = ["--data", "diabetes", "--depths", "1", "--widths", "64", "256", "1024"]
    arguments += ["--n-train", "12", "--num-particles", "64", "--out", str(tmp_path)]
    with jax.enable_x64(False):
        table = kl_to_prior.main(arguments)
    assert list(table.width) == [64, 256, 1024]
    assert (table.method == "importance").all()
    stored = pd.read_csv(tmp_path / "kl_to_prior.csv")
    assert list(stored.columns) == list(table.columns)
    assert (tmp_path / "kl_to_prior.png").read_bytes().startswith(b"\x89PNG")
    slope = kl_to_prior.fit_slope(table)
    assert abs(slope.value + 1) < 4 * slope.standard_error + 0.05
    assert slope.standard_error < 0.1
    assert f"slope {slope.value:.3f} +- {slope.standard_error:.3f}" in capsys.readouterr().out


@pytest.mark.slow
def test_on_diabetes_the_divergence_falls_as_one_over_the_width(tmp_path):
    """64 points, noise scale 1, widths 512 to 8192: slope -1 within 0.25."""
    with jax.enable_x64(False):
        table = kl_to_prior.main(["--data", "diabetes", "--depths", "1", "--out", str(tmp_path)])
    assert (table.width.min(), table.width.max()) == (512, 8192)
    slope = kl_to_prior.fit_slope(table)
    assert abs(slope.value + 1) < 0.25
    assert slope.standard_error < 0.05


def test_the_slope_is_that_of_weighted_least_squares():
    width = np.array([2.0, 4, 8, 16])
    kl, error = np.array([3.0, 1, 0.7, 0.2]), np.array([1, 0.1, 0.3, 0.1])
    line = pd.DataFrame({"width": width, "kl_to_prior": kl, "kl_to_prior_se": error})
    (slope, intercept), covariance = scipy.optimize.curve_fit(
        lambda x, a, b: a * x + b,
        np.log(width),
        np.log(kl),
        sigma=error / kl,
        absolute_sigma=True,
    )
    found = kl_to_prior.fit_slope(line)
    expected = (slope, covariance[0, 0] ** 0.5, intercept)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_estimates_at_zero_and_equal_widths_have_no_slope():
    table = pd.DataFrame(
        {
            "width": [8, 8, 16, 32],
            "kl_to_prior": [0.5, 0.4, -0.01, 0.0],
            "kl_to_prior_se": [0.1, 0.1, 0.02, 0.0],
        }
    )
    assert np.isnan(kl_to_prior.fit_slope(table)).all()
    positive = pd.DataFrame({"width": [8, 16], "kl_to_prior": [0.5, 0.25], "kl_to_prior_se": 0.1})
    both = pd.concat([table[2:], positive])
    assert kl_to_prior.fit_slope(both).value == pytest.approx(-1)
