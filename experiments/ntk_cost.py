"""What an empirical neural tangent kernel costs: three algorithms, four networks, and a peer.

Reproduces figures 1 to 3 of Novak et al. 2022 (arXiv:2206.08720) and its table of costs:
operations, temporary bytes and seconds of Jacobian contraction, NTK-vector products, structured
derivatives and ``auto`` against width, batch and number of outputs, for fully connected,
convolutional, ResNet-18 and transformer networks, and the exponents of the operations of the first
two, fitted to our counts. The paper found that structured derivatives and NTK-vector products are
cheaper than Jacobian contraction, more so with many outputs. We found that ``auto`` takes .25 to
.86 of the time of the fastest of neural-tangents over eight cases, .25 at 3 x 2048 with 100
outputs.

    python -m experiments.ntk_cost --quick
    python -m experiments.ntk_cost --peer-python PATH    # an interpreter with neural-tangents

Operations are counted on the jaxpr (a multiplication and an addition are two), temporary bytes
are XLA's for the compiled program (without parameters, inputs and the kernel itself), seconds the
least of several rounds in which all programs run in turn. Kernels are full, [n, n, d, d], of the
inputs with themselves, in float32. A program that needs more than ``--max-bytes`` or
``--max-operations`` is compiled and counted, not run. With ``--peer-python``, neural-tangents
(JAX 0.4.38 or older) runs in a process of its own, on the same parameters and inputs and in the
same rounds, and ours (auto) is compared with the peer's fastest method.

Cases and sizes in the CSVs of ``--out`` are not measured again, unless under other limits or
without a peer that is there now. Writes CSVs, PNGs and a JSON of settings and versions.
"""

import argparse
import contextlib
import dataclasses
import json
import math
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from experiments import _ntk_exponents, _ntk_measure, _tasks
from experiments._ntk_exponents import REGIMES, exponents
from experiments._ntk_measure import Comparison, Limits, Row, choices, measure
from experiments._ntk_networks import CASES, Setting
from experiments._ntk_plot import plot_cases, plot_sweeps
from experiments._ntk_sides import Ours, Peer
from experiments._rows import agrees, read_csv, write_csv

# Of the fastest method's seconds: what counts as a right choice.
CLOSE = 1.15
PARTS = ("exponents", "cases", "sweeps")
COLUMNS = (*_ntk_measure.COLUMNS, "setting")
RATIO_COLUMNS = (*Comparison._fields, "setting")
# Columns of whole numbers and of text.
WHOLE = ("width", "n", "d", "operations", "temporary_bytes")
TEXTS = ("case", "network", "side", "method", "chosen", "note", "setting", "ours", "peer")
FULL_CASES = tuple(name for name in CASES if not name.endswith("tiny"))
QUICK_CASES = ("fc-512-n64-d10", "vit-64-n8-d10", "conv-64-n16-d10")
# The middle of each sweep, and the sizes of width, batch and outputs around it.
SWEEPS = {
    "dense": (
        Setting("dense", 512, 32, 10),
        {"width": (128, 256, 512, 1024, 2048), "n": (8, 16, 32, 64, 128), "d": (1, 4, 16, 64)},
    ),
    "convolutional": (
        Setting("convolutional", 32, 4, 10),
        {"width": (16, 32, 64, 128), "n": (2, 4, 8, 16), "d": (1, 4, 16, 64)},
    ),
    "resnet18": (
        Setting("resnet18", 16, 2, 4),
        {"width": (8, 16, 32, 64), "n": (1, 2, 4, 8), "d": (1, 4, 16)},
    ),
    "transformer": (
        Setting("transformer", 64, 4, 10, depth=2),
        {"width": (32, 64, 128, 256), "n": (2, 4, 8, 16), "d": (1, 4, 16, 64)},
    ),
}
QUICK_SWEEPS = {
    "dense": (
        Setting("dense", 256, 16, 10),
        {"width": (128, 256, 512), "n": (8, 16, 32), "d": (1, 4, 16)},
    ),
    "convolutional": (
        Setting("convolutional", 16, 2, 4, image=16),
        {"width": (8, 16, 32), "n": (2, 4, 8), "d": (1, 4, 16)},
    ),
}
TINY_SWEEPS = {
    "dense": (Setting("dense", 8, 2, 2, depth=1, inputs=4), {"width": (4, 8), "n": (2,), "d": (1,)})
}


