"""The sampled posterior against its wide limit, all points together."""

from typing import NamedTuple

import numpy as np

from bnnsample.theory._error import standard_error
from bnnsample.theory._gaussian import kl_to_standard, whiten, whiten_both
from bnnsample.theory._moments import Moments

MIN_ESS = 20
# Nats per point and output: what the covariance of two independent draws per point would have.
MOST_NOISE = 1 / 8
# Of the theory's covariance, relative to its largest variance; below it, rounding decides.
LEAST_EIGENVALUE = 1e-10


class JointKL(NamedTuple):
    """``KL(sampled || theory)`` of Gaussians over j points, in nats, summed over outputs.

    Attributes:
        value: the estimate, its Monte-Carlo bias taken off: 0 within its error where the two
            agree, so it may fall below 0. None where it cannot be told; ``reason`` says why.
        standard_error: Monte-Carlo standard error of ``value``.
        noise: the bias that was taken off.
        num_points: j.
        reason: why there is no value; empty where there is one.
    """

    value: float | None
    standard_error: float | None
    noise: float | None
    num_points: int
    reason: str = ""


def joint_kl(sampled: Moments, theory: Moments, noise_variance: float = 0.0) -> JointKL:
    """The Gaussian KL of the joint posterior at the moments' j points.

    The sampled covariance is ``mean cov[f | h] + cov E[f | h]`` (Rao-Blackwell): its first term,
    nearly all of it in a wide network, has full rank and little noise, however few the draws. An
    estimate of the KL from noisy moments is too large, to second order by

        1/2 sum_i var(b_i) + 1/4 sum_ij var(A_ij)

    with ``b`` and ``A`` the sampled mean and covariance in coordinates that whiten the theory's.
    This is estimated from the draws and taken off, and where it exceeds 1/8 nat per point and
    output there is no value. The dependence between outputs of a finite network is left out.

    Args:
        sampled: of the network; its ``mean`` at the j points alone.
        theory: of its wide limit, likewise.
        noise_variance: added to every variance: 0 for the function, the observation noise's for
            new observations.
    """
    num_points, outputs = sampled.mean.shape[2:]
    found = []
    for output in range(outputs):
        first, second = (_about_mean(side, output, noise_variance) for side in (sampled, theory))
        try:
            found.append(_one_output(first, second))
        except np.linalg.LinAlgError:
            return JointKL(
                None,
                None,
                None,
                num_points,
                "the covariance at these points is singular to working precision: some are too "
                "close to each other",
            )
    values, errors, noises, sizes = np.asarray(found).T
    noise, size = float(noises.sum()), sizes.min()
    if size < MIN_ESS or noise > MOST_NOISE * num_points * outputs:
        return JointKL(
            None,
            None,
            noise,
            num_points,
            f"too few effective draws ({size:.0f}) for the joint covariance of {num_points} "
            f"points: Monte-Carlo noise alone makes {noise:.2g} nats",
        )
    return JointKL(float(values.sum()) - noise, float(np.linalg.norm(errors)), noise, num_points)


def _about_mean(moments: Moments, output: int, noise_variance: float):
    """Means ``[.., j]``, and per draw what the covariance is the mean of, ``[.., j, j]``."""
    mean = moments.mean[..., output]
    count = mean.shape[0] * mean.shape[1]
    away = (mean - mean.mean(axis=(0, 1))) * np.sqrt(count / max(count - 1, 1))
    spread = away[..., :, None] * away[..., None, :]
    return mean, moments.covariance + spread + noise_variance * np.eye(mean.shape[2])


def _one_output(first, second) -> tuple[float, float, float, float]:
    """KL, its standard error, its bias, and the effective sample size behind them."""
    (mean, about), (mean_theory, about_theory) = first, second
    covariance = about_theory.mean((0, 1))
    eigenvalues = np.linalg.eigvalsh(covariance)
    if not eigenvalues[0] > LEAST_EIGENVALUE * np.abs(np.diagonal(covariance)).max():
        raise np.linalg.LinAlgError
    L = np.linalg.cholesky(covariance)
    a, a_theory = whiten_both(L, about), whiten_both(L, about_theory)
    w = whiten(L, mean - mean_theory)
    A, b = a.mean((0, 1)), w.mean((0, 1))
    bias, spread, size = _second_order(w, a - a_theory)
    # To first order the KL moves with the moments by these derivatives.
    identity = np.eye(len(b))
    by_sampled = (identity - np.linalg.inv(A)) / 2
    by_theory = (identity - A - np.outer(b, b)) / 2
    first_order = w @ b + _inner(a, by_sampled) + _inner(a_theory, by_theory)
    error = float(standard_error(first_order)[0])
    return kl_to_standard(b, A), float(np.hypot(error, spread)), bias, size


def _second_order(w: np.ndarray, difference: np.ndarray) -> tuple[float, float, float]:
    """Mean and standard deviation of ``|b|^2 / 2 + |A - I|_F^2 / 4`` under Monte-Carlo error alone.

    And the effective sample size. A sum of squares ``sum_k lambda_k z_k^2`` has mean ``sum lambda``
    and variance ``2 sum lambda^2``.
    """
    error, sizes = standard_error(w)
    diagonal = np.diagonal(difference, axis1=2, axis2=3)
    size = float(np.median([sizes, standard_error(diagonal)[1]]))
    # An entry off the diagonal stands there twice.
    upper = np.triu_indices(w.shape[2])
    weight = np.where(upper[0] == upper[1], 1.0, 2.0) / 4
    entries = difference[:, :, upper[0], upper[1]].var(axis=(0, 1), ddof=1) / size
    parts = np.concatenate([error**2 / 2, weight * entries])
    return float(parts.sum()), float(np.sqrt(2 * np.sum(parts**2))), size


def _inner(matrices: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return np.sum(matrices * matrix, axis=(-2, -1))
