"""``python -m bnnsample run``."""

import argparse
import warnings
from pathlib import Path

from bnnsample._command._config import Config, read_config
from bnnsample._command._errors import REFUSALS, CommandError, one_line
from bnnsample._command._files import PAGE, RESULT, refuse_existing, write_text
from bnnsample._processes import is_first
from bnnsample._run import run as sample
from bnnsample._warnings import SamplingWarning
from bnnsample.results import Result


def run(given: argparse.Namespace) -> None:
    """Run what ``given.config`` describes, print the report and write the results.

    Raises:
        CommandError: a description that cannot be meant, a run that is refused, or output that
            must not be replaced.
    """
    config = read_config(given.config)
    out = given.out or config.checkpoint_dir or _beside(given.config)
    # A run with a folder of its own has its draws there.
    store = None if config.checkpoint_dir else out / RESULT
    for path in (out / PAGE, *([store] if store else [])):
        refuse_existing(path, given.overwrite)
    result = _sampled(config)
    if not is_first():
        return
    print(result.report())
    if store is not None:
        _save(result, store, given.overwrite)
    write_text(out / PAGE, result.report("html"))
    written = [store or config.checkpoint_dir, out / PAGE]
    print("\nwritten:", ", ".join(map(str, written)))


def _beside(config: Path) -> Path:
    return config.with_name(f"{config.stem}-run")


def _sampled(config: Config) -> Result:
    try:
        with warnings.catch_warnings():
            # The report, which is printed, says the same.
            warnings.simplefilter("ignore", SamplingWarning)
            return sample(
                config.model,
                (config.data.x, config.data.y),
                likelihood=config.likelihood,
                **config.arguments,
            )
    except REFUSALS as error:
        raise CommandError(one_line(error)) from error


def _save(result: Result, path: Path, overwrite: bool) -> None:
    try:
        result.save(path, overwrite)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {one_line(error)}") from error
