"""The figures of the kernel's cost: bars for the cases, lines for the sweeps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from experiments._ntk_networks import Setting

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
    """A panel per quantity, a group of bars per case: our methods, and the peer's hatched."""
    cases = list(dict.fromkeys(row["case"] for row in rows))
    bars = [
        (side, method) for side in dict.fromkeys(row["side"] for row in rows) for method in COLOURS
    ]
    figure = Figure(figsize=(4 + 1.1 * len(cases), 10), layout="constrained")
    panels = figure.subplots(len(QUANTITIES), 1, sharex=True)
    width = 0.84 / len(bars)
    for panel, (quantity, title) in zip(panels, QUANTITIES.items(), strict=True):
        for k, (side, method) in enumerate(bars):
            for row in rows:
                if (row["side"], row["method"]) != (side, method) or row[quantity] == "":
                    continue
                at = cases.index(row["case"]) + (k - (len(bars) - 1) / 2) * width
                style = {} if side == "ours" else {"hatch": "////", "alpha": 0.55}
                panel.bar(at, row[quantity], width, color=COLOURS[method], lw=0, **style)
                if row["chosen"] == method:
                    panel.annotate(
                        "auto", (at, row[quantity]), ha="center", va="bottom", fontsize=6
                    )
        panel.set_yscale("log")
        panel.set_ylabel(title)
        panel.grid(True, axis="y", which="major", alpha=0.25)
        panel.set_axisbelow(True)
    panels[-1].set_xticks(range(len(cases)), cases, rotation=20, ha="right", fontsize=8)
    handles = [Patch(color=COLOURS[method], label=LABELS[method]) for method in COLOURS]
    if any(side != "ours" for side, _ in bars):
        handles.append(Patch(facecolor="#bbbbbb", hatch="////", label="neural-tangents"))
    figure.legend(handles=handles, loc="outside upper center", ncols=4, fontsize=8, frameon=False)
    _save(figure, path)


def plot_sweeps(
    rows: list[dict[str, Any]],
    sweeps: dict[str, tuple[Setting, dict[str, Sequence[int]]]],
    out: Path,
) -> None:
    """A figure per quantity: a row per network, a column each for width, batch and outputs."""
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
        handles.append(
            Line2D([], [], color="black", lw=0, marker="o", mfc="none", ms=9, label="auto's choice")
        )
        figure.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False)
        _save(figure, out / f"ntk_cost_{quantity}.png")


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
    panel.grid(True, alpha=0.2)


def _rest(middle: Setting, variable: str) -> str:
    """The sizes a panel holds fixed."""
    return ", ".join(f"{v} {getattr(middle, v)}" for v in VARIABLES if v != variable)


def _save(figure: Figure, path: Path) -> None:
    temporary = path.with_suffix(".part.png")
    figure.savefig(temporary, dpi=130)
    temporary.replace(path)
