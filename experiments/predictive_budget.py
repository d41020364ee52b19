"""How good predictions are against the gradients they cost, beside standard coordinates.

The data sets, splits and networks of ``predictive_quality``, labels at one temperature and numbers
with unknown noise and readout scale. Ours, ``bnnsample.run`` as it is called by default, takes a
few steps, a third of them warm-up; the same posterior in standard coordinates, under infinite HMC
and under HMC, takes no fewer gradients, warm-up included, each adapting as it does by default.

Chains of one posterior predict alike once they have all met it: the question is how soon. We found
ours there after the least that was tried, 60 gradients in all; standard coordinates .05 to .07
(breast cancer) and .04 to 1.7 (digits) behind, and level with ours from some 500 gradients on.

    python -m experiments.predictive_budget --quick
    python -m experiments.predictive_budget --splits 5 --width 2048 --steps 6 15 30 60 120 240

Scores are mean negative log predictive densities of the test points, and differences from ours in
pairs of the same split. Rows already in the CSV of ``--out`` are not measured again. Writes a CSV,
a PNG and a JSON of settings and versions.
"""

import argparse
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from experiments import _tasks
from experiments._budget import run_of_budget
from experiments._options import folder, positive, whole
from experiments._plot import save
from experiments._splits import mean_and_error, with_error
from experiments._sweep import Sweep
from experiments.predictive_quality import (
    LOADERS,
    MOST_TRAINING,
    OURS,
    STANDARD,
    Choice,
    Part,
    load,
    of_parts,
    runner,
)

Row = dict[str, Any]
FEWEST_STEPS = 6
NAME = "predictive_budget"
METHODS = (OURS, *STANDARD)
COLUMNS = ("data", "split", "steps", "method", "nll", "error", "gradients", "seconds")
COLOURS = dict(zip(METHODS, ("#0b6e4f", "#e08e45", "#b23a48"), strict=True))


class Cell(NamedTuple):
    """One split of a data set, and the steps that ours takes."""

    data: str
    split: int
    steps: int


def main(arguments: list[str] | None = None) -> list[Row]:
    """Run the experiment from the command line; returns the table's rows."""
    options = parse(arguments)
    cells = [
        Cell(name, split, steps)
        for name in options.data
        for split in range(options.splits)
        for steps in options.steps
    ]
    sweep = Sweep(
        NAME, options, columns=COLUMNS, whole=("split", "steps", "gradients"), cell=Cell._fields,
        cells=cells, settings=("width", "most_training", "temperature"),
    )  # fmt: skip
    for cell in sweep.own():
        for row in measure(cell, options, sweep.done(cell)):
            sweep.keep(row, line(row))
    if sweep.is_whole:
        sweep.conclude(table(sweep.rows), plot)
    return sweep.rows


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Command-line options."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", choices=sorted(LOADERS), default=list(LOADERS))
    parser.add_argument("--splits", type=whole(1), default=None)
    parser.add_argument("--width", type=whole(1), default=None)
    parser.add_argument(
        "--steps", nargs="+", type=whole(FEWEST_STEPS), help="of ours, warm-up included"
    )
    parser.add_argument("--temperature", type=positive, default=1.0, help="of the likelihood")
    parser.add_argument("--most-training", type=whole(10), default=MOST_TRAINING)
    parser.add_argument("--out", type=folder, default=f"results/{NAME}")
    parser.add_argument("--quick", action="store_true", help="a few minutes on 2 cores")
    _tasks.add_options(parser)
    options = parser.parse_args(arguments)
    _tasks.check(parser, options)
    options.splits = options.splits or (2 if options.quick else 5)
    options.width = options.width or (256 if options.quick else 2048)
    options.steps = options.steps or ([6, 15, 60] if options.quick else [6, 15, 30, 60, 120, 240])
    return options


