"""Figures: every kind, for every kind of data, without a display."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from test_results_record import make_record

from bnnsample.results import Result

KINDS = ["trace", "rank", "ess", "predictive"]


@pytest.mark.parametrize("kind", KINDS)
def test_figures_are_titled_labelled_and_written(tmp_path, kind):
    figure = Result(make_record()).plot(kind, path=tmp_path / "figure.png")
    assert isinstance(figure, Figure)
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    titles = [figure.get_suptitle(), *(ax.get_title() for ax in figure.axes)]
    assert any(titles)
    assert any(ax.get_xlabel() for ax in figure.axes)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("draws", [1, 3])
def test_very_few_draws_still_draw(kind, draws):
    result = Result(make_record(chains=1, draws=draws, keep_every=1))
    result.plot(kind).savefig(io.BytesIO(), format="png")


def test_an_unknown_kind_lists_the_known():
    with pytest.raises(ValueError, match="'pie'; expected one of trace, rank, ess, predictive"):
        Result(make_record()).plot("pie")


def test_no_global_state_is_touched():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    before = pyplot.get_fignums()
    for kind in KINDS:
        Result(make_record()).plot(kind)
    assert pyplot.get_fignums() == before


def test_predictive_shows_the_data_in_its_own_units():
    record = make_record(standardize=True, d=1)
    same = record.x.copy()
    record = make_record(standardize=True, d=1, m=12, x_eval=same)
    axes = Result(record).plot("predictive").axes[0]
    points = axes.get_children()
    assert axes.get_xlabel() == "observed y"
    assert points
    observed = axes.containers[0].lines[0].get_xdata()
    np.testing.assert_allclose(observed, record.y[:, 0])
    predicted = axes.containers[0].lines[0].get_ydata()
    expected = record.draws["f_mean"][..., 0].mean((0, 1)) * record.y.std() + record.y.mean()
    np.testing.assert_allclose(predicted, expected)


def test_predictive_of_one_input_is_against_it():
    record = make_record(d=1)
    record = make_record(d=1, x=record.x[:, :1], x_eval=record.x_eval[:, :1], y=record.y)
    axes = Result(record).plot("predictive").axes[0]
    assert axes.get_xlabel() == "x"
    line = axes.lines[0].get_xdata()
    np.testing.assert_array_equal(line, np.sort(record.x_eval[:, 0]))
