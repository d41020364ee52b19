"""How near a factorisation is to breaking down: condition numbers in float64, on the host."""

from typing import Any

import numpy as np

# Larger matrices are judged by their largest eigenvalue alone.
LARGEST_EXACT = 2000
MOST_ITERATIONS = 50
TOLERANCE = 1e-4
NEAR = 1e-3


def condition_number(P: Any, on_parameter_side: bool) -> float:
    """Condition number of ``I + P^T P`` or ``I + P P^T`` for ``P [n, p]``.

    ``(1 + lambda_max) / (1 + lambda_min)`` by eigenvalues up to ``LARGEST_EXACT`` rows; above,
    ``1 + lambda_max``, an upper bound. ``I + P P^T`` with ``P = Psi / scale`` is ``K + scale^2 I``
    but for the factor ``scale^2``. NaN where P is not finite, infinite where it is beyond float64.
    """
    A = _smaller_first(P, on_parameter_side)
    if not np.isfinite(A).all():
        return float("nan")
    if A.shape[0] > LARGEST_EXACT:
        return 1 + largest_eigenvalue(P)
    A, squared = _scaled(A)
    eigenvalues = np.linalg.eigvalsh(A @ A.T)
    with np.errstate(divide="ignore"):
        return float((1 / squared + eigenvalues[-1]) / (1 / squared + max(eigenvalues[0], 0.0)))


def largest_eigenvalue(P: Any) -> float:
    """The largest eigenvalue of ``P P^T`` by power iteration: products with P alone."""
    A, squared = _scaled(np.asarray(P, np.float64))
    v: np.ndarray = np.random.default_rng(0).normal(size=(A.shape[0],))
    value = float(np.linalg.norm(v))
    for _ in range(MOST_ITERATIONS):
        v, before = A @ (A.T @ (v / value)), value
        value = float(np.linalg.norm(v))
        if not 0 < value < np.inf or abs(value - before) < TOLERANCE * value:
            break
    with np.errstate(over="ignore"):
        return float(value * squared)


def limit(dtype: Any) -> float:
    """The condition number at which a factorisation has no digit left: 1 / unit roundoff."""
    return float(2 / np.finfo(dtype).eps)


def breaks_down(condition: float, size: int, dtype: Any) -> bool:
    """Whether a Cholesky factorisation of ``size`` rows may meet a pivot that is not positive.

    Rounding perturbs the matrix by about ``size`` units of roundoff (Higham 2002, section 10.1).
    """
    return condition * size >= limit(dtype)


def explain(P: Any, on_parameter_side: bool, dtype: Any) -> str:
    """Why a factorisation of ``P [n, p]`` in ``dtype`` is not finite, and what helps."""
    condition = condition_number(P, on_parameter_side)
    if np.isnan(condition):
        return (
            "the features over the noise scale are not finite: the network overflows in "
            f"{np.dtype(dtype)} or the noise scale vanishes; standardise the data or use float64"
        )
    size = P.shape[1] if on_parameter_side else P.shape[0]
    where = against(condition, dtype, "Psi^T Psi + s^2 I" if on_parameter_side else "K + s^2 I")
    if breaks_down(condition, size, dtype):
        return f"{where}: use float64 or a larger noise scale"
    return f"{where}, which is not the cause: the targets or the log-likelihood may not be finite"


def against(condition: float, dtype: Any, matrix: str = "K + s^2 I") -> str:
    """A condition number beside what ``dtype`` bears."""
    relation = "beyond" if condition > limit(dtype) else "below"
    if NEAR * limit(dtype) < condition <= limit(dtype):
        relation = "near"
    return (
        f"the condition number of {matrix} (s the noise scale) is about {condition:.1e}, "
        f"{relation} {np.dtype(dtype)}'s {limit(dtype):.1e}"
    )


def _scaled(A: np.ndarray) -> tuple[np.ndarray, np.float64]:
    """A over its largest magnitude above 1, and that squared: products of A itself may overflow."""
    largest = np.float64(np.abs(A).max(initial=1.0))
    with np.errstate(over="ignore"):
        return A / largest, largest * largest


def _smaller_first(P: Any, on_parameter_side: bool) -> np.ndarray:
    A = np.asarray(P, np.float64)
    return A.T if on_parameter_side else A
