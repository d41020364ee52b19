"""Figures of the chains: trace, rank histograms, ESS against the number of draws."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnnsample._record import RunRecord
from bnnsample.results._diagnostics import centre, subset, unknown_names
from bnnsample.results._ess import MIN_DRAWS, bulk_ess, tail_ess
from bnnsample.results._idata import in_user_units
from bnnsample.results._plots._style import MEAN, REFERENCE, chain_colour, grid, legend_below
from bnnsample.results._verdict import ESS_WANTED

LABEL = {"f_mean": "E[f | h]", "y_mean": "E[y | f]", "f": "f"}
NUM_POINTS, NUM_UNKNOWNS, NUM_BINS, NUM_CHECKPOINTS = 3, 2, 20, 12


def trace(record: RunRecord) -> Figure:
    """Distribution (left) and trace (right) per chain, of a few function values and unknowns."""
    quantities = _selected(record)
    figure, axes = grid(len(quantities), 2, (9, 1.2 + 1.7 * len(quantities)))
    for (left, right), (label, draws) in zip(axes, quantities, strict=True):
        edges = _edges(draws)
        for chain, values in enumerate(draws):
            colour, name = chain_colour(chain), f"chain {chain}"
            left.hist(values, edges, histtype="step", density=True, color=colour, label=name)
            right.plot(values, color=colour, linewidth=0.6, alpha=0.8)
        left.set(title=label, yticks=[])
        left.title.set_fontsize(10)
        right.margins(x=0.01)
    axes[-1, 0].set_xlabel("value")
    axes[-1, 1].set_xlabel("draw")
    figure.suptitle("Chains: distribution and trace")
    legend_below(figure, axes[0, 0])
    return figure


def rank(record: RunRecord) -> Figure:
    """Rank histogram per chain (Vehtari et al. 2021): flat where the chains agree."""
    quantities = _selected(record)
    columns = 2 if len(quantities) in (2, 4) else min(3, len(quantities))
    rows = -(-len(quantities) // columns)
    figure, axes = grid(rows, columns, (3.4 * columns + 0.5, 2.4 * rows + 1.0))
    for ax in axes.flat[len(quantities) :]:
        ax.set_visible(False)
    for ax, (label, draws) in zip(axes.flat, quantities, strict=False):
        _rank_histogram(ax, draws)
        ax.set_title(label, fontsize=10)
    figure.suptitle("Ranks of each chain among all draws (flat: the chains agree)")
    for ax in axes[-1]:
        ax.set_xlabel("rank")
    for ax in axes[:, 0]:
        ax.set_ylabel("share / uniform")
    legend_below(figure, axes[0, 0])
    return figure


def ess(record: RunRecord) -> Figure:
    """ESS of E[f | h], or E[y | f], against the number of draws: a straight line is good."""
    draws = subset(record.draws[centre(record)], limit=64)
    chains, total = draws.shape[:2]
    checkpoints = np.unique(np.linspace(0, total, NUM_CHECKPOINTS + 1).astype(int)[1:])
    checkpoints = checkpoints[checkpoints >= MIN_DRAWS]
    figure, axes = grid(1, 1, (7, 4.4))
    ax = axes[0, 0]
    for statistic, name, colour in ((bulk_ess, "bulk", MEAN), (tail_ess, "tail", "#E69F00")):
        sizes = np.array([statistic(draws[:, :count]) for count in checkpoints])
        if not sizes.size or np.isnan(sizes).all():
            continue
        defined = ~np.isnan(sizes).all(axis=0)
        median, least = np.median(sizes[:, defined], axis=1), np.min(sizes[:, defined], axis=1)
        at = checkpoints * chains
        ax.plot(at, median, "o-", color=colour, markersize=4, label=f"{name} ESS, median")
        ax.plot(at, least, "o:", color=colour, markersize=3, label=f"{name} ESS, worst point")
    limit = np.array([0, chains * total])
    ax.plot(limit, limit, "--", color=REFERENCE, linewidth=1, label="independent draws")
    ax.axhline(ESS_WANTED, color=REFERENCE, linewidth=1, label=f"wanted: {ESS_WANTED}")
    ax.set(
        title=f"Effective sample size of {LABEL[centre(record)]}",
        xlabel="draws, all chains",
        ylabel="effective sample size",
        xlim=(0, None),
        ylim=(0, None),
    )
    ax.legend(frameon=False, fontsize=9)
    return figure


def _selected(record: RunRecord) -> list[tuple[str, np.ndarray]]:
    """A few labelled quantities ``[chain, draw]``: evenly spaced function values, unknowns."""
    name = centre(record)
    values = in_user_units(record, record.draws)[name]
    points, outputs = values.shape[2:]
    chosen = np.unique(np.linspace(0, points - 1, min(points, NUM_POINTS)).round().astype(int))
    output = "" if outputs == 1 else ", output 0"
    quantities = [(f"{LABEL[name]} at point {i}{output}", values[:, :, i, 0]) for i in chosen]
    for name in unknown_names(record)[:NUM_UNKNOWNS]:
        quantities.append((name, record.draws[name]))
    return quantities


def _edges(draws: np.ndarray) -> np.ndarray:
    finite = draws[np.isfinite(draws)].astype(np.float64)
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, int(np.clip(2 * draws.shape[1] ** (1 / 3), 8, 40)) + 1)


def _rank_histogram(ax: Axes, draws: np.ndarray) -> None:
    ranks = draws.reshape(-1).argsort(kind="stable").argsort().reshape(draws.shape)
    bins = max(1, min(NUM_BINS, draws.shape[1] // 10))
    edges = np.linspace(0, draws.size, bins + 1)
    for chain, values in enumerate(ranks):
        share = np.histogram(values, edges)[0] * bins / draws.shape[1]
        ax.stairs(share, edges, color=chain_colour(chain), label=f"chain {chain}", baseline=None)
    ax.axhline(1.0, color=REFERENCE, linestyle="--", linewidth=1)
    ax.set(ylim=(0, None), xlim=(0, draws.size))
