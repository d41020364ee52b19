"""A sweep's cells shared out among tasks, an array job of SLURM or submitit, say.

    #SBATCH --array=0-7
    python -m experiments.likelihood_speed --num-tasks 8 --task-index $SLURM_ARRAY_TASK_ID

Each task measures its own cells and writes them beside the others'; the same command without
``--task-index``, once all have ended, finds every row there and makes the table and the figures.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from experiments._options import whole

Cell = TypeVar("Cell")
Row = dict[str, Any]


def add_options(parser: argparse.ArgumentParser) -> None:
    """``--task-index`` and ``--num-tasks``."""
    parser.add_argument("--num-tasks", type=whole(1), default=1, help="that share the sweep")
    parser.add_argument(
        "--task-index", type=whole(0), default=None, help="of this one, from 0; default: all"
    )


def check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End the program where there is no such task."""
    if options.task_index is not None and options.task_index >= options.num_tasks:
        parser.error(
            f"--task-index must be below --num-tasks {options.num_tasks}, got {options.task_index}"
        )


def is_whole(options: argparse.Namespace) -> bool:
    """Whether this process makes the table of all cells."""
    return options.task_index is None


def own(cells: Sequence[Cell], options: argparse.Namespace) -> Iterable[Cell]:
    """The cells of this task, under a bar.

    They are every so many-th, so that wide and narrow ones are mixed.
    """
    return progress(cells if is_whole(options) else cells[options.task_index :: options.num_tasks])


def progress(cells: Sequence[Cell]) -> Iterable[Cell]:
    """The cells under a bar on stderr, silent where that is no terminal."""
    return tqdm(cells, unit="cell", disable=None, dynamic_ncols=True)


def say(text: str) -> None:
    """Print a line at once, above the bar."""
    tqdm.write(text)
    sys.stdout.flush()


def path_of(out: Path, name: str, options: argparse.Namespace) -> Path:
    """Where this task writes its rows."""
    folder = out if is_whole(options) else out / f"task_{options.task_index}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


def earlier(out: Path, name: str, read: Callable[[Path], list[Row]], own: Path) -> list[Row]:
    """Rows that are there: this task's own; for the whole, those of every task too, each once."""
    rows = read(own)
    if own.parent != out:
        return rows
    rows += [row for path in sorted(out.glob(f"task_*/{name}")) for row in read(path)]
    # As text: a NaN that was read is not equal to itself read again.
    return list({repr(row): row for row in rows}.values())
