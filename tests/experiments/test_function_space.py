"""The function-space experiment at its smallest, and the claim about large widths it carries."""

import csv

import jax
import numpy as np
import pandas as pd
import pytest

from experiments import function_space
from experiments._function_space_plot import plot_function_space


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
