"""Colours and axes shared by the figures."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart by colour-blind readers and in print.
CHAINS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7F7F7F", "#B8A000")
MEAN, DATA, REFERENCE = "#0072B2", "#222222", "#8A8A8A"


def grid(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, np.ndarray]:
    """A figure of ``size`` inches with ``[rows, columns]`` axes."""
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        clean(ax)
    return figure, axes


def clean(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=9)


def chain_colour(chain: int) -> str:
    return CHAINS[chain % len(CHAINS)]


def legend_below(figure: Figure, ax: Axes) -> None:
    """One legend for the figure, from the entries of ``ax``."""
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
