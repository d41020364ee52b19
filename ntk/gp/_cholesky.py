"""The Cholesky factor of a covariance, and whether it is one."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.lax.linalg import cholesky, triangular_solve

from ntk.gp._errors import require_positive

# Accelerators else round the factors of a product to ten bits, of which no solve recovers.
matmul = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)

# A pivot this many epsilons from zero, relative to its diagonal entry, is rounding: two rows that
# are equal leave some.
_PIVOT = 8.0


@jax.jit
def regularise(kernel: Array, noise: Array, jitter: Array) -> Array:
    """``(K + K^T) / 2 + diag(noise) + jitter * mean(diag K) I`` for ``noise [N]``."""
    symmetric = (kernel + kernel.T) / 2
    added = noise + jitter * jnp.mean(jnp.diagonal(kernel))
    return symmetric + jnp.diag(added)


def factorise(matrix: Array) -> tuple[Array, Array]:
    """The lower factor ``L L^T = matrix``, and whether every pivot is one.

    A matrix that is not positive definite gives NaN, or pivots that are nothing but rounding.
    """
    lower = cholesky(matrix, symmetrize_input=False)
    pivots = jax.lax.stop_gradient(jnp.diagonal(lower) ** 2)
    least = _PIVOT * jnp.finfo(matrix.dtype).eps * jnp.diagonal(matrix)
    return lower, jnp.all(pivots > least)


def solve_lower(lower: Array, b: Array) -> Array:
    """``L^{-1} b``."""
    return triangular_solve(lower, b, left_side=True, lower=True)


def solve_upper(lower: Array, b: Array) -> Array:
    """``L^{-T} b``."""
    return triangular_solve(lower, b, left_side=True, lower=True, transpose_a=True)


def require_definite(ok: Array, name: str, kernel: Array, noise: Array, jitter: Array) -> None:
    """Raise NotPositiveDefiniteError if the regularised matrix is known to have failed."""
    require_positive(
        ok,
        f"{name} + noise",
        "positive definite",
        regularise(kernel, noise, jitter),
        "give a larger noise_variance, a jitter, or a kernel in float64",
    )
