"""The error of a covariance that is none."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from ntk._kernel_inputs import is_concrete


class NotPositiveDefiniteError(ValueError):
    """A matrix that must be positive (semi-)definite is not, to the precision of its dtype."""


# Above this size, the eigenvalues for a message would take longer than what failed.
_MOST_FOR_EIGENVALUES = 2000


def require_positive(ok: Any, name: str, kind: str, matrix: Any, remedy: str) -> None:
    """Raise if ``ok`` is known and false; what is being traced passes.

    Args:
        ok: whether the matrix is what it must be.
        name: of the matrix, for the message.
        kind: ``"positive definite"`` or ``"positive semi-definite"``.
        matrix: ``[N, N]``, whose eigenvalues the message gives.
        remedy: what to do about it.
    """
    if not is_concrete(ok) or bool(ok):
        return
    found = ""
    if is_concrete(matrix) and len(matrix) <= _MOST_FOR_EIGENVALUES:
        values = np.linalg.eigvalsh(np.asarray(matrix, np.float64))
        found = f", eigenvalues between {values[0]:.3g} and {values[-1]:.3g}"
    raise NotPositiveDefiniteError(
        f"{name} is not {kind} in {jnp.dtype(matrix.dtype).name} "
        f"({len(matrix)} x {len(matrix)}{found}); {remedy}"
    )
