"""Reliability of class probabilities: what was predicted against how often it came true."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import beta

from bnnsample.results._plots._style import DATA, MEAN, REFERENCE, grid

NUM_BINS = 10
WRONG = "#D55E00"


def calibration(probabilities: np.ndarray, codes: np.ndarray) -> Figure:
    """Of probabilities ``[n, k]`` and the codes ``[n]`` of the classes that were observed.

    Of two classes, the probability of the second against its frequency; of more, that of the
    likeliest class against how often it is the right one. Intervals are the central 95% of the
    frequency's posterior under a uniform prior.
    """
    is_binary = probabilities.shape[1] == 2
    chosen = probabilities.argmax(axis=1)
    if is_binary:
        stated, came_true = probabilities[:, 1], codes == 1
        name, share = "probability of the second class", "its frequency"
    else:
        stated, came_true = probabilities.max(axis=1), chosen == codes
        name, share = "probability of the likeliest class", "share that is right"
    figure, axes = grid(1, 2, (9, 4.4))
    edges = np.linspace(0, 1, NUM_BINS + 1)
    _reliability(axes[0, 0], stated, came_true, edges)
    axes[0, 0].set(xlabel=name, ylabel=share, xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    right = chosen == codes
    parts, labels = [stated[right], stated[~right]], ["right", "wrong"]
    axes[0, 1].hist(parts, edges, stacked=True, color=[MEAN, WRONG], label=labels)
    axes[0, 1].set(xlabel=name, ylabel="points")
    axes[0, 1].yaxis.get_major_locator().set_params(integer=True)
    figure.suptitle("Calibration at the training points")
    figure.legend(loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    return figure


def _reliability(ax: Axes, stated: np.ndarray, came_true: np.ndarray, edges: np.ndarray) -> None:
    at = np.minimum((stated * NUM_BINS).astype(int), NUM_BINS - 1)
    total = np.bincount(at, minlength=NUM_BINS)
    hits = np.bincount(at, came_true, NUM_BINS)
    filled = total > 0
    mean = np.bincount(at, stated, NUM_BINS)[filled] / total[filled]
    hits, total = hits[filled], total[filled]
    share = hits / total
    low, high = beta.ppf([[0.025], [0.975]], hits + 1, total - hits + 1)
    ax.vlines(mean, low, high, color=MEAN, linewidth=1, alpha=0.7, label="95%")
    ax.plot(mean, share, "o", color=DATA, markersize=5, label="observed")
    ax.plot([0, 1], [0, 1], "--", color=REFERENCE, linewidth=1, label="calibrated")
