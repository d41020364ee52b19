"""One setting measured on one or two sides: programs, kernels, and times taken in turn."""

import dataclasses
import time
from typing import Any, NamedTuple

import numpy as np

from experiments._ntk_networks import Setting
from experiments._ntk_sides import Figures, Ours, Side, SideError
from ntk._methods import METHODS

Row = dict[str, Any]
COLUMNS = (
    "case", "network", "width", "n", "d", "side", "method", "chosen", "operations",
    "temporary_bytes", "seconds", "compile_seconds", "relative_difference", "note",
)  # fmt: skip

# Between kernels in float32, relative and in Frobenius norm.
TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a program may need to be run, and how long it is timed.

    ``rounds`` at most, and no further round for a program that has run for ``seconds``.
    """

    temporary_bytes: float = 9e9
    operations: float = 5e12
    rounds: int = 9
    seconds: float = 40.0


class Comparison(NamedTuple):
    """Ours (auto) against the peer's fastest method, in one run.

    ``seconds`` is the median over rounds of the ratio of two times taken one after the other;
    operations and bytes are those of the same two programs. ``difference`` is the relative
    difference of the two kernels in Frobenius norm.
    """

    case: str
    ours: str
    peer: str
    seconds: float
    operations: float
    temporary_bytes: float
    difference: float


@dataclasses.dataclass
class Entry:
    """One method of one side at one setting."""

    side: Side
    method: str
    figures: Figures | None = None
    note: str = ""
    warning: str = ""
    difference: float = float("nan")
    times: list[float] = dataclasses.field(default_factory=list)

    @property
    def seconds(self) -> float:
        return min(self.times, default=float("nan"))

    @property
    def runs(self) -> bool:
        return not self.note


def measure(
    case: str, setting: Setting, ours: Ours, peer: Side | None, limits: Limits
) -> tuple[list[Row], Comparison | None]:
    """A row per side and method, with one for auto, and the comparison with the peer."""
    entries = _prepared(setting, [ours, *([peer] if peer else [])], limits)
    chosen = next(e for e in entries if e.side is ours and e.method == ours.chosen)
    _compare_kernels(entries, chosen)
    _time_in_turn(entries, limits)
    rows = [_row(case, setting, entry, ours.chosen) for entry in entries]
    auto = {**_row(case, setting, chosen, ours.chosen), "method": "auto"}
    return [auto, *rows], _comparison(case, chosen, entries)


def _prepared(setting: Setting, sides: list[Side], limits: Limits) -> list[Entry]:
    entries = []
    for side in sides:
        try:
            side.open(setting)
        except SideError as error:
            entries += [Entry(side, method, note=str(error)) for method in METHODS]
            continue
        for method in METHODS:
            entry = Entry(side, method)
            try:
                entry.figures = side.prepare(method)
                entry.note = _too_large(entry.figures, limits)
            except SideError as error:
                entry.note = str(error)
            entries.append(entry)
    return entries


def _too_large(figures: Figures, limits: Limits) -> str:
    if figures.temporary_bytes > limits.temporary_bytes:
        return f"not run: needs {figures.temporary_bytes:.3g} temporary bytes"
    if figures.operations > limits.operations:
        return f"not run: needs {figures.operations:.3g} operations"
    return ""


def _compare_kernels(entries: list[Entry], reference: Entry) -> None:
    """Relative differences to the reference's kernel; also every program's first run."""
    if not reference.runs:
        return
    kernel = reference.side.kernel(reference.method)
    scale = np.linalg.norm(kernel)
    for entry in entries:
        if not entry.runs:
            continue
        if entry is reference:
            entry.difference = 0.0
            continue
        try:
            entry.difference = float(
                np.linalg.norm(entry.side.kernel(entry.method) - kernel) / scale
            )
        except SideError as error:
            entry.note = str(error)
        if entry.difference > TOLERANCE:
            entry.warning = "KERNEL DIFFERS"


def _time_in_turn(entries: list[Entry], limits: Limits) -> None:
    """Rounds over all programs, so that a machine whose speed drifts slows all alike."""
    for _ in range(limits.rounds):
        for entry in entries:
            if entry.runs and (not entry.times or sum(entry.times) < limits.seconds):
                entry.times.append(_best_time(entry))


def _best_time(entry: Entry, least: float = 0.1, most_runs: int = 10) -> float:
    """The best of a few runs in a row: one, if it takes long."""
    best, start = entry.side.time(entry.method), time.perf_counter()
    for _ in range(most_runs - 1):
        if best > least or time.perf_counter() - start > least:
            break
        best = min(best, entry.side.time(entry.method))
    return best


def choices(rows: list[Row]) -> list[tuple[Row, float]]:
    """Auto's row of every setting, and its seconds over those of the fastest method that ran."""
    found = []
    settings: dict[Any, list[Row]] = {}
    for row in rows:
        if row["side"] == Ours.name and row["seconds"] != "":
            key = tuple(row[k] for k in ("case", "network", "width", "n", "d"))
            settings.setdefault(key, []).append(row)
    for of_setting in settings.values():
        auto = [row for row in of_setting if row["method"] == "auto"]
        if auto and len(of_setting) > 2:
            found.append((auto[0], auto[0]["seconds"] / min(r["seconds"] for r in of_setting)))
    return found


def _row(case: str, setting: Setting, entry: Entry, chosen: str) -> Row:
    figures = entry.figures
    return {
        "case": case,
        "network": setting.network,
        "width": setting.width,
        "n": setting.n,
        "d": setting.d,
        "side": entry.side.name,
        "method": entry.method,
        "chosen": chosen if entry.side.name == Ours.name else "",
        "operations": figures.operations if figures else "",
        "temporary_bytes": figures.temporary_bytes if figures else "",
        "seconds": entry.seconds if entry.times else "",
        "compile_seconds": round(figures.compile_seconds, 2) if figures else "",
        "relative_difference": entry.difference if np.isfinite(entry.difference) else "",
        "note": entry.note or entry.warning,
    }


def _comparison(case: str, chosen: Entry, entries: list[Entry]) -> Comparison | None:
    peers = [e for e in entries if e.side.name != Ours.name and e.times]
    if not peers or not chosen.times:
        return None
    best = min(peers, key=lambda e: e.seconds)
    ours, theirs = chosen.figures, best.figures
    if ours is None or theirs is None:
        return None
    ratios = [a / b for a, b in zip(chosen.times, best.times, strict=False)]
    return Comparison(
        case,
        chosen.method,
        best.method,
        float(np.median(ratios)),
        ours.operations / theirs.operations,
        ours.temporary_bytes / max(theirs.temporary_bytes, 1),
        best.difference,
    )
