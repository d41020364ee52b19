"""How well the chains mixed: one row per group of quantities."""

import math

import numpy as np
import pandas as pd

from bnnsample._record import RECORDED, RunRecord
from bnnsample.results._ess import (
    MIN_DRAWS,
    bulk_ess,
    is_constant,
    r_hat,
    spread_ess,
    tail_ess,
)

MAX_QUANTITIES = 128
COLUMNS = (
    "ess_bulk_median",
    "ess_bulk_min",
    "ess_tail_min",
    "r_hat_max",
    "ess_per_gradient",
    "ess_per_second",
)
_GROUPS = {
    "posterior_mean_function": "f_mean",
    "expected_observation": "y_mean",
    "function": "f",
    "log_likelihood": "log_likelihood",
    "hidden_weights": "hidden",
    "projections": "projection",
}


def unknown_names(record: RunRecord) -> list[str]:
    """The sampled hyperparameters, by the names of their draws."""
    return [name for name in record.draws if name not in RECORDED]


def centre(record: RunRecord) -> str:
    """What a prediction is, by the name of its draws: E[f | h], E[y | f], or f itself."""
    return next(name for name in ("f_mean", "y_mean", "f") if name in record.draws)


def diagnostics(record: RunRecord) -> pd.DataFrame:
    """One row per group of quantities that the run has.

    ``ess_bulk_median``, ``ess_bulk_min``, ``ess_tail_min`` and ``r_hat_max`` are over the
    group's quantities, ESS capped at the number of draws. ``ess_per_gradient`` and
    ``ess_per_second`` divide the median of ``effective_sample_size`` (the worse of location and
    spread) by the gradients and the seconds of sampling over all chains, without warm-up.

    A group of more than ``MAX_QUANTITIES`` quantities is judged by that many, evenly spaced in
    C order, always the same. A quantity that never moves is left out of its group; where
    nothing moves, or there are fewer than 4 draws per chain, the row is NaN. Without hidden
    parameters and unknowns the posterior-mean function is known exactly and is given an ESS of
    the number of draws and an R-hat of 1.
    """
    groups = {group: record.draws[name] for group, name in _GROUPS.items() if name in record.draws}
    unknowns = unknown_names(record)
    if unknowns:
        groups["hyperparameters"] = np.stack([record.draws[name] for name in unknowns], axis=-1)
    rows = {}
    for group, draws in groups.items():
        known = group == "posterior_mean_function" and _is_known_exactly(record)
        rows[group] = _known_row(record, draws) if known else _row(record, draws)
    table = pd.DataFrame.from_dict(rows, orient="index", columns=list(COLUMNS))
    table.index.name = "group"
    return table


def _row(record: RunRecord, draws: np.ndarray) -> list[float]:
    q = subset(draws)
    bulk, tail = bulk_ess(q), tail_ess(q)
    # ``effective_sample_size``, without computing the bulk ESS twice.
    median = _reduce(np.median, np.fmin(bulk, spread_ess(q)))
    return [
        _reduce(np.median, bulk),
        _reduce(np.min, bulk),
        _reduce(np.min, tail),
        _reduce(np.max, r_hat(q)),
        _per(median, record.num_gradients),
        _per(median, record.sampling_seconds),
    ]


def _known_row(record: RunRecord, draws: np.ndarray) -> list[float]:
    total = float(draws.shape[0] * draws.shape[1])
    return [
        total,
        total,
        total,
        1.0,
        _per(total, record.num_gradients),
        _per(total, record.sampling_seconds),
    ]


def _is_known_exactly(record: RunRecord) -> bool:
    """Fixed features and a known noise scale: E[f | h] is the same in every draw."""
    f_mean = record.draws["f_mean"]
    return (
        record.hidden_index.size == 0
        and not unknown_names(record)
        and f_mean.shape[1] >= MIN_DRAWS
        and bool(is_constant(f_mean).all())
    )


def subset(draws: np.ndarray, limit: int = MAX_QUANTITIES) -> np.ndarray:
    """At most ``limit`` evenly spaced quantities ``[chain, draw, q]`` of ``[chain, draw, ...]``."""
    q = draws.reshape(*draws.shape[:2], math.prod(draws.shape[2:]))
    if q.shape[2] <= limit:
        return q
    return q[:, :, np.linspace(0, q.shape[2] - 1, limit).round().astype(int)]


def _reduce(statistic, values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(statistic(defined)) if defined.size else math.nan


def _per(size: float, cost: float) -> float:
    return size / cost if cost > 0 else math.nan
