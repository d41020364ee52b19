"""Importance weights, kept as logarithms in float64 on the host."""

from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from bnnsample import _arviz

# ArviZ fits the tail to a fifth of the weights and needs five of them.
MIN_WEIGHTS = 25
# Vehtari, Simpson, Gelman, Yao and Gabry 2024, section 3.2.4.
LARGEST_K_HAT = 0.7


class ImportanceSamplingError(RuntimeError):
    """The prior is too far from the posterior for importance sampling.

    Attributes:
        k_hat: the Pareto shape of the weights' tail.
        effective_sample_size: Kish's effective size of the weights.
    """

    def __init__(self, message: str, k_hat: float, effective_sample_size: float):
        super().__init__(message)
        self.k_hat, self.effective_sample_size = k_hat, effective_sample_size


class SmoothedWeights(NamedTuple):
    """Pareto-smoothed weights.

    Attributes:
        log_weights: logarithms ``[n]`` of weights that sum to one, where ``k_hat`` is finite.
        k_hat: shape of the generalised Pareto distribution fitted to the largest weights.
        effective_sample_size: Kish's effective size of the weights as they were given.
    """

    log_weights: np.ndarray
    k_hat: float
    effective_sample_size: float


def pareto_smoothed(log_weights: np.ndarray) -> SmoothedWeights:
    """Pareto-smoothed importance sampling (Vehtari et al. 2024), by ArviZ.

    Weights of zero are allowed. Where the largest weights are equal there is no tail to fit, and
    ``k_hat`` is 0; where there are too few that are not zero it is infinite.

    Raises:
        ValueError: fewer than 25 weights.
    """
    if len(log_weights) < MIN_WEIGHTS:
        raise ValueError(
            f"Pareto smoothing needs at least {MIN_WEIGHTS} draws, got {len(log_weights)}"
        )
    tail = np.sort(log_weights)[-_tail_length(len(log_weights)) - 1 :]
    if not np.isfinite(tail).all():
        size = effective_size(log_weights) if np.isfinite(tail[-1]) else 0.0
        return SmoothedWeights(log_weights, np.inf, size)
    size = effective_size(log_weights)
    if tail[-1] - tail[0] <= 8 * np.finfo(np.float32).eps:
        return SmoothedWeights(log_weights - logsumexp(log_weights), 0.0, size)
    smoothed, k_hat = _arviz.psis(log_weights)
    return SmoothedWeights(smoothed, k_hat, size)


def require_reliable(weights: SmoothedWeights, instead: str) -> None:
    """Raise ``ImportanceSamplingError`` where ``k_hat`` is above 0.7; ``instead`` is the remedy."""
    # Written so that NaN fails.
    if not weights.k_hat <= LARGEST_K_HAT:
        raise ImportanceSamplingError(
            f"importance sampling from the prior is not reliable here: k-hat is "
            f"{weights.k_hat:.2f}, above {LARGEST_K_HAT}, and {len(weights.log_weights):,} prior "
            f"draws are worth {weights.effective_sample_size:,.0f}. A wider network brings the "
            f"posterior closer to the prior; at this width use {instead}",
            weights.k_hat,
            weights.effective_sample_size,
        )


def effective_size(log_weights: np.ndarray) -> float:
    """Kish's effective sample size ``(sum w)^2 / sum w^2``."""
    return float(np.exp(2 * logsumexp(log_weights) - logsumexp(2 * log_weights)))


def log_mean_exp(values: np.ndarray) -> float:
    """The logarithm of the mean of ``exp(values)``."""
    return float(logsumexp(values) - np.log(len(values)))


def systematic(log_weights: np.ndarray, count: int, u: float) -> np.ndarray:
    """``count`` indices in ascending order by systematic resampling with one uniform ``u``.

    Index ``i`` with normalised weight ``w_i`` comes out ``count * w_i`` times, rounded up or down
    (Carpenter, Clifford and Fearnhead 1999): never twice where ``count * w_i`` is at most one.
    """
    cumulative = np.cumsum(np.exp(log_weights - log_weights.max()))
    chosen = np.searchsorted(cumulative, (np.arange(count) + u) / count * cumulative[-1], "right")
    return np.minimum(chosen, len(log_weights) - 1)


def _tail_length(count: int) -> int:
    return int(np.ceil(min(count / 5, 3 * count**0.5)))
