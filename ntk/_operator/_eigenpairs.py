"""The largest eigenvalues of the kernel by block Lanczos with thick restarts."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ntk._operator._jacobian import Jacobian
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

    ``ritz``, ``values``, ``residuals``: the best approximations within the basis,
    ``[width, N]`` and ``[width]``; ``rotation [width, m]``: ``ritz = rotation basis``.
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

    def many(rows: Array) -> Array:
        return held.over_vectors(product, rows)

    def unfinished(state: _State) -> Array:
        worst = jnp.max(jnp.linalg.norm(state.residuals[:k], axis=1))
        going = ~(worst <= tolerance * state.values[0]) & (state.steps < max_steps)
        return going & jnp.isfinite(state.values[0])

    start = _orthonormal(jax.random.normal(key, (width, held.size), held.dtype))
    zero = jnp.zeros((most, held.size), held.dtype)
    state = _grown(zero, zero, jnp.zeros((), jnp.int32), start, many, jnp.ones((), jnp.int32))
    if most > width:
        state = jax.lax.while_loop(unfinished, lambda s: _improved(s, many), state)
    vectors = _mul(state.rotation[:k], state.basis)
    residual_norms = jnp.linalg.norm(state.residuals[:k], axis=1)
    # The derivative of an eigenvalue is v^T dTheta v (Hellmann and Feynman): zero is added.
    forms = quadratic_forms(jacobian, vectors)
    return Eigenpairs(
        state.values[:k] + (forms - jax.lax.stop_gradient(forms)),
        vectors.T,
        residual_norms,
        residual_norms <= tolerance * state.values[0],
        state.steps * width,
    )


def _basis_size(size: int, k: int, item_size: int) -> tuple[int, int]:
    """Vectors of a block, and of the whole basis."""
    width = k + max(k // 2, 4)
    if 2 * width > size:
        return size, size  # one block spans the whole space
    blocks = BASIS_BYTES // (2 * width * size * item_size)
    return width, width * min(max(blocks, 3), MOST_BLOCKS, size // width)


def _improved(state: _State, many: Callable[[Array], Array]) -> _State:
    """One more block in the basis, which is first cut down to the Ritz vectors if it is full."""
    width, most = state.rotation.shape
    # A room that is not a whole block is never filled: the last block would not be orthonormal.
    full = state.filled + width > most

    def cut() -> tuple[Array, Array, Array]:
        basis, image = (
            jnp.zeros_like(a).at[:width].set(_mul(state.rotation, a))
            for a in (state.basis, state.image)
        )
        return basis, image, jnp.full_like(state.filled, width)

    basis, image, filled = jax.lax.cond(full, cut, lambda: (state.basis, state.image, state.filled))
    block = _orthonormal(state.residuals, basis)
    return _grown(basis, image, filled, block, many, state.steps + 1)


def _grown(
    basis: Array, image: Array, filled: Array, block: Array, many: Callable[[Array], Array], steps
) -> _State:
    """The basis with a block more, and the Ritz approximations in it."""
    width, most = len(block), len(basis)
    at = (filled, jnp.zeros_like(filled))
    basis = jax.lax.dynamic_update_slice(basis, block, at)
    image = jax.lax.dynamic_update_slice(image, many(block), at)
    filled = filled + width
    small = _mul(basis, image.T)
    # Places not filled yet come last, below every eigenvalue of a semi-definite kernel.
    below = jnp.where(jnp.arange(most, dtype=filled.dtype) < filled, 0, -1 - jnp.trace(small))
    values, rotation = jnp.linalg.eigh((small + small.T) / 2 + jnp.diag(below))
    values, rotation = values[::-1][:width], rotation[:, ::-1][:, :width].T
    residuals = _mul(rotation, image) - values[:, None] * _mul(rotation, basis)
    return _State(basis, image, filled, rotation, values, residuals, steps)


def _orthonormal(block: Array, basis: Array | None = None) -> Array:
    """Orthonormal rows, orthogonal to those of ``basis``, that span what ``block`` adds to them.

    Directions that add nothing leave arbitrary rows in the first factorisation; the later
    rounds make those, too, orthogonal to the basis.
    """
    for _ in range(3):
        if basis is not None:
            block = block - _mul(_mul(block, basis.T), basis)
        block = jnp.linalg.qr(block.T)[0].T
    return block


def _mul(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision="highest")
