"""Ratios to baselines of the same run, beside those of the last release.

    make bench
    python -m benchmarks --only second_run
    python -m benchmarks --keep

A ratio is ours over the baseline's: smaller is better, and the machine's speed cancels. The exit
code is 1 where one has grown by more than half since ``benchmarks/last.json``; ``--keep`` writes
that file anew, for a release.
"""

import argparse
import json
import platform
import sys
from datetime import date
from pathlib import Path

import jax

from benchmarks._cases import CASES
from bnnsample._settings import PACKAGES, _version

LAST = Path(__file__).parent / "last.json"
MOST_GROWTH = 1.5


def main(arguments: list[str] | None = None, last: Path = LAST) -> int:
    """Measure and print the table; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--only", nargs="+", choices=sorted(CASES), default=list(CASES))
    parser.add_argument("--keep", action="store_true", help="write the ratios as the last ones")
    options = parser.parse_args(arguments)
    kept = json.loads(last.read_text())["ratios"] if last.exists() else {}
    found, slower = {}, []
    print("| case | ours / baseline | last release | what |\n|---|---|---|---|")
    for name in options.only:
        found[name] = CASES[name]()
        before = kept.get(name)
        print(
            f"| {name} | {found[name]:.3f} | {'' if before is None else f'{before:.3f}'} | "
            f"{(CASES[name].__doc__ or '').strip()} |",
            flush=True,
        )
        if before is not None and found[name] > MOST_GROWTH * before:
            slower.append(name)
    if options.keep:
        described = {
            "ratios": {**kept, **found},
            "date": date.today().isoformat(),
            "machine": f"{jax.default_backend()}, {platform.machine()}",
            "versions": {package: _version(package) for package in PACKAGES},
        }
        last.write_text(json.dumps(described, indent=2) + "\n")
    if slower:
        print(f"more than {MOST_GROWTH:g} times the last release's: {', '.join(slower)}")
    return 1 if slower else 0


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", False)
    sys.exit(main())
