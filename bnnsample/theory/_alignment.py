"""How far one kernel matrix is from another."""

from typing import Any

import numpy as np


def relative_frobenius(kernel: np.ndarray, reference: np.ndarray) -> float:
    """``|kernel - reference|_F / |reference|_F`` of matrices ``[m, m]``; 0 where both vanish."""
    return _ratio(np.linalg.norm(np.subtract(kernel, reference)), np.linalg.norm(reference), 0.0)


def alignment(kernel: np.ndarray, reference: np.ndarray) -> float:
    """The cosine ``<kernel, reference>_F / (|kernel|_F |reference|_F)``; 1 where both vanish.

    Cristianini et al. 2001. It does not see a common factor.
    """
    norms = np.linalg.norm(kernel) * np.linalg.norm(reference)
    return _ratio(float(np.sum(np.multiply(kernel, reference))), norms, 1.0)


def centred_alignment(kernel: np.ndarray, reference: np.ndarray) -> float:
    """The alignment of ``H kernel H`` and ``H reference H`` with ``H = I - 1 1^T / m``.

    Cortes, Mohri and Rostamizadeh 2012, definition 4: it does not see a constant added to a
    kernel either. 1 where both vanish, as for a single point.
    """
    return alignment(_centred(kernel), _centred(reference))


def _centred(kernel: np.ndarray) -> np.ndarray:
    kernel = np.asarray(kernel, float)
    means = kernel.mean(axis=0)
    centred = kernel - means[None, :] - kernel.mean(axis=1)[:, None] + means.mean()
    # What rounding leaves of a constant is nothing.
    rounding = 8 * np.finfo(float).eps * np.abs(kernel).max()
    return np.where(np.abs(centred) > rounding, centred, 0.0)


def _ratio(above: Any, below: Any, where_both_vanish: float) -> float:
    if below == 0:
        return where_both_vanish if above == 0 else np.inf
    return float(above / below)
