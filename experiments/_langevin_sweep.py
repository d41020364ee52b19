"""A sweep of Langevin with and without repriorisation: cells, table and figure."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from experiments import _tasks
from experiments._langevin import Cell, Row, measure
from experiments._measure import MIXED
from experiments._options import check_data_dir, folder, whole
from experiments._plot import save
from experiments._sweep import Sweep

COLUMNS = (
    *Cell._fields, "method", "ess_per_step_parameters", "ess_per_step_function",
    "ess_per_second_parameters", "ess_per_second_function", "r_hat_parameters", "r_hat_function",
    "acceptance", "gradient_ms", "num_steps", "seconds", "setting",
    "num_steps_parameters", "setting_parameters",
)  # fmt: skip
WHOLE = ("width", "n_train", "num_steps", "num_steps_parameters")
STYLES = {"repriorised": ("#0b6e4f", "o"), "standard": ("#b23a48", "s")}
# What a ratio is, by whether the standard and the repriorised chains have mixed.
BOUNDS = {(True, True): "", (False, True): "at least ", (True, False): "at most "}
PANELS = (
    ("ess_per_step_parameters", "ESS per step, parameters"),
    ("ess_per_step_function", "ESS per step, function"),
    ("ess_per_second_function", "ESS per second, function"),
    ("r_hat_function", "R-hat, function"),
    ("acceptance", "mean acceptance"),
    ("gradient_ms", "milliseconds per gradient"),
)


def parser_of(text: str, name: str) -> argparse.ArgumentParser:
    """Options that both sweeps have."""
    parser = argparse.ArgumentParser(description=text.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", choices=("digits", "cifar10"), default="digits")
    parser.add_argument("--data-dir", type=Path, help="cifar-10-batches-py, for --data cifar10")
    parser.add_argument("--gradients", type=whole(100), help="per chain and measurement")
    parser.add_argument(
        "--longest", type=whole(100), help="gradients per chain up to which what has not mixed runs"
    )
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument("--out", type=folder, default=f"results/{name}")
    parser.add_argument("--quick", action="store_true", help="some minutes on 2 cores")
    _tasks.add_options(parser)
    return parser


def checked(parser: argparse.ArgumentParser, arguments: list[str] | None) -> argparse.Namespace:
    """Parsed options that can be meant."""
    options = parser.parse_args(arguments)
    _tasks.check(parser, options)
    check_data_dir(parser, [options.data], options.data_dir)
    options.gradients = options.gradients or (1500 if options.quick else 20_000)
    options.longest = options.longest or options.gradients
    if options.longest < options.gradients:
        least = options.gradients
        parser.error(f"--longest must be --gradients, {least}, or more; got {options.longest}")
    return options


def sweep(
    cells: Sequence[Cell],
    options: argparse.Namespace,
    name: str,
    plot: Callable[[list[Row], Path], None],
) -> list[Row]:
    """Measure the cells that the CSV of ``--out`` has not, and write its table and figure."""
    if options.dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    kept = Sweep(
        name, options, columns=COLUMNS, whole=WHOLE, cell=Cell._fields, cells=cells,
        settings=("gradients", "longest", "seed", "dtype"),
    )  # fmt: skip
    for cell in kept.own():
        if len(kept.done(cell)) < len(STYLES):
            standard, repriorised = measure(cell, options)
            kept.keep(standard)
            kept.keep(repriorised, ratio_line(standard, repriorised))
    if kept.is_whole:
        kept.conclude(table(kept.rows), plot)
    return kept.rows


def _has_mixed(row: Row, what: str) -> bool:
    """Of parameters or function; NaN has not."""
    return row[f"r_hat_{what}"] <= MIXED


def ratio_line(standard: Row, repriorised: Row) -> str:
    """How many times the effective samples repriorisation brings, and what a gradient costs.

    Effective samples of chains that have not mixed are too many: their ratio is a bound where one
    of both has mixed.
    """

    def ratio(column: str) -> str:
        return f"{repriorised[column] / standard[column]:.1f}"

    def of(what: str) -> str:
        times = f"{ratio(f'ess_per_step_{what}')} times ({what}"
        bound = BOUNDS.get((_has_mixed(standard, what), _has_mixed(repriorised, what)))
        return f"{times}, neither has mixed)" if bound is None else f"{bound}{times})"

    return (
        f"{standard['network']:9s} width {standard['width']:5d}  n {standard['n_train']:4d}  "
        f"noise {standard['noise']:<5g} repriorised / standard: per step {of('parameters')}, "
        f"{of('function')}, per second {ratio('ess_per_second_function')}; a gradient takes "
        f"{ratio('gradient_ms')} times as long"
    )


def table(rows: list[Row]) -> str:
    """As Markdown; ``<=``: chains that have not mixed, whose effective samples are a bound."""
    lines = [
        "| network | width | n | noise | | ESS per step, parameters | function | ESS per second | "
        "R-hat, parameters | function | acceptance | ms per gradient |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        bound = {w: "" if _has_mixed(row, w) else "<= " for w in ("parameters", "function")}
        sizes = (f"{mark}{row[f'ess_per_step_{what}']:.5f}" for what, mark in bound.items())
        lines.append(
            f"| {row['network']} | {row['width']} | {row['n_train']} | {row['noise']:g} | "
            f"{row['method']} | {' | '.join(sizes)} | "
            f"{bound['function']}{row['ess_per_second_function']:.3g} | "
            f"{row['r_hat_parameters']:.3f} | {row['r_hat_function']:.3f} | "
            f"{row['acceptance']:.2f} | "
            f"{row['gradient_ms']:.3g} |"
        )
    return "\n".join(lines)


def plot_lines(lines: dict[str, tuple[str, list[Row]]], path: Path) -> None:
    """A row of panels for each ``{title: (column of the abscissa, rows)}``; open: not mixed."""
    figure = Figure(figsize=(3.4 * len(PANELS), 3.1 * len(lines) + 0.4), layout="constrained")
    axes = figure.subplots(len(lines), len(PANELS), squeeze=False)
    for row_axes, (title, (x, rows)) in zip(axes, lines.items(), strict=True):
        for axis, (column, what) in zip(row_axes, PANELS, strict=True):
            quantity = "parameters" if column.endswith("parameters") else "function"
            for method, (colour, marker) in STYLES.items():
                points = sorted((r for r in rows if r["method"] == method), key=lambda r: r[x])
                axis.plot([r[x] for r in points], [r[column] for r in points], color=colour, lw=1)
                for r in points:
                    face = colour if _has_mixed(r, quantity) else "white"
                    axis.plot(r[x], r[column], marker, color=colour, mfc=face, ms=5)
                axis.plot([], [], f"{marker}-", color=colour, label=method)
            axis.set_xscale("log", base=10 if x == "noise" else 2)
            axis.xaxis.set_minor_formatter(NullFormatter())
            if column not in ("acceptance", "r_hat_function"):
                axis.set_yscale("log")
            axis.set_xlabel({"n_train": "points", "noise": "noise scale"}.get(x, x))
            axis.set_title(f"{title}: {what}", fontsize=9)
            axis.grid(True, which="both", alpha=0.2)
    axes[0][0].legend(fontsize=8, frameon=False, title="open: R-hat > 1.05", title_fontsize=7)
    save(figure, path)
