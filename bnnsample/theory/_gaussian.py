"""Distances between Gaussians, in closed form."""

import numpy as np
import scipy.linalg


def gaussian_wasserstein2(
    mean1: np.ndarray, std1: np.ndarray, mean2: np.ndarray, std2: np.ndarray
) -> np.ndarray:
    """The 2-Wasserstein distance of Gaussians on the line, elementwise.

    ``sqrt((mean1 - mean2)^2 + (std1 - std2)^2)`` (Givens and Shortt 1984, proposition 7), in the
    units of the means. ``std1`` and ``std2`` are standard deviations.
    """
    return np.hypot(np.asarray(mean1) - mean2, np.asarray(std1) - std2)


def gaussian_kl(
    mean1: np.ndarray, covariance1: np.ndarray, mean2: np.ndarray, covariance2: np.ndarray
) -> float:
    """``KL(N(mean1, covariance1) || N(mean2, covariance2))`` of means ``[m]``, in nats.

    ``(tr A - m - log det A + |b|^2) / 2`` with the first Gaussian in the coordinates that whiten
    the second, ``A = L^{-1} covariance1 L^{-T}`` and ``b = L^{-1} (mean1 - mean2)``.

    Raises:
        numpy.linalg.LinAlgError: a covariance that is not positive definite.
    """
    L = np.linalg.cholesky(np.asarray(covariance2, float))
    return kl_to_standard(whiten(L, np.subtract(mean1, mean2)), whiten_both(L, covariance1))


def kl_to_standard(mean: np.ndarray, covariance: np.ndarray) -> float:
    """``KL(N(mean, covariance) || N(0, I))`` in nats; errors as ``gaussian_kl``."""
    log_det = 2 * np.sum(np.log(np.diagonal(np.linalg.cholesky(covariance))))
    return 0.5 * float(np.trace(covariance) - len(mean) - log_det + mean @ mean)


def whiten(L: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """``L^{-1}`` times each of the vectors ``[..., m]``."""
    columns = vectors.reshape(-1, len(L)).T
    return scipy.linalg.solve_triangular(L, columns, lower=True).T.reshape(vectors.shape)


def whiten_both(L: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """``L^{-1} M L^{-T}`` for each of the symmetric matrices ``M [..., m, m]``."""
    half = whiten(L, np.asarray(matrices))
    return whiten(L, np.swapaxes(half, -1, -2))
