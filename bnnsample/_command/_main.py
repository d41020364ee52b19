"""Arguments of the command line, and its exit codes."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bnnsample._command._errors import CommandError, one_line
from bnnsample._command._report import report
from bnnsample._command._run import run

REFUSED, INTERRUPTED = 2, 130
_OF_REPORT = (
    "The report of a run: of a directory that the command run or Result.save wrote, or of a "
    "checkpoint_dir, also while its run goes on or after it was interrupted."
)
_OF_RUN = (
    "Run what a TOML file describes in its tables [model], [likelihood], [data] and [run], "
    "print the report and write DIR/result.zarr and DIR/report.html. A run with checkpoint_dir "
    "has its draws there, and the same command goes on with it."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command (default: that of the process); returns the exit code.

    0: done. 2: refused, with one line on standard error that says why. 130: interrupted.
    """
    given = _parser().parse_args(arguments)
    try:
        given.command(given)
    except CommandError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bnnsample", description="Posteriors of wide Bayesian neural networks."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_report(
        commands.add_parser("report", help="the report of a stored run", description=_OF_REPORT)
    )
    _add_run(commands.add_parser("run", help="a run described by a file", description=_OF_RUN))
    return parser


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=report)
    parser.add_argument("run_dir", metavar="RUN_DIR", type=Path)
    parser.add_argument("--format", choices=("html", "text"), default="html")
    parser.add_argument(
        "--out", type=Path, help="default: report.html; the text goes to standard output"
    )
    _add_overwrite(parser)


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=run)
    parser.add_argument("config", metavar="CONFIG", type=Path, help="a TOML file")
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="default: checkpoint_dir, or else CONFIG without its suffix and with -run",
    )
    _add_overwrite(parser)


def _add_overwrite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace what was written before")
