"""Linear systems in a kernel with noise by conjugate gradients: products alone, no factor."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntk._operator._conjugate_gradients import identity, solved
from ntk.gp._cholesky import matmul
from ntk.gp._matrices import is_operator
from ntk.gp._preconditioners import Product, by_diagonal, by_partial_cholesky

# Of the tolerance, for the residual that conjugate gradients update.
MARGIN = 0.9


class SolverReport(NamedTuple):
    """How the linear systems of a posterior were solved.

    Attributes:
        converged: bool ``[]``. Cholesky: the matrix is positive definite to working precision.
            Conjugate gradients: every residual is at most the tolerance.
        residual: ``[]``, the largest ``|b - A x| / |b|`` over the systems: over the targets for
            Cholesky, over targets and test points for conjugate gradients.
        num_steps: int ``[]``, the most products that a system took; 0 for Cholesky.
    """

    converged: Array
    residual: Array
    num_steps: Array


def solve(
    train: Any, noise: Array, columns: Array, tolerance: float, max_steps: int, rank: int
) -> tuple[Array, SolverReport]:
    """``(train + diag(noise)) values = columns [N, k]``, each column on its own.

    Args:
        train: ``[N, N]``, or an operator.
        noise: ``[N]``.
        columns: right-hand sides.
        tolerance: of ``|b - A x| / |b|``.
        max_steps: per column.
        rank: of a matrix's preconditioner; 0 for its diagonal.
    """
    # An operator that is not a pytree cannot be the argument of a compiled function.
    is_opaque = any(leaf is train for leaf in jax.tree.leaves(train)) and is_operator(train)
    function = _solve if is_opaque else _compiled
    settings = columns.dtype.type(tolerance), np.int32(max_steps)
    return function(train, noise, columns, *settings, rank=rank)


def _solve(
    train: Any, noise: Array, columns: Array, tolerance: Any, max_steps: Any, rank: int
) -> tuple[Array, SolverReport]:
    dense = not is_operator(train)
    # The solution does not depend on the preconditioner, and neither do its derivatives.
    inverse = _preconditioner(*jax.lax.stop_gradient((train, noise)), rank) if dense else identity

    def product(v: Array) -> Array:
        return (matmul(train, v) if dense else train @ v) + noise * v

    def one(b: Array) -> tuple[Array, Array, Array]:
        return solved(product, b, inverse, tolerance, max_steps, MARGIN)

    # Side by side, products with a matrix are one product of matrices; an operator bounds its own
    # memory, by one vector at a time.
    over = jax.vmap(one) if dense else partial(jax.lax.map, one)
    values, residuals, steps = over(columns.T)
    converged, most = jnp.all(residuals <= tolerance), jnp.max(steps).astype(jnp.int32)
    report = SolverReport(converged, jnp.max(residuals), most)
    return values.T, report


_compiled = jax.jit(_solve, static_argnames="rank")


def _preconditioner(train: Array, noise: Array, rank: int) -> Product:
    return by_partial_cholesky(train, noise, rank) if rank else by_diagonal(train, noise)
