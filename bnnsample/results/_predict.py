"""The posterior predictive at new inputs, the readout integrated out in closed form."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from bnnsample._record import RunRecord
from bnnsample._standardize import Standardizer
from bnnsample.results._per_draw import as_sampled, checked_inputs, kept_draws_at, require_kept


class Prediction(NamedTuple):
    """Predictions ``[m, d]`` (``[m]`` when y was given as ``[n]``), in y's own units.

    All are of ``E[y | f]``: the noise-free function itself for a Gaussian likelihood, class
    probabilities for labels (``[m, classes]``, or of the second of two ``[m]``), rates for counts;
    of ``f`` for a likelihood of the user's own that does not tell.

    Attributes:
        mean: posterior mean: the expected new observation.
        std: standard deviation over the posterior, without observation noise.
        predictive_std: standard deviation of a new observation, noise included; None where
            the noise at these inputs is not known (a scale given per training point).
        draws: draws ``[s, m, d]`` (or ``[s, m]``), chain by chain; None unless asked for.
    """

    mean: np.ndarray
    std: np.ndarray
    predictive_std: np.ndarray | None
    draws: np.ndarray | None


def predict(record: RunRecord, x: Any, return_draws: bool = False) -> Prediction:
    """``Result.predict``; see there."""
    posterior, _ = require_kept(record)
    x_user = checked_inputs(record, x)
    totals, draws = _Totals(), []
    with as_sampled(record):
        for draw in kept_draws_at(record, x_user):
            totals.add(draw.mean, draw.variance, draw.noise)
            if return_draws:
                draws.append(draw.f if posterior.likelihood.is_gaussian else draw.mean)
    return _in_user_units(record, totals, np.stack(draws) if return_draws else None)


class _Totals:
    """Mean and variance over draws by the law of total variance, summed in float64 (Welford)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Any = np.float64(0)
        self.squares: Any = np.float64(0)
        self.conditional: Any = np.float64(0)
        self.noise: Any = np.float64(0)

    def add(self, mean: np.ndarray, variance: np.ndarray, noise: np.ndarray | None) -> None:
        self.count += 1
        change = mean - self.mean
        self.mean = self.mean + change / self.count
        self.squares = self.squares + change * (mean - self.mean)
        self.conditional = self.conditional + variance.astype(np.float64)
        known = noise is not None and self.noise is not None
        self.noise = self.noise + np.asarray(noise, np.float64) if known else None

    @property
    def variance(self) -> np.ndarray:
        return (self.squares + self.conditional) / self.count


def _in_user_units(record: RunRecord, totals: _Totals, draws: np.ndarray | None) -> Prediction:
    assert record.posterior is not None
    dtype = np.dtype(record.posterior.y.dtype)
    undo = _undoing(record, totals.mean.shape[1])
    mean = undo.undo_values(totals.mean).astype(dtype)
    std = undo.undo_std(np.sqrt(totals.variance)).astype(dtype)
    predictive = None
    if totals.noise is not None:
        total = totals.variance + totals.noise / totals.count
        predictive = undo.undo_std(np.sqrt(total)).astype(dtype)
    if not (np.isfinite(mean).all() and np.isfinite(std).all()):
        raise FloatingPointError(
            f"the prediction is not finite: in {dtype} the Cholesky factorisation of a kept draw "
            "broke down, or x lies too far out; use float64 or a larger noise scale"
        )
    draws = None if draws is None else undo.undo_values(draws)
    if record.y_was_vector and mean.shape[1] == 1:
        mean, std = mean[:, 0], std[:, 0]
        predictive = None if predictive is None else predictive[:, 0]
        draws = None if draws is None else draws[..., 0]
    return Prediction(mean, std, predictive, draws)


def _undoing(record: RunRecord, size: int) -> Standardizer:
    """The standardisation of predictions of ``size`` outputs: of probabilities there is none."""
    undo = record.standardizer
    if len(undo.y_mean) == size:
        return undo
    zero = np.zeros(size, undo.y_mean.dtype)
    return dataclasses.replace(undo, y_mean=zero, y_std=zero + 1)
