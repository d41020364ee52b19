"""Effective sample size and R-hat of arrays of draws, by ArviZ, defined for every input."""

from collections.abc import Callable

import numpy as np

from bnnsample import _arviz

# ArviZ splits every chain in two and needs two draws in each half.
MIN_DRAWS = 4


def effective_sample_size(draws: np.ndarray) -> np.ndarray:
    """Effective sample size per quantity, for location and spread.

    ``min(bulk ESS of q, bulk ESS of (q - mean)^2)``, capped at the number of draws over all
    chains, with the mean taken over all of them. Antithetic chains can exceed one effective
    draw per draw on ``q`` and mix badly on ``q^2``; this takes the worse. Bulk ESS is that of
    Vehtari et al. 2021, as ArviZ computes it.

    Args:
        draws: ``[chain, draw, ...]``.

    Returns:
        ``[...]``. NaN where it is undefined: fewer than 4 draws per chain, draws that are not
        finite, or a quantity that never changes.

    Raises:
        ValueError: fewer than two axes.
    """
    # fmin: where the squares never change (two symmetric values), the first term decides.
    return np.fmin(bulk_ess(draws), spread_ess(draws))


def spread_ess(draws: np.ndarray) -> np.ndarray:
    """Bulk ESS ``[...]`` of ``(q - mean)^2``, capped; NaN where undefined."""
    q, shape = _as_matrix(draws)
    with np.errstate(invalid="ignore"):  # infinite draws: their squares are NaN, as they should
        squares = (q - q.mean(axis=(0, 1))) ** 2
    return bulk_ess(squares).reshape(shape)


def bulk_ess(draws: np.ndarray) -> np.ndarray:
    """Bulk ESS ``[...]`` of ``[chain, draw, ...]``, capped; NaN where undefined."""
    return _capped_ess(draws, "bulk")


def tail_ess(draws: np.ndarray) -> np.ndarray:
    """Tail ESS ``[...]`` of ``[chain, draw, ...]``, capped; NaN where undefined."""
    return _capped_ess(draws, "tail")


def mean_ess(draws: np.ndarray) -> np.ndarray:
    """ESS ``[...]`` of the mean of ``[chain, draw, ...]``, capped; NaN where undefined."""
    return _capped_ess(draws, "mean")


def r_hat(draws: np.ndarray) -> np.ndarray:
    """Rank-normalised split R-hat per quantity (Vehtari et al. 2021), by ArviZ.

    One chain alone is cut into two halves, which stand for chains; it then needs 8 draws.

    Args:
        draws: ``[chain, draw, ...]``.

    Returns:
        ``[...]``, NaN where undefined (as in ``effective_sample_size``).
    """
    q, shape = _as_matrix(draws)
    if q.shape[0] == 1:
        half = q.shape[1] // 2
        q = np.concatenate([q[:, :half], q[:, q.shape[1] - half :]])
    # Chains that each stood still have no variance within: R-hat is then infinite, as it should be.
    with np.errstate(divide="ignore", invalid="ignore"):
        return _where_defined(q, _arviz.rhat).reshape(shape)


def is_constant(draws: np.ndarray) -> np.ndarray:
    """Whether each quantity ``[...]`` of ``[chain, draw, ...]`` never changes, up to rounding."""
    spread = draws.max(axis=(0, 1)) - draws.min(axis=(0, 1))
    largest = np.abs(draws).max(axis=(0, 1))
    return spread <= 8 * np.finfo(draws.dtype).eps * largest


def _capped_ess(draws: np.ndarray, kind: str) -> np.ndarray:
    q, shape = _as_matrix(draws)
    size = _where_defined(q, lambda moving: _arviz.ess(moving, kind))
    return np.minimum(size, q.shape[0] * q.shape[1]).reshape(shape)


def _where_defined(q: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The statistic ``[q]``, NaN for the quantities where ArviZ would warn or guess."""
    result = np.full(q.shape[2], np.nan)
    if q.shape[1] < MIN_DRAWS:
        return result
    finite = np.isfinite(q).all(axis=(0, 1))
    defined = finite & ~is_constant(np.where(finite, q, 0))
    if defined.any():
        result[defined] = statistic(q[:, :, defined])
    return result


def _as_matrix(draws: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    draws = np.asarray(draws)
    if draws.ndim < 2:
        raise ValueError(f"draws must have shape [chain, draw, ...], got {draws.shape}")
    shape = draws.shape[2:]
    if draws.dtype != np.float64:
        draws = draws.astype(np.float64)
    return draws.reshape(*draws.shape[:2], -1), shape
