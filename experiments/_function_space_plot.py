"""The figure of the function-space experiment."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments._plot import save

COLOURS = ("#0b6e4f", "#b23a48")
# Title, (column, label, line style) each.
PANELS: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    (
        "Wasserstein-2 / theory's sd, median",
        (("w2", "sampled", "o-"), ("w2_noise", "Monte-Carlo error alone", ":")),
    ),
    (
        "joint KL(sampled || theory), nats",
        (("kl_function", "function", "o-"), ("kl_observation", "observations", "s--")),
    ),
    (
        "kernels: relative distance from infinite width",
        (("nngp_posterior", "NNGP, posterior", "o-"), ("ntk_posterior", "NTK, posterior", "s--")),
    ),
    (
        "step size of infinite HMC",
        (("step_size", "adapted", "o-"), ("step_size_expected", "expected beforehand", "s--")),
    ),
)


def plot_function_space(rows: list[dict[str, Any]], path: Path) -> None:
    """Four panels against width, one colour per data set."""
    figure = Figure(figsize=(12, 8), layout="constrained")
    for ax, (title, columns) in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
        # Before the lines: a panel may have none above 0, and the limits of nothing hold 0.
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        for colour, name in zip(COLOURS, dict.fromkeys(row["data"] for row in rows), strict=False):
            for column, label, style in columns:
                _line(ax, rows, name, column, f"{name}: {label}", style, colour)
        ax.set(title=title, xlabel="width")
        ax.grid(True, which="both", alpha=0.2)
        ax.legend(fontsize=8, frameon=False)
    save(figure, path)


def _line(
    ax: Axes,
    rows: list[dict[str, Any]],
    data: str,
    column: str,
    label: str,
    style: str,
    colour: str,
) -> None:
    """Values above 0, with two standard errors where there are any."""
    points = [r for r in rows if r["data"] == data and (r[column] or 0) > 0]
    errors = [2 * (r.get(f"{column}_error") or 0) for r in points]
    widths, values = ([r[c] for r in points] for c in ("width", column))
    if any(errors):
        ax.errorbar(widths, values, errors, fmt=style, color=colour, label=label, capsize=2)
    else:
        ax.plot(widths, values, style, color=colour, label=label)
