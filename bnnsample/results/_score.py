"""How good predictions are at points whose targets are known."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.stats import norm

from bnnsample import _data
from bnnsample._record import RunRecord
from bnnsample.likelihoods import Bernoulli, Categorical, Likelihood
from bnnsample.results._per_draw import (
    AtInputs,
    as_sampled,
    checked_inputs,
    kept_draws_at,
    require_kept,
)
from bnnsample.results._quantiles import observed_quantiles

NUM_BINS = 15
COVERED = (0.5, 0.9)


def score(record: RunRecord, x: Any, y: Any) -> dict[str, float]:
    """``Result.score``; see there."""
    posterior, _ = require_kept(record)
    x = checked_inputs(record, x)
    likelihood, targets, _ = posterior.likelihood.prepared(y, len(x))
    targets = _data.cast(targets, record.x.dtype, "y")
    if targets.shape[1] != record.y.shape[1]:
        raise ValueError(f"y must have {record.y.shape[1]} targets per point, got {targets.shape}")
    observed = record.standardizer.targets(targets)
    with as_sampled(record):
        # Summed as they come: memory does not grow with the number of draws.
        total: Any = np.float64(0)
        count, density = 0, np.full(len(x), -np.inf)
        for draw in kept_draws_at(record, x):
            count += 1
            density = np.logaddexp(density, _log_density(likelihood, observed, draw))
            total = total + draw.mean.astype(np.float64)
    mean = np.asarray(total / count)
    pointwise = density - np.log(count)
    pointwise = record.standardizer.undo_log_density(pointwise)
    result = {"lppd": float(pointwise.sum()), "nll": float(-pointwise.mean())}
    if isinstance(likelihood, Categorical):
        return result | _of_classes(mean, targets[:, 0].astype(int))
    if isinstance(likelihood, Bernoulli):
        return result | _of_classes(np.stack([1 - mean, mean], -1), targets.astype(int))
    if mean.shape != targets.shape:
        return result
    residual = record.standardizer.undo_values(mean) - targets
    result["rmse"] = float(np.sqrt(np.mean(residual**2)))
    return result | _coverage(record, x, targets)


def _log_density(likelihood: Likelihood, y: np.ndarray, draw: AtInputs) -> np.ndarray:
    """Log predictive density of every observation ``[m]`` given one kept draw."""
    if not likelihood.is_gaussian:
        f = jnp.asarray(draw.f)
        return np.asarray(likelihood.log_prob(jnp.asarray(y), f, draw.unknowns))
    if draw.noise is None:
        raise ValueError(
            "score() needs the noise at x, which is known at the training inputs alone where a "
            "scale is given per data point"
        )
    # The readout integrated out: f given the hidden layers is Gaussian, and so is y.
    std = np.sqrt(draw.variance.astype(np.float64) + draw.noise)
    return norm(draw.mean, np.broadcast_to(std, draw.mean.shape)).logpdf(y).sum(axis=1)


def _of_classes(p: np.ndarray, code: np.ndarray) -> dict[str, float]:
    """Accuracy, Brier score and expected calibration error of probabilities ``[..., k]``."""
    truth = np.eye(p.shape[-1])[code]
    confidence = p.max(axis=-1).ravel()
    correct = (p.argmax(axis=-1) == code).ravel()
    return {
        "accuracy": float(correct.mean()),
        "brier": float(((p - truth) ** 2).sum(axis=-1).mean()),
        "calibration_error": calibration_error(confidence, correct),
    }


def calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Expected calibration error: ``sum_b n_b / n |mean confidence - share correct|``.

    Over ``NUM_BINS`` equal bins of confidence (Naeini, Cooper and Hauskrecht 2015).
    """
    at = np.minimum((confidence * NUM_BINS).astype(int), NUM_BINS - 1)
    gap = np.bincount(at, confidence - correct, NUM_BINS)
    return float(np.abs(gap).sum() / len(confidence))


def _coverage(record: RunRecord, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Share of targets inside the central intervals of new observations."""
    ends = [(1 - level) / 2 for level in COVERED] + [(1 + level) / 2 for level in COVERED]
    found = observed_quantiles(record, x, np.asarray(ends))
    if found is None:
        return {}
    result = {}
    for level, low, high in zip(COVERED, found, found[len(COVERED) :], strict=False):
        result[f"coverage_{100 * level:.0f}"] = float(((low <= y) & (y <= high)).mean())
    return result
