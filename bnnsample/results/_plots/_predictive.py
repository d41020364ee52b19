"""The posterior predictive at the evaluation points, against the data."""

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnnsample._record import RunRecord
from bnnsample.results._diagnostics import centre
from bnnsample.results._idata import in_user_units
from bnnsample.results._plots._style import DATA, MEAN, REFERENCE, grid, legend_below

MAX_OUTPUTS = 4
# Central 95% of a normal distribution.
NUM_STD = 1.96


class Band(NamedTuple):
    """Of one output over the evaluation points ``[m]``: mean and standard deviations."""

    mean: np.ndarray
    std: np.ndarray
    predictive_std: np.ndarray | None


def predictive(record: RunRecord) -> Figure:
    """Mean with 95% bands of the function and of a new observation.

    Against x where x is one-dimensional; against the observed targets where the evaluation
    points are the training inputs; in order of the mean otherwise.
    """
    outputs = min(record.draws[centre(record)].shape[-1], MAX_OUTPUTS)
    one_dimensional = record.x[0].size == 1
    at_training = np.array_equal(record.x, record.x_eval) and _is_of_targets(record)
    if one_dimensional:
        panel, title = _against_x, "Posterior predictive"
    elif at_training:
        panel, title = against_observed, "Predicted against observed, training points"
    else:
        panel, title = _in_order, "Predictions at the evaluation points, in order of their mean"
    figure, axes = grid(1, outputs, (max(6.4, 4.0 * outputs), 4.6))
    for output, ax in enumerate(axes.flat):
        panel(ax, record, _band(record, output), output)
        if outputs > 1:
            ax.set_title(f"output {output}", fontsize=10)
    figure.suptitle(title)
    legend_below(figure, axes[0, 0])
    return figure


def _band(record: RunRecord, output: int) -> Band:
    draws = in_user_units(record, record.draws)
    name = centre(record)
    spread_of = "f" if name == "f_mean" else name
    centred, f = (draws[name][..., output].astype(np.float64) for name in (name, spread_of))
    with_y = "y" in draws and _is_of_targets(record)
    y = draws["y"][..., output].astype(np.float64) if with_y else None
    # Draws may be infinite; the verdict says so.
    with np.errstate(invalid="ignore"):
        return Band(
            centred.mean(axis=(0, 1)),
            f.std(axis=(0, 1)),
            None if y is None else y.std(axis=(0, 1)),
        )


def _is_of_targets(record: RunRecord) -> bool:
    """Whether predictions are of the targets themselves, and not of probabilities of classes."""
    return record.draws[centre(record)].shape[-1] == record.y.shape[1]


def _fill(ax: Axes, at: np.ndarray, band: Band, order: np.ndarray) -> None:
    mean = band.mean[order]
    layers = [
        (band.predictive_std, 0.14, "95% of new observations"),
        (band.std, 0.32, "95% of the function"),
    ]
    for std, alpha, label in layers:
        if std is not None:
            low, high = mean - NUM_STD * std[order], mean + NUM_STD * std[order]
            ax.fill_between(at, low, high, color=MEAN, alpha=alpha, linewidth=0, label=label)
    ax.plot(at, mean, color=MEAN, linewidth=1.6, label="posterior mean")


def _against_x(ax: Axes, record: RunRecord, band: Band, output: int) -> None:
    x_eval = record.x_eval.reshape(-1)
    order = np.argsort(x_eval, kind="stable")
    _fill(ax, x_eval[order], band, order)
    if not _is_of_targets(record):
        ax.set(xlabel="x", ylabel="E[y | f]")
        return
    ax.plot(
        record.x.reshape(-1),
        record.y[:, output],
        "o",
        color=DATA,
        markersize=4,
        alpha=0.8,
        markeredgewidth=0,
        label="data",
    )
    ax.set(xlabel="x", ylabel="y")


def against_observed(ax: Axes, record: RunRecord, band: Band, output: int) -> None:
    observed = record.y[:, output]
    spread, name = band.predictive_std, "mean and 95% of new observations"
    if spread is None:
        spread, name = band.std, "mean and 95% of the function"
    ax.errorbar(
        observed,
        band.mean,
        NUM_STD * spread,
        fmt="o",
        color=MEAN,
        ecolor=MEAN,
        markersize=4,
        elinewidth=0.8,
        alpha=0.75,
        label=name,
    )
    ends = [min(observed.min(), band.mean.min()), max(observed.max(), band.mean.max())]
    ax.plot(ends, ends, "--", color=REFERENCE, linewidth=1, label="perfect agreement")
    ax.set(xlabel="observed y", ylabel="predicted y")


def _in_order(ax: Axes, record: RunRecord, band: Band, output: int) -> None:
    order = np.argsort(band.mean, kind="stable")
    _fill(ax, np.arange(order.size), band, order)
    ax.set(xlabel="evaluation points, in order of the posterior mean", ylabel="y")
