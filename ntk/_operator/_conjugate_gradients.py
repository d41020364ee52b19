"""One linear system in a symmetric positive semidefinite operator, from its products alone."""

from typing import Any

import jax
import jax.numpy as jnp
import lineax
from jax import Array

from ntk._operator._jacobian import Product
from ntk._operator._length import length, length_or_one


def solved(
    product: Product, b: Array, inverse: Product, tolerance: Any, max_steps: Any, margin: float
) -> tuple[Array, Array, Array]:
    """The solution of ``product(value) = b``, with implicit derivatives.

    Each derivative is a solve of its own, none is taken of the iterations.

    Args:
        product: the operator.
        b: ``[N]``.
        inverse: an approximate inverse, in any units; it does not change the solution.
        tolerance: of ``|b - product(value)| / |b|``.
        max_steps: after which the last iterate is returned.
        margin: the residual that is updated drifts from the true one, and has to be below this
            part of the tolerance.

    Returns:
        The solution, ``|b - product(value)| / |b|`` computed anew from it, and the steps taken.
    """
    value, num_steps = jax.lax.custom_linear_solve(
        product,
        b,
        lambda matvec, rhs: _iterate(matvec, rhs, inverse, tolerance, max_steps, margin),
        symmetric=True,
        has_aux=True,
    )
    residual = length(b - product(value)) / length_or_one(b)
    return value, jax.lax.stop_gradient(residual), num_steps


def identity(v: Array) -> Array:
    """No preconditioner."""
    return v


def _iterate(
    product: Product, b: Array, inverse: Product, tolerance: Any, max_steps: Any, margin: float
) -> tuple[Array, Array]:
    """Lineax's conjugate gradients with the one stopping rule ``|r| <= tolerance |b|``.

    Lineax also asks that the last step be below ``tolerance`` in absolute terms, and gives up with
    NaN when ``p^T A p / r^T P r`` is small. Neither is invariant to units. In units where A is
    large, both are met always, and the iterates are the same.
    """
    unit = b / length_or_one(b)
    size = length_or_one(product(unit))
    # Any eigenvalue that matters in this precision then exceeds 1 / tolerance. Half of these units
    # on either side: their squares, or products of small entries and a small vector, may be no
    # numbers.
    root = 1 / jnp.sqrt(jnp.asarray(jnp.finfo(b.dtype).eps * tolerance, b.dtype)) / jnp.sqrt(size)
    # Steps do not depend on the preconditioner's units either, but squares of them must be numbers.
    weight = length_or_one(inverse(unit))
    structure = jax.ShapeDtypeStruct(b.shape, b.dtype)

    def semidefinite(f: Product) -> lineax.FunctionLinearOperator:
        return lineax.FunctionLinearOperator(f, structure, lineax.positive_semidefinite_tag)

    solution = lineax.linear_solve(
        semidefinite(lambda v: root * product(root * v)),
        unit,
        # To replace the residual on the way would break conjugacy, which costs steps, and where
        # rounding stops progress the iterates would explode.
        lineax.CG(
            rtol=0.0,
            atol=margin * tolerance,
            norm=length,
            stabilise_every=None,
            max_steps=max_steps,
        ),
        options={"preconditioner": semidefinite(lambda v: inverse(v) / weight)},
        throw=False,
    )
    return root * (root * solution.value) * length_or_one(b), solution.stats["num_steps"]
