"""The figure of a comparison: bands over x, or a page of numbers."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.stats
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnnsample.results._plots._predictive import MAX_OUTPUTS, NUM_STD
from bnnsample.results._plots._style import DATA, MEAN, REFERENCE, grid, legend_below

if TYPE_CHECKING:
    from bnnsample.theory._compare import TheoryComparison

THEORY = "#D55E00"
NUM_BINS = 30


def plot(comparison: "TheoryComparison", path: Any = None) -> Figure:
    """``TheoryComparison.plot``; see there."""
    one_dimensional = comparison.x[0].size == 1
    figure = (_bands if one_dimensional else _page)(comparison)
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def _bands(comparison: "TheoryComparison") -> Figure:
    """Mean and 95% of the function against x, the network's over the Gaussian process's."""
    outputs = min(comparison.data[1].shape[1], MAX_OUTPUTS)
    figure, axes = grid(1, outputs, (max(8.4, 4.4 * outputs), 4.8))
    x = comparison.x.reshape(-1)
    order = np.argsort(x, kind="stable")
    for output, ax in enumerate(axes.flat):
        points = comparison.points.xs(output, level="output").iloc[order]
        _band(ax, x[order], points, "theory", THEORY, "infinite width", 0.0)
        _band(ax, x[order], points, "sampled", MEAN, "sampled", 0.25)
        ax.plot(
            comparison.data[0].reshape(-1),
            comparison.data[1][:, output],
            "o",
            color=DATA,
            markersize=4,
            markeredgewidth=0,
        )
        ax.set(xlabel="x", ylabel="y")
        if outputs > 1:
            ax.set_title(f"output {output}", fontsize=10)
    figure.suptitle(_title(comparison))
    legend_below(figure, axes[0, 0])
    return figure


def _band(
    ax: Axes, x: np.ndarray, points: pd.DataFrame, side: str, colour: str, label: str, alpha: float
) -> None:
    """A filled band, or with ``alpha`` 0 its dashed edges."""
    mean, std = (points[f"{side}_{moment}"].to_numpy() for moment in ("mean", "std"))
    low, high = mean - NUM_STD * std, mean + NUM_STD * std
    filled = alpha > 0
    style, width, order = ("-", 1.6, 2) if filled else ("--", 1.4, 3)
    band = f"{label}, 95% of f"
    if filled:
        ax.fill_between(x, low, high, color=colour, alpha=alpha, linewidth=0, label=band)
    ax.plot(x, mean, style, color=colour, linewidth=width, zorder=order, label=f"{label}, mean")
    if not filled:
        ax.plot(x, low, ":", color=colour, linewidth=1.2, zorder=order, label=band)
        ax.plot(x, high, ":", color=colour, linewidth=1.2, zorder=order)


def _page(comparison: "TheoryComparison") -> Figure:
    """Means, standard deviations and standardised errors over all points, and the report."""
    points = comparison.points
    figure, axes = grid(2, 2, (9.6, 8.0))
    means, spreads, errors, numbers = axes.flat
    _against(means, points.theory_mean, points.sampled_mean, points.mean_standard_error)
    means.set(title="Posterior mean", xlabel="infinite width", ylabel="sampled")
    std_error = points.variance_standard_error / (points.sampled_std + points.theory_std)
    _against(spreads, points.theory_std, points.sampled_std, std_error)
    spreads.set(
        title="Standard deviation of the function", xlabel="infinite width", ylabel="sampled"
    )
    _errors(errors, points)
    numbers.set_axis_off()
    numbers.text(0, 0.95, _numbers(comparison), family="monospace", fontsize=9, va="top")
    figure.suptitle(_title(comparison))
    return figure


def _against(ax: Axes, theory: pd.Series, sampled: pd.Series, error: pd.Series) -> None:
    ax.errorbar(
        theory,
        sampled,
        2 * error,
        fmt="o",
        color=MEAN,
        markersize=3,
        elinewidth=0.8,
        alpha=0.7,
        label="2 Monte-Carlo standard errors",
    )
    ends = [min(theory.min(), sampled.min()), max(theory.max(), sampled.max())]
    ax.plot(ends, ends, "--", color=REFERENCE, linewidth=1, zorder=0, label="equal")
    ax.legend(frameon=False, fontsize=8)


def _errors(ax: Axes, points: pd.DataFrame) -> None:
    largest = max(4.0, float(points[["mean_error", "variance_error"]].abs().max().max()))
    edges = np.linspace(-largest, largest, NUM_BINS + 1).tolist()
    for name, colour in (("mean", MEAN), ("variance", THEORY)):
        values = points[f"{name}_error"].clip(-largest, largest)
        ax.hist(values, edges, histtype="step", density=True, color=colour, label=name)
    z = np.linspace(-largest, largest, 200)
    normal = scipy.stats.norm.pdf(z)
    ax.plot(z, normal, "--", color=REFERENCE, linewidth=1, label="Monte-Carlo error alone")
    ax.set(title="Differences, in standard errors", xlabel="sampled minus infinite width")
    ax.legend(frameon=False, fontsize=8)


def _numbers(comparison: "TheoryComparison") -> str:
    points = comparison.points
    relative = points.wasserstein2 / points.theory_std.clip(lower=np.finfo(float).tiny)
    lines = [
        f"{len(comparison.x)} points, {comparison.num_draws} draws",
        f"effective draws, least {points.ess.min():.0f}",
        "",
        "Wasserstein-2 / theory sd",
        f"  median {relative.median():.3g}, largest {relative.max():.3g}",
        "",
        "joint KL, nats",
        f"  function     {_nats(comparison.kl_function)}",
        f"  observations {_nats(comparison.kl_observation)}",
        "",
    ]
    if not comparison.kernels.empty:
        lines += ["kernels: distance, alignment"]
        lines += [
            f"  {kernel:<4} {at:<9} {row.relative_frobenius:.3f}  {row.alignment:.4f}"
            for (kernel, at), row in comparison.kernels.iterrows()
        ]
    return "\n".join(lines)


def _nats(kl) -> str:
    return "none" if kl.value is None else f"{kl.value:.3g} +- {kl.standard_error:.1g}"


def _title(comparison: "TheoryComparison") -> str:
    width = comparison.settings.get("width")
    return f"Posterior of width {width} against its infinite width"
