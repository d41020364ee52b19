"""Files that are whole or not there."""

import os
from pathlib import Path

from bnnsample._command._errors import CommandError
from bnnsample.results._zarr import metadata_of

# What ``run`` writes, beside each other.
STORE = ".zarr"
RESULT, PAGE = f"result{STORE}", "report.html"


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise ``CommandError`` unless a file, or a stored result, may be put at ``path``.

    With ``overwrite`` one of the same kind may be there.
    """
    parent = next(p for p in path.absolute().parents if p.exists())
    if not parent.is_dir():
        raise CommandError(f"{parent} is a file, and {path} would lie in it")
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise CommandError(f"{path} exists; --overwrite replaces it")
    if path.suffix == STORE:
        if metadata_of(path) is None:
            raise CommandError(f"{path} exists and is not a bnnsample result")
    elif path.is_dir():
        raise CommandError(f"{path} is a directory")


def write_text(path: Path, text: str) -> None:
    """Write beside ``path`` and rename.

    Raises:
        CommandError: it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.write_text(text, encoding="utf-8")
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror or error}") from error
