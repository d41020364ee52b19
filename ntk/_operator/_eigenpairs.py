"""The largest eigenvalues of the kernel by block Lanczos with thick restarts."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ntk._operator._jacobian import Jacobian
from ntk._operator._length import length, length_or_one
from ntk._operator._trace import quadratic_forms

# Of a Krylov basis before it restarts: the memory against the number of products.
MOST_BLOCKS, BASIS_BYTES = 16, 2**29


class Eigenpairs(NamedTuple):
    """The k largest eigenpairs, largest first.

    ``residual_norms [k]`` are ``|Theta v - lambda v|``, for ``|v| = 1``: some eigenvalue lies
    that close to ``lambda``. ``converged [k]`` says which are at most ``tolerance`` times the
    largest eigenvalue. ``num_products`` counts products of the kernel with one vector.
    """

    values: Array
    vectors: Array
    residual_norms: Array
    converged: Array
    num_products: Array


class _State(NamedTuple):
    """Rows ``basis [m, N]``, ``filled`` of them orthonormal and the rest zero, and their images.

    The best approximations within the basis: ``rotation [width, m]`` times it are the vectors,
    ``values [width]``, ``residuals [width, N]``.
    """

    basis: Array
    image: Array
    filled: Array
    rotation: Array
    values: Array
    residuals: Array
    steps: Array


@partial(jax.jit, static_argnames=("k", "tolerance", "max_steps"))
def top_eigenpairs(
    jacobian: Jacobian, key: Array, k: int, tolerance: float, max_steps: int
) -> Eigenpairs:
    """Rayleigh-Ritz on a growing block Krylov space; ``vectors`` are returned as ``[N, k]``.

    Golub and Underwood 1977; thick restarts of Wu and Simon 2000. The residuals of the Ritz
    vectors span the space's next block, so that the basis grows by them. The block is larger than
    k, because one vector alone cannot see an eigenvalue's multiplicity: networks with d outputs
    have kernels close to ``K x I_d``, whose eigenvalues come d at a time.
    """
    held = jax.lax.stop_gradient(jacobian)
    product = held.product()
    width, most = _basis_size(held.size, k, jnp.dtype(held.dtype).itemsize)
    start = jax.random.normal(key, (width, held.size), held.dtype)
    # In units in which its norm is about one: squares of residuals then stay within range.
    unit = length_or_one(product(start[0])) / length(start[0])

    def many(rows: Array) -> Array:
        return held.over_vectors(product, rows) / unit

    if most == width:
        max_steps = 1  # the first block spans the whole space

    def unfinished(state: _State) -> Array:
        worst = jnp.max(length(state.residuals[:k]))
        going = ~(worst <= tolerance * state.values[0]) & (state.steps < max_steps)
        return going & jnp.isfinite(state.values[0])

    state = jax.lax.while_loop(unfinished, lambda s: _improved(s, many), _empty(start, most))
    vectors = _mul(state.rotation[:k], state.basis)
    values, residual_norms = unit * state.values[:k], unit * length(state.residuals[:k])
    # The derivative of an eigenvalue is v^T dTheta v (Hellmann and Feynman): zero is added.
    forms = quadratic_forms(jacobian, vectors)
    return Eigenpairs(
        values + (forms - jax.lax.stop_gradient(forms)),
        vectors.T,
        residual_norms,
        residual_norms <= tolerance * values[0],
        state.steps * width,
    )


def _basis_size(size: int, k: int, item_size: int) -> tuple[int, int]:
    """Vectors of a block, and of the whole basis."""
    width = k + max(k // 2, 4)
    if 2 * width > size:
        return size, size  # one block spans the whole space
    blocks = BASIS_BYTES // (2 * width * size * item_size)
    return width, width * min(max(blocks, 3), MOST_BLOCKS, size // width)


def _empty(start: Array, most: int) -> _State:
    """No basis yet, and the rows of ``start [width, N]`` to begin with."""
    width, size = start.shape
    rows = jnp.zeros((most, size), start.dtype)
    none = jnp.zeros((), jnp.int32)
    rotation, values = jnp.zeros((width, most), start.dtype), jnp.zeros(width, start.dtype)
    return _State(rows, rows, none, rotation, values, start, none)


def _improved(state: _State, many: Callable[[Array], Array]) -> _State:
    """One more block in the basis, which is first cut down to the Ritz vectors if it is full."""
    width, most = state.rotation.shape

    def cut() -> tuple[Array, Array, Array]:
        basis, image = (
            jnp.zeros_like(a).at[:width].set(_mul(state.rotation, a))
            for a in (state.basis, state.image)
        )
        return basis, image, jnp.full_like(state.filled, width)

    basis, image, filled = jax.lax.cond(
        state.filled == most, cut, lambda: (state.basis, state.image, state.filled)
    )
    block = _orthonormal(state.residuals, basis)
    at = (filled, jnp.zeros_like(filled))
    basis = jax.lax.dynamic_update_slice(basis, block, at)
    image = jax.lax.dynamic_update_slice(image, many(block), at)
    filled = filled + width
    rotation, values = _ritz(_mul(basis, image.T), filled, width)
    residuals = _mul(rotation, image) - values[:, None] * _mul(rotation, basis)
    return _State(basis, image, filled, rotation, values, residuals, state.steps + 1)


def _ritz(small: Array, filled: Array, width: int) -> tuple[Array, Array]:
    """The largest eigenpairs of ``small [m, m]``, the kernel in the basis: rows, and values."""
    # Places not filled yet come last, below every eigenvalue of a semi-definite kernel.
    empty = jnp.arange(len(small), dtype=filled.dtype) >= filled
    below = jnp.where(empty, -1 - jnp.trace(small), 0)
    values, vectors = jnp.linalg.eigh((small + small.T) / 2 + jnp.diag(below))
    return vectors[:, ::-1][:, :width].T, values[::-1][:width]


def _orthonormal(block: Array, basis: Array) -> Array:
    """Orthonormal rows, orthogonal to those of ``basis``, that span what ``block`` adds to them.

    Directions that add nothing leave arbitrary rows in the first factorisation; the later
    rounds make those, too, orthogonal to the basis.
    """
    for _ in range(3):
        block = block - _mul(_mul(block, basis.T), basis)
        block = jnp.linalg.qr(block.T)[0].T
    return block


def _mul(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision="highest")
