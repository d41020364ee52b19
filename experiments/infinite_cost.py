"""What kernels of infinite width cost, beside the least that they could.

Prints, for ReLU networks of fully connected layers, the seconds of the NNGP and NTK of ``x1`` with
``x2`` and of ``x1`` with itself, over those of one matrix product ``x1 @ x2.T`` and one elementwise
``arctan2`` for every layer, timed in turn; the temporary bytes of the compiled programs, for one
layer and for many; and seconds of a convolutional network with and without an average over
positions at its end.

Reproduces no figure: the kernels are those of Novak et al. 2020, and what is measured is what they
cost here beside the least that they could take. We found 1.57 times that (``--quick``).

    python -m experiments.infinite_cost            # n = 4096, and 10,000 with itself
    python -m experiments.infinite_cost --quick    # n = 1024

Cells in the CSV of ``--out`` are not measured again. Writes a CSV, a PNG and a JSON of settings and
versions.
"""

import argparse
import math
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import ntk
from experiments import _tasks
from experiments._options import folder, whole, write_settings
from experiments._plot import save
from experiments._rows import agrees, read_csv, write_csv
from ntk.layers import Activation, Conv, Dense, Flatten, GlobalAvgPool, Serial

Row = dict[str, Any]
DENSE, MEMORY, ITSELF = "fully connected", "temporary memory", "fully connected, itself"
ENDINGS = {"flattened": Flatten, "averaged": GlobalAvgPool}
IMAGE = (16, 16, 3)
# Columns of a cell; of its seconds: the least, x1 with x2, and x1 with itself.
CELL = ("kind", "n", "depth", "repeats")
SECONDS = ("least_seconds", "seconds", "itself_seconds")
COLUMNS = (*CELL, *SECONDS, "memory")


def main(arguments: list[str] | None = None) -> list[Row]:
    """Run the experiment from the command line; returns the rows of its cells."""
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "infinite_cost.csv"
    rows = read_csv(path, COLUMNS, CELL[1:], ("kind",))
    shown = []
    for cell in _tasks.progress(cells(options)):
        kept = [row for row in rows if agrees(row, cell)]
        if not kept:
            kept = [{**dict.fromkeys(COLUMNS, math.nan), **cell, **measure(**cell)}]
            rows += kept
            write_csv(path, rows, COLUMNS)
        _tasks.say(line(kept[0]))
        shown.append(kept[0])
    plot(shown, options.out / "infinite_cost.png")
    write_settings(options.out / "infinite_cost.json", options)
    print(f"wrote infinite_cost.* to {options.out}")
    return shown


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Command-line options."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="n = 1024 alone")
    parser.add_argument("--depth", type=whole(1), default=3, help="hidden layers (default 3)")
    parser.add_argument("--repeats", type=whole(1), default=5, help="rounds of timing (default 5)")
    parser.add_argument("--out", type=folder, default="results/infinite_cost")
    return parser.parse_args(arguments)


def cells(options: argparse.Namespace) -> list[Row]:
    """What is measured: kind, inputs, hidden layers and rounds of timing."""
    n, depth = 1024 if options.quick else 4096, options.depth
    found = [(DENSE, n, depth, options.repeats), *((MEMORY, n, k, 0) for k in (1, 3, 12))]
    if not options.quick:
        found.append((ITSELF, 10_000, depth, 1))
    found += [(ending, 16 if options.quick else 64, 3, 2) for ending in ENDINGS]
    return [dict(zip(CELL, cell, strict=True)) for cell in found]


def measure(kind: str, n: int, depth: int, repeats: int) -> Row:
    """Seconds or memory of one cell."""
    if kind in ENDINGS:
        kernel = ntk.infinite_kernel(with_convolutions(ENDINGS[kind]()))
        pictures = images(n, IMAGE, 3)
        return {"itself_seconds": in_turn(repeats, lambda: kernel(pictures))[0]}
    kernel = ntk.infinite_kernel(fully_connected(depth))
    if kind == ITSELF:
        many = images(n, (784,), 2)
        return {"itself_seconds": in_turn(repeats, lambda: kernel(many))[0]}
    x1, x2 = images(n, (784,), 0), images(n, (784,), 1)
    if kind == MEMORY:
        analysis: Any = jax.jit(kernel).lower(x1, x2).compile().memory_analysis()
        return {"memory": analysis.temp_size_in_bytes / (4 * n * n)}
    calls = (lambda: at_least(x1, x2, depth), lambda: kernel(x1, x2), lambda: kernel(x1))
    return dict(zip(SECONDS, in_turn(repeats, *calls), strict=True))


def line(row: Row) -> str:
    """What is printed of a cell."""
    n, depth, (least, cross, own) = row["n"], row["depth"], (row[name] for name in SECONDS)
    if row["kind"] == MEMORY:
        return f"  temporary memory at depth {depth:2}  {row['memory']:5.2f} of one kernel's"
    if row["kind"] == ITSELF:
        return f"  {n:,} with itself         {own:8.3f} s"
    if row["kind"] in ENDINGS:
        return f"{depth} convolutions of {[n, *IMAGE]}, {row['kind']:9} {own:8.3f} s"
    return (
        f"{depth} hidden layers of ReLU, inputs [{n}, 784], float32\n"
        f"  one product and {depth} arctan2   {least:8.3f} s\n"
        f"  NNGP and NTK, x1 with x2   {cross:8.3f} s   {cross / least:5.2f} times that\n"
        f"  x1 with itself             {own:8.3f} s   {own / cross:5.2f} of x1 with x2"
    )


def plot(rows: list[Row], path: Path) -> None:
    """Seconds of everything that is timed, a bar each."""
    names = ("least", "x1 with x2", "with itself")
    bars = {
        f"{row['kind']}, n {row['n']}: {name}": row[column]
        for row in rows
        for name, column in zip(names, SECONDS, strict=True)
        if not math.isnan(row[column])
    }
    figure = Figure(figsize=(8, 1 + 0.4 * len(bars)), layout="constrained")
    axis = figure.subplots()
    axis.barh(list(bars), list(bars.values()), color="#0b6e4f")
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.set_xlabel("seconds")
    axis.grid(True, axis="x", alpha=0.2)
    save(figure, path)


def fully_connected(depth: int) -> Serial:
    layers = Dense(2**0.5, 0.1), Activation("relu")
    return Serial(*depth * layers, Dense())


def with_convolutions(ending: Any) -> Serial:
    hidden = [
        layer
        for _ in range(3)
        for layer in (Conv((3, 3), 1, "SAME", 2**0.5, 0.1), Activation("relu"))
    ]
    return Serial(*hidden, ending, Dense())


def images(n: int, shape: tuple[int, ...], seed: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, *shape)), jnp.float32)


@jax.jit
def _least(x1: jax.Array, x2: jax.Array, sines: tuple[jax.Array, ...]) -> jax.Array:
    found = x1 @ x2.T
    for sine in sines:
        found = jnp.arctan2(found, sine)
    return found


def at_least(x1: jax.Array, x2: jax.Array, depth: int) -> jax.Array:
    sine = jnp.ones((), x1.dtype)
    return _least(x1, x2, (sine,) * depth)


def in_turn(repeats: int, *calls: Any) -> list[float]:
    """The least seconds of every call, run in turn; compiled beforehand."""
    for call in calls:
        jax.block_until_ready(call())
    best = [float("inf")] * len(calls)
    for _ in range(repeats):
        for k, call in enumerate(calls):
            start = time.perf_counter()
            jax.block_until_ready(call())
            best[k] = min(best[k], time.perf_counter() - start)
    return best


if __name__ == "__main__":
    main()
