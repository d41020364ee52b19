"""Preconditioners: cheap approximations of ``(Theta + shift I)^{-1}``, applied by products alone.

Products and no triangular solves, because they run under ``vmap`` over right-hand sides, where
batched LAPACK calls can block each other on CPU.
"""

import jax
import jax.numpy as jnp
from jax import Array

from ntk._operator._jacobian import Jacobian, Product
from ntk._operator._trace import diagonal

PRECONDITIONERS = ("diagonal", "nystrom")


def jacobi(jacobian: Jacobian, shift: Array) -> Product:
    """``v -> v / (diag Theta + shift)``; an entry that is zero is left alone."""
    scale = diagonal(jacobian) + shift
    inverse = 1 / jnp.where(scale > 0, scale, 1)
    return lambda v: inverse * v


def nystrom(jacobian: Jacobian, shift: Array, rank: int, key: Array) -> Product:
    """The randomised Nystrom preconditioner of Frangella, Tropp and Udell 2023, eq. 5.2.

    ``U diag(lambda) U^T`` approximates Theta from ``rank`` products with random vectors, and
    ``P^{-1} = I + U diag((lambda_r + shift) / (lambda + shift) - 1) U^T``. The spectrum that the
    approximation captures is flattened to its smallest eigenvalue.
    """
    size, dtype = jacobian.size, jacobian.dtype
    test = jnp.linalg.qr(jax.random.normal(key, (size, rank), dtype))[0]
    image = jacobian.over_vectors(jacobian.product(), test.T).T
    core = jnp.matmul(test.T, image, precision="highest")
    values, vectors = jnp.linalg.eigh((core + core.T) / 2)
    # The pseudo-inverse root of the core: directions below rounding carry no information.
    kept = values > 10 * size**0.5 * jnp.finfo(dtype).eps * jnp.max(values)
    root = vectors * jnp.where(kept, 1 / jnp.sqrt(jnp.where(kept, values, 1)), 0)[None, :]
    factor = jnp.matmul(image, root, precision="highest")
    U, singular, _ = jnp.linalg.svd(factor, full_matrices=False)
    eigenvalues = singular**2
    last = jnp.min(jnp.where(singular > 0, eigenvalues, jnp.inf), where=_top(kept), initial=jnp.inf)
    last = jnp.where(jnp.isfinite(last), last, 0)
    ratio = jnp.where(_top(kept), (last + shift) / jnp.where(_top(kept), eigenvalues + shift, 1), 1)

    def apply(v: Array) -> Array:
        overlap = jnp.matmul(v, U, precision="highest")
        return v + jnp.matmul(U, (ratio - 1) * overlap, precision="highest")

    return apply


def _top(kept: Array) -> Array:
    """As many leading places as there are directions kept: singular values are in order."""
    return jnp.arange(kept.shape[0]) < jnp.sum(kept)