def main(arguments: list[str] | None = None) -> list[Row]:
    """Run the experiment from the command line; returns the rows of cases and sweeps."""
    options = parse(arguments)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    rows: list[Row] = []
    with contextlib.ExitStack() as stack:
        ours = Ours()
        peer = Peer(options.peer_python) if options.peer_python else None
        if peer is not None:
            stack.callback(peer.close)
        write_settings(out / "ntk_cost.json", options, ours, peer)
        if "exponents" in options.parts:
            table = list(exponents(options.regimes))
            print_exponents(table)
            write_csv(out / "ntk_cost_exponents.csv", table, _ntk_exponents.COLUMNS)
        if "cases" in options.parts:
            rows += run_cases(options, ours, peer, out)
        if "sweeps" in options.parts:
            rows += run_sweeps(options, ours, out)
        print_choices(rows)
    print(f"\n{time.perf_counter() - started:.0f} s; wrote tables and figures to {out}")
    return rows


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Command-line options, with the sweeps, regimes and limits they mean."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="2 to 3 minutes on 2 cores")
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--cases", nargs="+", choices=sorted(CASES), default=None)
    parser.add_argument("--out", default="results/ntk_cost")
    parser.add_argument("--peer-python", default=None, help="interpreter with neural-tangents")
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--max-bytes", type=float, default=Limits.temporary_bytes)
    parser.add_argument("--max-operations", type=float, default=None)
    options = parser.parse_args(arguments)
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds must be at least 1")
    small = options.quick or options.tiny
    options.cases = options.cases or list(QUICK_CASES if small else FULL_CASES)
    options.sweeps = TINY_SWEEPS if options.tiny else QUICK_SWEEPS if options.quick else SWEEPS
    options.regimes = REGIMES[:1] if options.tiny else REGIMES
    options.limits = Limits(
        temporary_bytes=options.max_bytes,
        operations=options.max_operations or (3e11 if small else Limits.operations),
        rounds=options.rounds or (3 if small else Limits.rounds),
        seconds=5.0 if small else Limits.seconds,
    )
    return options


def run_cases(options: argparse.Namespace, ours: Ours, peer: Peer | None, out: Path) -> list[Row]:
    """Every case on every side."""
    cells = [(name, CASES[name]) for name in options.cases]
    rows, ratios = measured(cells, ours, peer, options.limits, out / "ntk_cost.csv", print_rows)
    plot_cases(rows, out / "ntk_cost.png")
    if ratios:
        print_comparisons(ratios)
    return rows


def run_sweeps(options: argparse.Namespace, ours: Ours, out: Path) -> list[Row]:
    """Our methods at the sizes of every sweep, each size once."""
    limits = dataclasses.replace(
        options.limits,
        operations=min(options.limits.operations, 1e11),
        rounds=min(options.limits.rounds, 3),
        seconds=3.0,
    )
    cells = [
        (f"sweep-{setting.network}", setting)
        for middle, sizes in options.sweeps.values()
        for setting in sweep_settings(middle, sizes)
    ]
    rows, _ = measured(cells, ours, None, limits, out / "ntk_cost_sweeps.csv", print_sweep)
    plot_sweeps(rows, options.sweeps, out)
    return rows


def measured(
    cells: Sequence[tuple[str, Setting]],
    ours: Ours,
    peer: Peer | None,
    limits: Limits,
    path: Path,
    show: Callable[[list[Row]], None],
) -> tuple[list[Row], list[Row]]:
    """Rows of the cells, and their comparisons with the peer: kept ones, and new ones as they come.

    Rows of other cells and other limits stay in the CSV.
    """
    ratios_path = path.with_stem(f"{path.stem}_ratios")
    rows, ratios = read(path), read_csv(ratios_path, RATIO_COLUMNS, (), TEXTS)
    sides = {ours.name, *([peer.name] if peer else [])}
    keys = [{"case": case, "setting": told(setting, limits)} for case, setting in cells]
    for (case, setting), key in _tasks.progress(list(zip(cells, keys, strict=True))):
        if sides <= {row["side"] for row in rows if agrees(row, key)}:
            continue
        new, comparison = measure(case, setting, ours, peer, limits)
        show(new)
        if comparison is not None:
            ratios = [row for row in ratios if not agrees(row, key)]
            ratios.append({**comparison._asdict(), **key})
            write_csv(ratios_path, ratios, RATIO_COLUMNS)
        rows = [row for row in rows if not agrees(row, key)] + [{**row, **key} for row in new]
        write_csv(path, rows, COLUMNS)

    def own(table: list[Row]) -> list[Row]:
        return [row for key in keys for row in table if agrees(row, key)]

    return own(rows), own(ratios)


