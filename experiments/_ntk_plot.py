"""The figures of the kernel's cost: bars for the cases, lines for the sweeps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments._ntk_networks import Setting
from experiments._plot import save

COLOURS = {
    "structured_derivatives": "#0b6e4f",
    "jacobian_contraction": "#1f6fb2",
    "ntk_vector_products": "#e08e45",
}
LABELS = {
    "structured_derivatives": "structured derivatives",
    "jacobian_contraction": "Jacobian contraction",
    "ntk_vector_products": "NTK-vector products",
}
QUANTITIES = {
    "seconds": "seconds",
    "operations": "operations",
    "temporary_bytes": "temporary bytes",
}
VARIABLES = {"width": "width", "n": "batch n", "d": "outputs d"}
NETWORKS = {
    "dense": "fully connected",
    "convolutional": "convolutional",
    "resnet18": "ResNet-18",
    "transformer": "transformer",
}


def plot_cases(rows: list[dict[str, Any]], path: Path) -> None:
    """A panel per quantity, a column per case: our methods filled, the peer's open."""
    cases = list(dict.fromkeys(row["case"] for row in rows))
    figure = Figure(figsize=(3 + 1.3 * len(cases), 10.5), layout="constrained")
    panels = figure.subplots(len(QUANTITIES), 1, sharex=True)
    for panel, (quantity, title) in zip(panels, QUANTITIES.items(), strict=True):
        for at, case in enumerate(cases):
            if at % 2:
                panel.axvspan(at - 0.5, at + 0.5, color="black", alpha=0.04, lw=0)
            _plot_case(panel, at, [row for row in rows if row["case"] == case], quantity)
        panel.set_yscale("log")
        panel.set_ylabel(title)
        panel.grid(True, axis="y", alpha=0.3)
        panel.margins(y=0.15)
    panels[0].set_xlim(-0.5, len(cases) - 0.5)
    wrong = {row["case"] for row in rows if row["note"] == "KERNEL DIFFERS"}
    names = [
        case.replace("-n", "\nn ").replace("-d", ", d ").replace("-", " ")
        + ("\nkernels differ!" if case in wrong else "")
        for case in cases
    ]
    panels[-1].set_xticks(range(len(cases)), names, fontsize=9)
    handles = [_handle(color=COLOURS[method], label=LABELS[method]) for method in COLOURS]
    handles.append(_handle(color="black", mfc="none", ms=12, label="auto's choice"))
    if any(row["side"] != "ours" for row in rows):
        handles.append(_handle(color="grey", marker="s", mfc="none", label="neural-tangents"))
    figure.legend(handles=handles, loc="outside upper center", ncols=5, fontsize=9, frameon=False)
    figure.supxlabel("missing seconds: the program was compiled and counted, not run", fontsize=8)
    save(figure, path)


def _plot_case(panel, at: int, rows: list[dict[str, Any]], quantity: str) -> None:
    for k, (method, colour) in enumerate(COLOURS.items()):
        for row in rows:
            if row["method"] != method or row[quantity] == "":
                continue
            ours = row["side"] == "ours"
            x = at + 0.25 * (k - 1) + (-0.05 if ours else 0.05)
            style = {"marker": "o"} if ours else {"marker": "s", "mfc": "none", "mew": 1.5}
            panel.plot(x, row[quantity], color=colour, ms=7, **style)
            if row["chosen"] == method:
                panel.plot(x, row[quantity], "o", mfc="none", mec="black", ms=12)


def _handle(marker: str = "o", **style: Any) -> Line2D:
    return Line2D([], [], lw=0, marker=marker, **style)


def plot_sweeps(
    rows: list[dict[str, Any]],
    sweeps: dict[str, tuple[Setting, dict[str, Sequence[int]]]],
    out: Path,
) -> None:
    """A figure per quantity: a row per network, a column each for width, batch and outputs.

    The number at a line's end is its last slope, the local exponent.
    """
    for quantity, title in QUANTITIES.items():
        figure = Figure(figsize=(11, 2.8 * len(sweeps) + 0.6), layout="constrained")
        panels = figure.subplots(len(sweeps), len(VARIABLES), squeeze=False)
        for line, (network, (middle, sizes)) in zip(panels, sweeps.items(), strict=True):
            for panel, variable in zip(line, VARIABLES, strict=True):
                points = _along(rows, network, middle, variable, sizes[variable])
                _plot_panel(panel, points, variable, quantity)
                panel.set_title(f"{NETWORKS[network]} ({_rest(middle, variable)})", fontsize=9)
                panel.set_xlabel(VARIABLES[variable])
            line[0].set_ylabel(title)
        handles = [Line2D([], [], color=COLOURS[m], marker="o", label=LABELS[m]) for m in COLOURS]
        handles.append(_handle(color="black", mfc="none", ms=9, label="auto's choice"))
        figure.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False)
        save(figure, out / f"ntk_cost_{quantity}.png")


def _along(rows, network: str, middle: Setting, variable: str, sizes: Sequence[int]):
    """The sweep's rows in one variable: those at the middle in the other two."""
    others = [v for v in VARIABLES if v != variable]
    return [
        row
        for size in sizes
        for row in rows
        if row["case"] == f"sweep-{network}"
        and row[variable] == size
        and all(row[v] == getattr(middle, v) for v in others)
    ]


def _plot_panel(panel, points, variable: str, quantity: str) -> None:
    for method, colour in COLOURS.items():
        known = [p for p in points if p["method"] == method and p[quantity] != ""]
        sizes, values = [p[variable] for p in known], [p[quantity] for p in known]
        panel.plot(sizes, values, marker="o", ms=4, color=colour)
        if len(known) > 1:
            slope = np.log(values[-1] / values[-2]) / np.log(sizes[-1] / sizes[-2])
            panel.annotate(
                f"{slope:.1f}", (sizes[-1], values[-1]), xytext=(7, 0),
                textcoords="offset points", va="center", size=8, color=colour,
            )  # fmt: skip
    auto = [p for p in points if p["method"] == "auto" and p[quantity] != ""]
    panel.plot(
        [p[variable] for p in auto], [p[quantity] for p in auto],
        lw=0, marker="o", mfc="none", mec="black", ms=9,
    )  # fmt: skip
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    panel.set_xticks(sorted({p[variable] for p in points}))
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}")
    panel.minorticks_off()
    panel.margins(x=0.12, y=0.12)
    panel.grid(True, alpha=0.2)


def _rest(middle: Setting, variable: str) -> str:
    """The sizes a panel holds fixed."""
    return ", ".join(f"{v} {getattr(middle, v)}" for v in VARIABLES if v != variable)
