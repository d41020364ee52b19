"""The sampled posterior against its wide limit, point by point."""

from typing import NamedTuple

import numpy as np

from bnnsample.theory._error import standard_error
from bnnsample.theory._gaussian import gaussian_wasserstein2
from bnnsample.theory._moments import Moments


class PointComparison(NamedTuple):
    """At each point and output, ``[m, d]``.

    Attributes:
        sampled_mean, sampled_std: posterior mean and standard deviation of the noise-free function.
        theory_mean, theory_std: those of the wide limit.
        mean_standard_error, variance_standard_error: Monte-Carlo standard errors of the differences
            in mean and in variance.
        mean_error, variance_error: the differences, sampled minus theory, divided by those.
        wasserstein2: 2-Wasserstein distance of the Gaussians with these moments.
        wasserstein2_noise: what Monte-Carlo error alone would make of it (root mean square).
        ess: the smaller effective sample size of the differences in mean and in variance.
    """

    sampled_mean: np.ndarray
    sampled_std: np.ndarray
    theory_mean: np.ndarray
    theory_std: np.ndarray
    mean_standard_error: np.ndarray
    mean_error: np.ndarray
    variance_standard_error: np.ndarray
    variance_error: np.ndarray
    wasserstein2: np.ndarray
    wasserstein2_noise: np.ndarray
    ess: np.ndarray


def compare_points(
    sampled: Moments, theory: Moments, rounding: float, prior_std: np.ndarray
) -> PointComparison:
    """Moments by the law of total expectation and variance, and their differences.

    The mean is that of ``E[f | h]`` over draws, the variance that of
    ``var[f | h] + (E[f | h] - mean)^2``: the readout adds no noise (Rao-Blackwell). Differences are
    taken draw by draw, so that an unknown noise scale, which both sides share, is not an error.

    Args:
        sampled: of the network.
        theory: of its wide limit, with as many draws or one for all.
        rounding: relative error of the moments; standard errors are at least this times the
            prior's scale.
        prior_std: of the wide limit's function ``[m]``, the scale that rounding is relative to.
    """
    mean, around = _total(sampled)
    mean_theory, around_theory = _total(theory)
    mean_error, mean_ess = standard_error(sampled.mean - theory.mean)
    variance_error, variance_ess = standard_error(around - around_theory)
    floor = rounding * np.maximum(prior_std, np.finfo(float).tiny)[:, None]
    mean_error = np.maximum(mean_error, floor)
    variance_error = np.maximum(variance_error, floor * prior_std[:, None])
    variance, variance_theory = around.mean((0, 1)), around_theory.mean((0, 1))
    std, std_theory = np.sqrt(variance), np.sqrt(variance_theory)
    std_error = variance_error / np.maximum(std + std_theory, floor)
    return PointComparison(
        mean,
        std,
        mean_theory,
        std_theory,
        mean_error,
        (mean - mean_theory) / mean_error,
        variance_error,
        _ratio(variance - variance_theory, variance_error),
        gaussian_wasserstein2(mean, std, mean_theory, std_theory),
        np.hypot(mean_error, std_error),
        np.minimum(mean_ess, variance_ess),
    )


def _total(moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    """The mean ``[m, d]``, and per draw what the variance is the mean of, ``[.., m, d]``."""
    mean = moments.mean.mean(axis=(0, 1))
    count = moments.mean.shape[0] * moments.mean.shape[1]
    spread = (moments.mean - mean) ** 2 * (count / max(count - 1, 1))
    return mean, moments.variance[..., None] + spread


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """0 where both vanish."""
    return np.where(above == 0, 0.0, above / np.where(below == 0, 1.0, below))