def told(setting: Setting, limits: Limits) -> str:
    """Everything that a row's figures depend on."""
    parts = {**dataclasses.asdict(setting), **dataclasses.asdict(limits)}
    return " ".join(f"{name}={value}" for name, value in parts.items())


def read(path: Path) -> list[Row]:
    """Rows of an earlier run: what was not measured is empty, as in new ones."""

    def empty(value: Any) -> bool:
        return isinstance(value, float) and math.isnan(value)

    rows = read_csv(path, COLUMNS, WHOLE, TEXTS)
    return [{k: "" if empty(value) else value for k, value in row.items()} for row in rows]


def sweep_settings(middle: Setting, sizes: dict[str, Sequence[int]]) -> Iterator[Setting]:
    """The settings that differ from the middle in one size."""
    settings = (
        middle.replace(**{variable: size}) for variable, values in sizes.items() for size in values
    )
    yield from dict.fromkeys(settings)


def print_rows(rows: list[Row]) -> None:
    """One line per side and method."""
    for row in rows:
        chosen = f" ({row['chosen']})" if row["method"] == "auto" else ""
        _tasks.say(
            f"{heading(row)}"
            f"{row['side'] + ' ' + row['method'] + chosen:38s} "
            f"{figure(row['operations'])} operations {figure(row['temporary_bytes'])} bytes "
            f"{figure(row['seconds'])} s  difference {figure(row['relative_difference'])}  "
            f"{row['note']}"
        )


def print_sweep(rows: list[Row]) -> None:
    """One line for all methods of a setting."""
    first, *methods = rows
    parts = [
        f"{row['method']} {figure(row['operations'])} operations "
        f"{figure(row['temporary_bytes'])} bytes {figure(row['seconds'])} s {row['note']}"
        for row in methods
    ]
    _tasks.say(f"{heading(first)}auto: {first['chosen']}; {'; '.join(parts)}")


def heading(row: Row) -> str:
    """The setting of a row, as lines begin."""
    return f"{row['case']:20s} width {row['width']:5d} n {row['n']:4d} d {row['d']:4d}  "


def figure(value: Any) -> str:
    """Three digits, or a dash for nothing."""
    return f"{value:9.3g}" if value != "" else f"{'-':>9s}"


def print_exponents(table: list[Row]) -> None:
    """The paper's exponents beside ours."""
    print("Exponents of the operations, the paper's leading term and ours fitted:")
    for row in table:
        print(
            f"{row['network']:13s} {row['regime']:13s} {row['method']:22s} "
            f"{row['leading_term']:17s} "
            f"in {row['variable']}: paper {row['paper']}  ours {row['fitted']:.2f}"
        )
    print(flush=True)


def print_comparisons(ratios: list[Row]) -> None:
    """Ours against the peer's fastest method."""
    print("\nOurs (auto) over the peer's fastest method, and the kernels' relative difference:")
    for row in ratios:
        c = Comparison(*(row[name] for name in Comparison._fields))
        print(
            f"{c.case:20s} seconds {c.seconds:6.3f}  operations {c.operations:6.3f}  "
            f"temporary bytes {c.temporary_bytes:6.3f}  difference {c.difference:.1e}  "
            f"({c.ours} / {c.peer})"
            + ("  KERNELS DIFFER" if not c.difference <= _ntk_measure.TOLERANCE else "")
        )


def print_choices(rows: list[Row]) -> None:
    """How far auto's choice is from the fastest method, where more than one was run."""
    ratios = [ratio for _, ratio in choices(rows)]
    if ratios:
        close = sum(ratio <= CLOSE for ratio in ratios)
        print(
            f"\nauto over the fastest of our methods: at most {CLOSE} in {close} of {len(ratios)} "
            f"settings, {max(ratios):.2f} at worst"
        )


def write_settings(path: Path, options: argparse.Namespace, ours: Ours, peer: Peer | None) -> None:
    """Everything that was asked for, and the versions it ran on."""
    settings = {
        "cases": {name: dataclasses.asdict(CASES[name]) for name in options.cases},
        "parts": options.parts,
        "limits": dataclasses.asdict(options.limits),
        "sweeps": {
            name: {"middle": dataclasses.asdict(middle), **sizes}
            for name, (middle, sizes) in options.sweeps.items()
        },
        "backend": jax.default_backend(),
        "python": platform.python_version(),
        "ours": ours.versions(),
        "peer": peer.versions() if peer else None,
    }
    path.write_text(json.dumps(settings, indent=2) + "\n")


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", False)
    main()
