"""The figure of the width experiment."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

COLOURS = {
    "collapsed + infinite HMC": "#0b6e4f",
    "collapsed + unit-wise": "#1f6fb2",
    "collapsed + pCN": "#6bbf59",
    "repriorised + Langevin": "#e08e45",
    "standard + HMC": "#b23a48",
    "standard + Langevin": "#7a5c61",
}
PANELS = (
    ("ess_per_gradient_function", "ESS per gradient, posterior-mean function"),
    ("ess_per_gradient_weights", "ESS per gradient, hidden weights"),
    ("ess_per_second_function", "ESS per second, posterior-mean function"),
)


def plot_width_scaling(rows: list[dict[str, Any]], path: Path) -> None:
    """One row of panels per data set: effective samples per gradient and per second."""
    names = list(dict.fromkeys(row["data"] for row in rows))
    figure = Figure(figsize=(13, 3.6 * len(names) + 0.5), layout="constrained")
    axes = figure.subplots(len(names), len(PANELS), squeeze=False)
    for i, name in enumerate(names):
        for axis, (column, title) in zip(axes[i], PANELS, strict=True):
            for method, colour in COLOURS.items():
                points = [r for r in rows if r["data"] == name and r["method"] == method]
                points.sort(key=lambda r: r["width"])
                if points:
                    axis.plot(
                        [r["width"] for r in points],
                        [r[column] for r in points],
                        marker="o",
                        color=colour,
                        label=method,
                    )
            axis.set_xscale("log", base=2)
            axis.set_yscale("log")
            axis.set_xlabel("width")
            axis.set_title(f"{name}: {title}", fontsize=10)
            axis.grid(True, which="both", alpha=0.2)
            if column != "ess_per_second_function":
                axis.axhline(1.0, color="black", lw=0.8, ls=":")
    axes[0][0].legend(fontsize=8, frameon=False)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """The figure as a PNG, written whole or not at all."""
    temporary = path.with_suffix(".part.png")
    figure.savefig(temporary, dpi=130)
    temporary.replace(path)
