"""Tables of rows as CSV, written whole, and read back as they were."""

import csv
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
TEXTS = ("data", "network", "method", "setting", "setting_parameters", "settings")


def read_csv(
    path: Path, columns: Iterable[str], whole: Collection[str], texts: Collection[str] = TEXTS
) -> list[Row]:
    """Rows of an earlier run, none where there was none.

    Columns of ``texts`` are text, those of ``whole`` ints, and others floats: NaN where the file
    has no such column.
    """
    if not path.exists():
        return []
    with path.open(newline="") as file:
        found = list(csv.DictReader(file))

    def value(column: str, text: str | None) -> Any:
        if column in texts:
            return text
        return (
            int(text) if column in whole and text not in (None, "", "nan") else float(text or "nan")
        )

    try:
        return [{column: value(column, row.get(column)) for column in columns} for row in found]
    except ValueError as error:
        raise SystemExit(f"{path} is not a table of this script: {error}") from error


def agrees(row: Row, wanted: Row) -> bool:
    """Whether a row holds what is wanted: that it is of this cell and setting."""
    return all(row[name] == value for name, value in wanted.items())


def write_csv(path: Path, rows: list[Row], columns: Sequence[str]) -> None:
    """The rows as a CSV, written whole or not at all."""
    temporary = path.with_suffix(".csv.part")
    with temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    temporary.replace(path)
