"""Cheap approximations of ``(K + diag(noise))^{-1}``, for conjugate gradients.

Applied by products and no triangular solves: they run under ``vmap`` over right-hand sides, where
batched LAPACK calls can block each other on CPU. Their units are free.
"""

import jax
import jax.numpy as jnp
from jax import Array

from ntk._operator._jacobian import Product
from ntk.gp._cholesky import matmul


def by_diagonal(kernel: Array, noise: Array) -> Product:
    """``v -> v / (diag(K) + noise)``; an entry that is zero is left alone."""
    scale = jnp.diagonal(kernel) + noise
    weights = jnp.where(scale > 0, jnp.max(scale) / scale, 1)
    return lambda v: weights * v


def by_partial_cholesky(kernel: Array, noise: Array, rank: int) -> Product:
    """``v -> (L L^T + D)^{-1} v`` for a partial factor ``L [N, rank]`` of the kernel.

    As Gardner et al. 2018, arXiv:1809.11165, section 4.1, but for ``D``, theirs the noise:
    here the noise and the mean of the diagonal that ``L`` leaves over, so that it holds where
    there is little noise or none. With ``D^{-1/2} L = U S V^T``, the inverse is
    ``D^{-1/2} (I - U U^T + U (1 + S^2)^{-1} U^T) D^{-1/2}``.
    """
    factor, left = partial_cholesky(kernel, rank)
    least = jnp.finfo(kernel.dtype).eps * jnp.max(jnp.abs(jnp.diagonal(kernel)))
    rest = noise + jnp.maximum(jnp.mean(left), least)
    root = jnp.sqrt(jnp.where(rest > 0, rest, 1))
    U, S, _ = jnp.linalg.svd(factor / root[:, None], full_matrices=False)
    shrunk, weights = 1 / (1 + S**2), jnp.max(root) / root

    def apply(v: Array) -> Array:
        scaled = weights * v
        overlap = matmul(U.T, scaled)
        outside = scaled - matmul(U, overlap)
        # Once more: of a large overlap the first leaves rounding that may exceed what is shrunk.
        outside -= matmul(U, matmul(U.T, outside))
        return weights * (outside + matmul(U, shrunk * overlap))

    return apply


def partial_cholesky(matrix: Array, rank: int) -> tuple[Array, Array]:
    """Columns of a Cholesky factor, each at the largest diagonal entry that is left.

    Harbrecht, Peters and Schneider 2012, algorithm 1: from ``rank`` rows of the matrix.

    Returns:
        ``L [N, rank]``, and ``diag(matrix - L L^T) [N]``. Once that is rounding, columns are zero.
    """
    diagonal = jnp.maximum(jnp.diagonal(matrix), 0)
    least = len(matrix) * jnp.finfo(matrix.dtype).eps * jnp.max(diagonal)

    def add(k: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        rows, left = state
        at = jnp.argmax(left)
        row = matrix[at] - matmul(rows[:, at], rows)
        found = left[at] > least
        row = jnp.where(found, row / jnp.sqrt(jnp.where(found, left[at], 1)), 0)
        left = jnp.maximum(left - row**2, 0).at[at].set(0)
        return rows.at[k].set(row), left

    rows = jnp.zeros((rank, len(matrix)), matrix.dtype)
    rows, left = jax.lax.fori_loop(0, rank, add, (rows, diagonal))
    return rows.T, left