def measure(cell: Cell, options: argparse.Namespace, done: dict[str, Row]) -> Iterator[Row]:
    """Rows of the methods that are not done, ours first: it sets the others' budget."""
    split = load(cell.data, cell.split, options.most_training)
    choice = Choice(options.temperature)
    run = functools.partial(runner(cell.data, split, cell.split, options.width), choice=choice)
    for method in METHODS:
        if method in done:
            continue
        if method == OURS:
            warmup = cell.steps // 3
            result = run(num_warmup=warmup, num_samples=cell.steps - warmup)
        else:
            standard = functools.partial(run, coordinates="standard", kernel=STANDARD[method])
            result = run_of_budget(standard, done[OURS]["gradients"], FEWEST_STEPS)
        found = of_parts(method, [Part(choice, 1.0, result)], split)
        done = {
            **done,
            method: {**cell._asdict(), **{k: v for k, v in found.items() if k in COLUMNS}},
        }
        yield done[method]


def mean_of_ours(rows: list[Row], data: str, steps: int, column: str) -> float:
    """Mean over splits of a figure of ours."""
    own = [r for r in rows if (r["data"], r["steps"], r["method"]) == (data, steps, OURS)]
    return float(np.mean([row[column] for row in own]))


def above_ours(rows: list[Row], data: str, steps: int, method: str) -> tuple[float, float]:
    """Mean and standard error over splits of a method's NLL above ours."""
    nll = {
        (r["split"], r["method"]): r["nll"]
        for r in rows
        if (r["data"], r["steps"]) == (data, steps)
    }
    splits = sorted(split for split, name in nll if name == method)
    difference = np.array([nll[split, method] - nll[split, OURS] for split in splits])
    return mean_and_error(difference)


def table(rows: list[Row]) -> str:
    """As Markdown, a line for each number of steps."""
    lines = [
        "| data | steps of ours | gradients | NLL of ours | "
        + " | ".join(f"{method}: above ours" for method in STANDARD)
        + " |",
        "|" + "---|" * (4 + len(STANDARD)),
    ]
    for data, steps in dict.fromkeys((row["data"], row["steps"]) for row in rows):
        gradients, nll = (mean_of_ours(rows, data, steps, c) for c in ("gradients", "nll"))
        differences = (above_ours(rows, data, steps, method) for method in STANDARD)
        lines.append(
            f"| {data} | {steps} | {gradients:,.0f} | {nll:.4f} | "
            + " | ".join(with_error(*difference, "+.4f") for difference in differences)
            + " |"
        )
    return "\n".join(lines)


def line(row: Row) -> str:
    """One printed line."""
    return (
        f"{row['data']:13s} split {row['split']}  {row['steps']:4d} steps  {row['method']:26s} "
        f"NLL {row['nll']:.4f}  error {row['error']:.4f}  {row['gradients']:,} gradients, "
        f"{row['seconds']:.0f} s"
    )


def plot(rows: list[Row], path: Path) -> None:
    """NLL above ours against gradients, a panel for every data set, with standard errors."""
    names = list(dict.fromkeys(row["data"] for row in rows))
    figure = Figure(figsize=(4.2 * len(names), 3.4), layout="constrained")
    for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        steps = sorted({row["steps"] for row in rows if row["data"] == name})
        cost = [mean_of_ours(rows, name, s, "gradients") for s in steps]
        for method in STANDARD:
            mean, error = np.transpose([above_ours(rows, name, s, method) for s in steps])
            axis.errorbar(
                cost, mean, error, fmt="o-", color=COLOURS[method], capsize=3, ms=4, label=method
            )
        axis.axhline(0, color=COLOURS[OURS], label=OURS)
        axis.set_xscale("log")
        axis.set_xticks(cost, [f"{c:,.0f}" for c in cost])
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xlabel("gradients of all chains, warm-up included")
        axis.set_title(name, fontsize=10)
        axis.grid(True, alpha=0.2)
    figure.axes[0].set_ylabel("NLL above ours")
    figure.axes[0].legend(fontsize=8, frameon=False)
    save(figure, path)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", False)
    main()
