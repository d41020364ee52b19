"""``python -m bnnsample report``."""

import argparse
from pathlib import Path

from bnnsample._command._errors import CommandError
from bnnsample._command._files import PAGE, RESULT, refuse_existing, write_text
from bnnsample.checkpoints._directory import DRAWS, RUN
from bnnsample.results import Result, load
from bnnsample.results._zarr import metadata_of


def report(given: argparse.Namespace) -> None:
    """Write the report of ``given.run_dir``, or print it.

    Raises:
        CommandError: no result there, a damaged one, or a file that must not be replaced.
    """
    out: Path | None = given.out
    if out is None and given.format == "html":
        out = Path(PAGE)
    if out is not None:
        refuse_existing(out, given.overwrite)
    text = stored(given.run_dir).report(given.format)
    if out is None:
        print(text)
    else:
        write_text(out, text if text.endswith("\n") else f"{text}\n")
        print(out)


def stored(path: Path) -> Result:
    """The result in a directory: itself, or beside the page that ``run`` wrote.

    Raises:
        CommandError: there is none, or it cannot be read.
    """
    if not path.exists():
        raise CommandError(f"no run at {path}")
    if not path.is_dir():
        raise CommandError(f"{path} is a file, and a run is a directory")
    if (path / RESULT).exists() and not (path / RUN).is_file():
        path = path / RESULT
    try:
        if (path / RUN).is_file() and metadata_of(path / DRAWS) is None:
            raise CommandError(
                f"{path} has no draws yet: its run is in its warm-up, or was stopped in it"
            )
        return load(path)
    except (ValueError, OSError) as error:
        raise CommandError(str(error)) from error
