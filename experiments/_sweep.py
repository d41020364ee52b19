"""A sweep's rows and the files they are kept in: CSV, JSON of settings and versions, figure.

Rows that are there are not measured again: a sweep that was stopped goes on where it was. They are
of one setting; where another is asked for, the program ends before it measures anything.
"""

import argparse
import json
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from experiments import _tasks
from experiments._options import settings_of, write_settings
from experiments._rows import write_csv
from experiments._tasks import Cell, Row

# Options of which no row depends.
FREE = {"out", "quick", "resume", "data_dir", "num_tasks", "task_index"}


class Sweep:
    """The rows of the script ``name`` under ``options.out``.

    ``axes`` are the options that choose cells, which may differ from those of the rows that are
    there.
    """

    def __init__(
        self,
        name: str,
        columns: Sequence[str],
        read: Callable[[Path], list[Row]],
        options: argparse.Namespace,
        axes: Collection[str],
        *,
        resume: bool = True,
    ):
        self.name, self.columns, self.options = name, columns, options
        self.started = time.perf_counter()
        self.path = _tasks.path_of(options.out, f"{name}.csv", options)
        self.rows: list[Row] = []
        if resume:
            self.rows = _tasks.earlier(options.out, self.path.name, read, self.path)
        if self.rows:
            for path in [self.path, *options.out.glob(f"task_*/{name}.csv")]:
                check_settings(path.with_suffix(".json"), options, axes)
        write_settings(self.path.with_suffix(".json"), options)

    def own(self, cells: Sequence[Cell]) -> Iterable[Cell]:
        """The cells of this task, under a bar."""
        return _tasks.own(cells, self.options)

    def keep(self, rows: list[Row], text: str = "") -> None:
        """Write the CSV with more rows, and say what they are."""
        self.rows += rows
        write_csv(self.path, self.rows, self.columns)
        if text:
            _tasks.say(text)

    @property
    def is_whole(self) -> bool:
        """Whether this process has all rows, and makes the table and the figure."""
        return _tasks.is_whole(self.options)

    def conclude(self, table: str, plot: Callable[[list[Row], Path], Any]) -> None:
        """Write what the whole has: the CSV, with the rows of tasks, a table and a figure."""
        write_csv(self.path, self.rows, self.columns)
        print(f"\n{table}\n")
        plot(self.rows, self.path.with_suffix(".png"))
        seconds = time.perf_counter() - self.started
        print(f"{seconds:.0f} s; wrote {self.name}.* to {self.path.parent}")


def check_settings(path: Path, options: argparse.Namespace, axes: Collection[str]) -> None:
    """End the program where rows were measured at other settings than the options'."""
    if not path.exists():
        return
    there, wanted = json.loads(path.read_text()), settings_of(options)
    differing = [
        f"--{name.replace('_', '-')} {there[name]} (now {value})"
        for name, value in wanted.items()
        if name in there and there[name] != value and name not in {*FREE, *axes, "versions"}
    ]
    if differing:
        raise SystemExit(
            f"{path.parent} holds rows measured with {', '.join(differing)}: "
            "give those, or another --out"
        )
