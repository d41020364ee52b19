"""Types of command-line options: numbers that can be meant, and a folder to write to."""

import argparse
import json
import math
import os
from collections.abc import Callable, Collection
from pathlib import Path

from bnnsample._settings import PACKAGES, _version
from experiments._cifar import EXPECTED, what_is_missing


def whole(least: int) -> Callable[[str], int]:
    """Whole numbers from ``least`` on."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} on, got {text}")
        return number

    return parse


def positive(text: str) -> float:
    """A positive, finite number."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"must be a positive number, got {text}")
    return number


def folder(text: str) -> Path:
    """A folder that is there, or can be made, and written to."""
    path = Path(text)
    nearest = next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise argparse.ArgumentTypeError(f"{nearest} is not a folder that can be written to")
    return path


def check_data_dir(
    parser: argparse.ArgumentParser, data: Collection[str], data_dir: Path | None
) -> None:
    """End the program where CIFAR-10 is asked for without its folder, or a file is missing."""
    if "cifar10" not in data:
        return
    if data_dir is None:
        parser.error(f"--data cifar10 needs --data-dir, {EXPECTED}")
    if missing := what_is_missing(data_dir):
        parser.error(f"--data-dir {missing}")


def write_settings(path: Path, options: argparse.Namespace) -> None:
    """Write the text of the settings, whole or not at all."""
    temporary = path.with_suffix(".json.part")
    temporary.write_text(settings_text(options))
    temporary.replace(path)


def settings_text(options: argparse.Namespace) -> str:
    """The options but for the folder, and the versions they ran on, as JSON."""
    settings = {name: value for name, value in vars(options).items() if name != "out"}
    settings["versions"] = {package: _version(package) for package in PACKAGES}
    return json.dumps(settings, indent=2, default=str) + "\n"
