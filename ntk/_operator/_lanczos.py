"""Lanczos tridiagonalisation with full reorthogonalisation."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ntk._operator._jacobian import Product
from ntk._operator._length import length


class Tridiagonal(NamedTuple):
    """``A basis^T = basis^T T`` up to the last coupling, ``basis [m, N]`` with orthonormal rows.

    ``diagonal [m]`` of T, and ``coupling [m]``, of which the last leads out of the basis.
    """

    basis: Array
    diagonal: Array
    coupling: Array


def lanczos(product: Product, start: Array, num_steps: int) -> Tridiagonal:
    """The tridiagonal matrix of a symmetric operator in the Krylov basis of ``start``.

    Every new vector is made orthogonal to all before it, twice: without it, in finite precision,
    converged eigenvalues come back as spurious copies (Golub and Van Loan 2013, section 10.3.4).
    Holds ``num_steps`` vectors.

    Args:
        product: ``v [N] -> A v``, A symmetric.
        start: ``[N]``, not zero.
        num_steps: m, at most N.

    Returns:
        The decomposition. Once the Krylov space is exhausted, all further rows, diagonal entries
        and couplings are 0, decoupled from the first.
    """
    eps = jnp.finfo(start.dtype).eps
    size = start.shape[0]
    basis = jnp.zeros((num_steps, size), start.dtype).at[0].set(start / length(start))

    def step(carry: tuple[Array, ...], index: Array) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        basis, vector, scale = carry
        basis = basis.at[index].set(vector)
        image = product(vector)
        scale = jnp.maximum(scale, length(image))
        diagonal = jnp.dot(vector, image, precision="highest")
        for _ in range(2):
            overlap = jnp.matmul(basis, image, precision="highest")
            image = image - jnp.matmul(overlap, basis, precision="highest")
        coupling = length(image)
        # What remains of an exhausted space is rounding: normalised, it would be noise.
        alive = coupling > 10 * eps * size**0.5 * scale
        coupling = jnp.where(alive, coupling, 0)
        vector = jnp.where(alive, image / jnp.where(alive, coupling, 1), 0)
        return (basis, vector, scale), (diagonal, coupling)

    carry: tuple[Array, ...] = (basis, basis[0], jnp.zeros((), start.dtype))
    carry, (diagonal, coupling) = jax.lax.scan(step, carry, jnp.arange(num_steps))
    return Tridiagonal(carry[0], diagonal, coupling)


def solve_first(diagonal: Array, coupling: Array, shift: Array) -> Array:
    """``(T + shift I)^{-1} e_1 [m]``, T semi-definite, by elimination without pivots.

    Plain operations and no LAPACK, because it runs under ``vmap`` over probes. Every pivot of a
    semi-definite matrix plus ``shift I`` is at least ``shift``.
    """

    def eliminate(carry: tuple[Array, Array], entry: tuple[Array, Array]):
        below, value = carry
        a, b = entry
        pivot = jnp.maximum(a + shift - below, shift)
        ratio = b / pivot
        return (b * ratio, -ratio * value), (ratio, value / pivot)

    start = jnp.zeros_like(shift), jnp.ones_like(shift)
    _, (ratios, values) = jax.lax.scan(eliminate, start, (diagonal, coupling))

    def substitute(after: Array, row: tuple[Array, Array]):
        ratio, value = row
        solution = value - ratio * after
        return solution, solution

    # The last row has none after it.
    return jax.lax.scan(substitute, jnp.zeros_like(shift), (ratios, values), reverse=True)[1]


def tridiagonal(diagonal: Array, coupling: Array) -> Array:
    """The symmetric matrix with this diagonal ``[m]`` and first off-diagonal ``[m - 1]``."""
    return jnp.diag(diagonal) + jnp.diag(coupling, 1) + jnp.diag(coupling, -1)
