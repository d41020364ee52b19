"""Warnings at the end of a run: what the report says, said at once."""

import sys
import warnings

from bnnsample.results._ess import MIN_DRAWS
from bnnsample.results._result import Result
from bnnsample.results._storage import Stored
from bnnsample.results._verdict import ESS_WANTED, findings

# Of draws that lie on disk: more are not read for a warning; ``report`` reads them.
MOST_BYTES = 2**30


def warned(result: Result) -> Result:
    """The result, after a warning for every finding that has a category.

    R-hat and ESS are looked at where they can be good: not in a trial of fewer draws than the
    effective ones wanted. The result keeps the table that they are in.
    """
    record = result.record
    if record.sample_stats["lp"].shape[1] < MIN_DRAWS:
        return result
    reads_draws = not isinstance(record.draws, Stored) or record.draws.nbytes <= MOST_BYTES
    is_judged = reads_draws and record.sample_stats["lp"].size >= ESS_WANTED
    table = result.diagnostics() if is_judged else None
    for finding in findings(record, table, reads_draws):
        if finding.category is not None:
            warnings.warn(finding.text, finding.category, stacklevel=_level_of_the_caller())
    return result


def _level_of_the_caller() -> int:
    """``stacklevel`` of the first frame outside this library, seen from ``warned``."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    return level


def _is_ours(module: str) -> bool:
    return module == "bnnsample" or module.startswith("bnnsample.")
