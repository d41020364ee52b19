"""The divergence experiment at its smallest, and the line it fits."""

import json

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


def estimate(kl):
    """What ``evidence`` returns, as far as the table looks."""
    row = dict.fromkeys(kl_to_prior.COLUMNS, 1)
    row |= {"method": "importance", "kl_to_prior": kl, "kl_to_prior_se": kl / 10, "seconds": 2.5}
    return {k: row[k] for k in kl_to_prior.COLUMNS[kl_to_prior.COLUMNS.index("log_evidence") :]}


def test_nothing_is_measured_twice(tmp_path, monkeypatch, capsys):
    measured = []

    def measure(cell, options):
        measured.append((cell.model, cell.width, options.noise_scale))
        return estimate(1 / (cell.width * options.noise_scale))

    monkeypatch.setattr(kl_to_prior, "measure", measure)
    line = ["--data", "digits", "--depths", "1", "--resnet", "--out", str(tmp_path)]
    kl_to_prior.main([*line, "--widths", "8", "16"])
    models = ("mlp, depth 1", "resnet, depth 8")
    assert measured == [(model, width, 1.0) for model in models for width in (8, 16)]
    # One more width: that alone is measured, and the line and its slope have all three.
    measured.clear()
    table = kl_to_prior.main([*line, "--widths", "8", "16", "32"])
    assert measured == [(model, 32, 1.0) for model in models]
    assert sorted(table.width) == [8, 8, 16, 16, 32, 32]
    assert "mlp, depth 1    slope -1.000 +-" in capsys.readouterr().out
    # Another setting is another row: neither takes the other's.
    for settings in (["--noise-scale", "2"], ["--n-train", "9"], ["--num-particles", "30"]):
        measured.clear()
        table = kl_to_prior.main([*line, "--widths", "8", *settings])
        assert len(measured) == len(table) == 2
    measured.clear()
    table = kl_to_prior.main([*line, "--widths", "16"])
    assert measured == []
    assert len(table) == 6
    assert len(pd.read_csv(tmp_path / "kl_to_prior.csv")) == 12
    settings = json.loads((tmp_path / "kl_to_prior.json").read_text())
    assert settings["widths"] == [16]
    assert settings["versions"]["jax"] == jax.__version__


def test_tasks_share_the_points(tmp_path, monkeypatch):
    measured = []

    def measure(cell, options):
        measured.append(cell.width)
        return estimate(1 / cell.width)

    monkeypatch.setattr(kl_to_prior, "measure", measure)
    line = ["--quick", "--out", str(tmp_path)]
    for i in range(2):
        kl_to_prior.main([*line, "--num-tasks", "2", "--task-index", str(i)])
    assert measured == [128, 2048, 512]
    assert len(kl_to_prior.main(line)) == 3
    assert len(measured) == len(pd.read_csv(tmp_path / "kl_to_prior.csv")) == 3


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
