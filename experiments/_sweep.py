"""A sweep's rows and the files they are kept in: CSV, JSON of settings and versions, figure.

Every row says in which settings it was measured. Rows of the same cell and settings are not
measured again: a sweep that was stopped goes on where it was. Those of other settings, or of cells
that are no longer asked for, stay in the CSV, and out of the table and the figure.
"""

import argparse
import json
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from experiments import _tasks
from experiments._options import write_settings
from experiments._rows import Row, read_csv, write_csv

Cell = tuple[Any, ...]


class Sweep:
    """The rows of the script ``name`` under ``options.out``, one per cell and method.

    ``cell`` are the columns that tell ``cells`` apart, ``settings`` the options on which every row
    depends, ``whole`` the columns of whole numbers.
    """

    def __init__(
        self,
        name: str,
        options: argparse.Namespace,
        *,
        columns: Sequence[str],
        whole: Collection[str],
        cell: Sequence[str],
        cells: Sequence[Cell],
        settings: Collection[str],
        resume: bool = True,
    ):
        self.name, self.options, self.cell = name, options, cell
        self.columns, self.whole = (*columns, "settings"), whole
        self.cells = list(dict.fromkeys(cells))
        given = {option: getattr(options, option) for option in settings}
        self.settings = json.dumps(given, sort_keys=True)
        self.started = time.perf_counter()
        self.path = _tasks.path_of(options.out, f"{name}.csv", options)
        # Of the file that is this process's own, and of all.
        self._own: dict[Cell, Row] = self._read(self.path) if resume else {}
        self._all = dict(self._own)
        files = {options.out / self.path.name, *options.out.glob(f"task_*/{self.path.name}")}
        for path in sorted(files - {self.path}) if resume else ():
            self._all = {**self._read(path), **self._all}

    def _read(self, path: Path) -> dict[Cell, Row]:
        rows = read_csv(path, self.columns, self.whole)
        return {self._key(row): row for row in rows}

    def _key(self, row: Row) -> Cell:
        return (row["settings"], *(row[column] for column in self.cell), row["method"])

    def own(self) -> Iterable[Cell]:
        """The cells of this task, under a bar."""
        return _tasks.own(self.cells, self.options)

    def done(self, cell: Cell) -> dict[str, Row]:
        """What is there of a cell: ``{method: row}``."""
        at = (self.settings, *cell)
        return {key[-1]: row for key, row in self._all.items() if key[:-1] == at}

    def forget(self, cell: Cell) -> None:
        """Leave out what is there of a cell, which is measured again."""
        for row in self.done(cell).values():
            key = self._key(row)
            self._own.pop(key, None)
            del self._all[key]

    def keep(self, row: Row, text: str = "") -> None:
        """Write the CSV with one row more, or in another's place, and say what it is."""
        row = {**row, "settings": self.settings}
        self._own[self._key(row)] = self._all[self._key(row)] = row
        self._write(self._own)
        if text:
            _tasks.say(text)

    def _write(self, rows: dict[Cell, Row]) -> None:
        write_csv(self.path, list(rows.values()), self.columns)
        write_settings(self.path.with_suffix(".json"), self.options)

    @property
    def is_whole(self) -> bool:
        """Whether this process has all rows, and makes the table and the figure."""
        return _tasks.is_whole(self.options)

    @property
    def rows(self) -> list[Row]:
        """Those of the cells that were asked for, in their order."""
        return [row for cell in self.cells for row in self.done(cell).values()]

    def conclude(self, table: str, plot: Callable[[list[Row], Path], Any]) -> None:
        """Write what the whole has: the CSV, with the rows of tasks, a table and a figure."""
        self._write(self._all)
        print(f"\n{table}\n")
        plot(self.rows, self.path.with_suffix(".png"))
        seconds = time.perf_counter() - self.started
        print(f"{seconds:.0f} s; wrote {self.name}.* to {self.path.parent}")
