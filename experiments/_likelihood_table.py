"""The table and the figure of the likelihood speed experiment."""

import math
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from experiments._measure import MIXED
from experiments._plot import save

Row = dict[str, Any]
COLUMNS = (
    "data",
    "readout_scale",
    "width",
    "method",
    "ess_per_gradient_function",
    "ess_per_gradient_weights",
    "ess_per_second_function",
    "r_hat_function",
    "r_hat_weights",
    "acceptance",
    "num_draws",
    "num_gradients",
    "seconds",
    "setting",
)
OURS, KNOWN, HMC = "ours", "ours, noise known", "standard + HMC"
INFINITE = "standard + infinite HMC"
COLOURS = {OURS: "#0b6e4f", KNOWN: "#6bbf59", INFINITE: "#e08e45", HMC: "#b23a48"}
QUANTITIES = ("function", "weights")


WHOLE = ("width", "num_draws", "num_gradients")
CELL = ("data", "readout_scale", "width")


def cell(row: Row) -> tuple[str, float, int]:
    """Where in the table a row belongs."""
    return row["data"], row["readout_scale"], row["width"]


def line(row: Row) -> str:
    """One printed line."""
    return (
        f"{row['data']:13s} readout {row['readout_scale']:g} width {row['width']:5d}  "
        f"{row['method']:23s} ESS/gradient {row['ess_per_gradient_function']:.4f} (function) "
        f"{row['ess_per_gradient_weights']:.4f} (weights)  ESS/s "
        f"{row['ess_per_second_function']:7.1f}  R-hat {row['r_hat_function']:.3f} "
        f"{row['r_hat_weights']:.3f}  acceptance {row['acceptance']:.2f}  {row['setting']}"
    )


def ratios(rows: list[Row]) -> str:
    """A line for every cell: effective samples per gradient, and ours over HMC.

    ``<=``: R-hat of that quantity is above 1.05, and the number an upper bound. The last column is
    effective samples of the function per second, which the readout's algebra makes another
    comparison than per gradient.
    """
    lines = [
        f"| data | readout scale | width | {OURS} | {INFINITE} | {HMC} | ours / HMC | per second |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for at in dict.fromkeys(cell(row) for row in rows):
        found = {row["method"]: row for row in rows if cell(row) == at}
        name, scale, width = at
        if OURS in found:
            entries = [pair(found.get(m)) for m in (OURS, INFINITE, HMC)]
            times = ratio(found[OURS], found.get(HMC))
            seconds = per_second(found[OURS], found.get(HMC))
            lines.append(
                f"| {name} | {scale:g} | {width} | {' | '.join(entries)} | {times} | {seconds} |"
            )
        if KNOWN in found:
            times = ratio(found[KNOWN], found.get(OURS))
            lines.append(
                f"| {name}, noise known | {scale:g} | {width} | {pair(found[KNOWN])} | | | "
                f"{times} of unknown | |"
            )
    return "\n".join(lines)


def pair(row: Row | None) -> str:
    """Function / weights, bounds marked."""
    if row is None:
        return ""
    numbers = []
    for quantity in QUANTITIES:
        mark = "<= " if row[f"r_hat_{quantity}"] > MIXED else ""
        numbers.append(f"{mark}{row[f'ess_per_gradient_{quantity}']:.3f}")
    return " / ".join(numbers)


def ratio(row: Row, other: Row | None) -> str:
    """How many times the effective samples per gradient of another method."""
    if other is None:
        return ""
    per_gradient = [f"ess_per_gradient_{quantity}" for quantity in QUANTITIES]
    return " / ".join(f"{row[name] / other[name]:.1f}" for name in per_gradient)


def per_second(row: Row, other: Row | None) -> str:
    """The same of the function's per second."""
    if other is None:
        return ""
    times = row["ess_per_second_function"] / other["ess_per_second_function"]
    return f"{times:.1f}" if math.isfinite(times) else ""


def plot(rows: list[Row], path: Path) -> None:
    """Effective samples per gradient against width, a panel for every data set and scale."""
    widths = sorted({row["width"] for row in rows})
    panels = list(dict.fromkeys((row["data"], row["readout_scale"]) for row in rows))
    figure = Figure(figsize=(3 * len(panels), 4), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (name, scale) in zip(axes, panels, strict=True):
        for method, colour in COLOURS.items():
            points = [r for r in rows if cell(r)[:2] == (name, scale) and r["method"] == method]
            points.sort(key=lambda r: r["width"])
            for quantity, style in zip(QUANTITIES, ("-o", "--s"), strict=True):
                if points:
                    axis.plot(
                        [r["width"] for r in points],
                        [r[f"ess_per_gradient_{quantity}"] for r in points],
                        style,
                        color=colour,
                        ms=4,
                        label=f"{method}, {quantity}",
                    )
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xticks(widths, [str(width) for width in widths])
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_xlabel("width")
        axis.set_title(f"{name}, readout scale {scale:g}", fontsize=10)
        axis.grid(True, which="both", alpha=0.2)
    axes[0].set_ylabel("effective samples per gradient")
    # The last panel alone may have the noise: the fullest legend is there or in the first.
    fullest = max(axes, key=lambda axis: len(axis.get_legend_handles_labels()[1]))
    handles, labels = fullest.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=9, frameon=False)
    save(figure, path)
