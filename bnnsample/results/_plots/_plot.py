"""The kinds of figures by name."""

from collections.abc import Callable
from typing import Any

from matplotlib.figure import Figure

from bnnsample._record import RunRecord
from bnnsample.results._plots._chains import ess, rank, trace
from bnnsample.results._plots._predictive import predictive

KINDS: dict[str, Callable[[RunRecord], Figure]] = {
    "trace": trace,
    "rank": rank,
    "ess": ess,
    "predictive": predictive,
}


def plot(record: RunRecord, kind: str, path: Any = None) -> Figure:
    """``Result.plot``; see there."""
    if kind not in KINDS:
        raise ValueError(f"unknown kind of plot {kind!r}; expected one of {', '.join(KINDS)}")
    figure = KINDS[kind](record)
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure
