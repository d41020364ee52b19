"""The function-space experiment at its smallest, and the claim about large widths it carries."""

import csv
import json

import jax
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from experiments import function_space
from experiments._function_space_plot import plot_function_space

POINTS = function_space.SETTINGS


def test_the_fit_of_a_difference_is_least_squares_in_one_over_the_width():
    class Table:
        def __init__(self, width, extra):
            z = {"mean": 30 / width + extra, "variance": -8 / width}
            self.points = pd.DataFrame(
                {
                    column: [value]
                    for name, difference in z.items()
                    for column, value in (
                        (f"{name}_standard_error", 0.001),
                        (f"{name}_error", difference / 0.001),
                    )
                }
            )

    def tables(extra):
        last = {8192: Table(8192, extra)}
        return {width: Table(width, 0.0) for width in (512, 1024, 2048)} | last

    inside = function_space.agreement(tables(0.0))
    assert inside.num_points == 2
    assert inside.num_outside == 0
    assert inside.worst == pytest.approx(0, abs=1e-9)
    # A difference that stays, five standard errors of it.
    outside = function_space.agreement(tables(0.005))
    assert outside.num_outside == 1
    assert outside.worst == pytest.approx(5)


def test_widths_without_a_joint_kl_have_a_figure(tmp_path):
    row = dict.fromkeys(function_space.COLUMNS, 0.1)
    row |= {
        "data": "digits",
        "kl_function": None,
        "kl_observation": -0.1,
        "kl_function_error": None,
    }
    path = tmp_path / "figure.png"
    plot_function_space([{**row, "width": width} for width in (4, 8)], path)
    assert path.read_bytes().startswith(b"\x89PNG")


class Comparison:
    """A run's comparison, as far as the experiment looks at it."""

    def __init__(self, width):
        index = pd.MultiIndex.from_product([range(3), [0]], names=["eval_point", "output"])
        error = np.arange(3) / 7
        self.points = pd.DataFrame(
            {
                "mean_error": error / width,
                "mean_standard_error": 0.1,
                "variance_error": 1 + error,
                "variance_standard_error": 0.3,
            },
            index=index,
        )

    def report(self):
        return "the verdict"

    def plot(self):
        return Figure()


@pytest.fixture
def measured(monkeypatch):
    """The runs that the experiment makes, none of them real."""
    runs = []

    def measure(data, width, noise, options):
        runs.append((data.name, width, len(data.x)))
        row = dict.fromkeys(function_space.COLUMNS, 1.5)
        row |= {"data": data.name, "width": width, "regime": "wide", "draws": 80}
        row |= {"kl_function": None, "kl_function_error": None}
        where = ("data", "width")
        return {k: v for k, v in row.items() if k in where or k not in POINTS}, Comparison(width)

    def bands(options):
        runs.append("bands")
        return Figure()

    monkeypatch.setattr(function_space, "measure", measure)
    monkeypatch.setattr(function_space, "bands", bands)
    return runs


def test_nothing_is_measured_twice(tmp_path, measured, capsys):
    line = ["--data", "diabetes", "--n-train", "12", "--check", "--out", str(tmp_path)]
    rows = function_space.main([*line, "--widths", "8", "32"])
    assert measured == [("diabetes", 8, 12), ("diabetes", 32, 12), "bands"]
    verdict = capsys.readouterr().out.split("Agreement(")[1]
    measured.clear()
    again = function_space.main([*line, "--widths", "8", "32"])
    assert measured == []
    assert [row["w2"] for row in again] == [row["w2"] for row in rows] == [1.5, 1.5]
    # From the points as they were written.
    assert capsys.readouterr().out.split("Agreement(")[1] == verdict
    settings = json.loads((tmp_path / "function_space.json").read_text())
    assert settings["widths"] == [8, 32]
    with (tmp_path / "function_space_points.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2 * 3


def test_another_setting_is_measured_and_its_pages_made(tmp_path, measured):
    line = ["--data", "diabetes", "--out", str(tmp_path)]
    function_space.main([*line, "--widths", "8", "32", "--n-train", "12"])
    measured.clear()
    rows = function_space.main([*line, "--widths", "8", "--n-train", "16"])
    assert measured == [("diabetes", 8, 16), "bands"]
    assert [row["width"] for row in rows] == [8]
    # Back: the page is of the other setting, so the last width's run is made again, and it alone.
    measured.clear()
    rows = function_space.main([*line, "--widths", "8", "32", "--n-train", "12"])
    assert measured == [("diabetes", 32, 12), "bands"]
    assert [row["width"] for row in rows] == [8, 32]
    with (tmp_path / "function_space.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3
    # A run that was stopped before its last page makes that page.
    (tmp_path / "diabetes.png").unlink()
    measured.clear()
    function_space.main([*line, "--widths", "8", "32", "--n-train", "12"])
    assert measured == [("diabetes", 32, 12)]


@pytest.mark.slow
def test_every_figure_is_written(tmp_path):
    arguments = ["--data", "diabetes", "--n-train", "12", "--widths", "8", "32", "128"]
    with jax.enable_x64(False):
        rows = function_space.main(
            [*arguments, "--samples", "40", "--check", "--out", str(tmp_path)]
        )
    with (tmp_path / "function_space.csv").open() as file:
        written = list(csv.DictReader(file))
    assert [row["width"] for row in written] == ["8", "32", "128"]
    for row in rows:
        assert set(row) == set(function_space.COLUMNS)
        assert np.isfinite(row["w2"])
    for name in ("function_space", "diabetes", "bands"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_at_width_8192_means_and_variances_are_those_of_the_limit():
    """Within 4 standard errors plus C / width, C from widths 512 to 2048; none of 64 outside."""
    options = function_space.parse(["--samples", "500"])
    with jax.enable_x64(False):
        data = function_space.load("diabetes", 64, 0)
        found = {
            width: function_space.measure(data, width, 0.3, options)[1]
            for width in (512, 1024, 2048, 8192)
        }
    agreement = function_space.agreement(found)
    assert agreement.num_points == 64
    assert agreement.num_outside == 0
