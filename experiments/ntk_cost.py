"""What an empirical neural tangent kernel costs: three algorithms, four networks, and a peer.

Reproduces the cost table of Novak et al. 2022 (arXiv:2206.08720): operations, temporary bytes and
seconds of Jacobian contraction, NTK-vector products, structured derivatives and ``auto`` against
width, batch and number of outputs, for fully connected, convolutional, ResNet-18 and transformer
networks, and the exponents of the operations of the first two, fitted to our counts.

    python -m experiments.ntk_cost --quick
    python -m experiments.ntk_cost --peer-python PATH    # an interpreter with neural-tangents

Operations are counted on the jaxpr (a multiplication and an addition are two), temporary bytes
are XLA's for the compiled program (without parameters, inputs and the kernel itself), seconds the
least of several rounds in which all programs run in turn. Kernels are full, [n, n, d, d], of the
inputs with themselves, in float32. A program that needs more than ``--max-bytes`` or
``--max-operations`` is compiled and counted, not run. With ``--peer-python``, neural-tangents
(JAX 0.4.38 or older) runs in a process of its own, on the same parameters and inputs and in the
same rounds, and ours (auto) is compared with the peer's fastest method.
"""

import argparse
import contextlib
import csv
import dataclasses
import json
import platform
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from experiments import _ntk_exponents, _ntk_measure
from experiments._ntk_exponents import REGIMES, exponents
from experiments._ntk_measure import Comparison, Limits, Row, choices, measure
from experiments._ntk_networks import CASES, Setting
from experiments._ntk_plot import plot_cases, plot_sweeps
from experiments._ntk_sides import Ours, Peer

# Of the fastest method's seconds: what counts as a right choice.
CLOSE = 1.15
PARTS = ("exponents", "cases", "sweeps")
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
            write_csv(out / "ntk_cost_exponents.csv", _ntk_exponents.COLUMNS, table)
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
    """Every case on every side; tables and figure are written after each."""
    rows: list[Row] = []
    comparisons: list[Comparison] = []
    for name in options.cases:
        new, comparison = measure(name, CASES[name], ours, peer, options.limits)
        print_rows(new)
        rows += new
        write_csv(out / "ntk_cost.csv", _ntk_measure.COLUMNS, rows)
        plot_cases(rows, out / "ntk_cost.png")
        if comparison is not None:
            comparisons.append(comparison)
            named = [c._asdict() for c in comparisons]
            write_csv(out / "ntk_cost_ratios.csv", Comparison._fields, named)
    if comparisons:
        print_comparisons(comparisons)
    return rows


def run_sweeps(options: argparse.Namespace, ours: Ours, out: Path) -> list[Row]:
    """Our methods at the sizes of every sweep, each size once."""
    limits = dataclasses.replace(
        options.limits,
        operations=min(options.limits.operations, 1e11),
        rounds=min(options.limits.rounds, 3),
        seconds=3.0,
    )
    rows: list[Row] = []
    for middle, sizes in options.sweeps.values():
        for setting in sweep_settings(middle, sizes):
            new, _ = measure(f"sweep-{setting.network}", setting, ours, None, limits)
            print_sweep(new)
            rows += new
            write_csv(out / "ntk_cost_sweeps.csv", _ntk_measure.COLUMNS, rows)
    plot_sweeps(rows, options.sweeps, out)
    return rows


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
        print(
            f"{heading(row)}"
            f"{row['side'] + ' ' + row['method'] + chosen:38s} "
            f"{figure(row['operations'])} operations {figure(row['temporary_bytes'])} bytes "
            f"{figure(row['seconds'])} s  difference {figure(row['relative_difference'])}  "
            f"{row['note']}",
            flush=True,
        )


def print_sweep(rows: list[Row]) -> None:
    """One line for all methods of a setting."""
    first, *methods = rows
    parts = [
        f"{row['method']} {figure(row['operations'])} operations "
        f"{figure(row['temporary_bytes'])} bytes {figure(row['seconds'])} s {row['note']}"
        for row in methods
    ]
    print(
        f"{heading(first)}auto: {first['chosen']}; {'; '.join(parts)}",
        flush=True,
    )


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


def print_comparisons(comparisons: list[Comparison]) -> None:
    """Ours against the peer's fastest method."""
    print("\nOurs (auto) over the peer's fastest method, and the kernels' relative difference:")
    for c in comparisons:
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
    replace_text(path, json.dumps(settings, indent=2) + "\n")


def write_csv(path: Path, columns: Iterable[str], rows: list[Row]) -> None:
    """The rows as a CSV, written whole or not at all."""
    temporary = path.with_suffix(".csv.part")
    with temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(columns))
        writer.writeheader()
        writer.writerows(rows)
    temporary.replace(path)


def replace_text(path: Path, text: str) -> None:
    """The same for a text."""
    temporary = path.with_suffix(path.suffix + ".part")
    temporary.write_text(text)
    temporary.replace(path)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", False)
    main()
