"""Linear systems in the shifted kernel by preconditioned conjugate gradients."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import lineax
from jax import Array

from ntk._operator._jacobian import Jacobian, Product
from ntk._operator._length import length, length_or_one
from ntk._operator._preconditioners import jacobi, nystrom


class Solution(NamedTuple):
    """The solution of ``(Theta + shift I) value = b``, and whether it is one.

    ``residual`` is ``|b - (Theta + shift I) value| / |b|``, computed anew from ``value``;
    ``converged`` says that it is at most ``tolerance``. Both, and ``num_steps``, have one entry
    per vector.
    """

    value: Array
    residual: Array
    num_steps: Array
    converged: Array


@partial(jax.jit, static_argnames=("tolerance", "max_steps", "preconditioner", "rank"))
def solve(
    jacobian: Jacobian,
    vectors: Array,
    shift: Array,
    key: Array,
    tolerance: float,
    max_steps: int,
    preconditioner: str | None,
    rank: int,
) -> Solution:
    """Solve for each row of ``vectors [k, N]``; see :meth:`NTKOperator.solve`."""
    product = jacobian.product()

    def shifted(v: Array) -> Array:
        return product(v) + shift * v

    # The solution does not depend on the preconditioner, and neither do its derivatives.
    held = jax.lax.stop_gradient((jacobian, shift))
    inverse: Product
    if preconditioner == "diagonal":
        inverse = jacobi(*held)
    elif preconditioner == "nystrom":
        inverse = nystrom(*held, rank, key)
    else:
        inverse = _identity

    def one(b: Array) -> Solution:
        # Implicit derivatives: each is a solve of its own, no derivative of the iterations.
        value, num_steps = jax.lax.custom_linear_solve(
            shifted,
            b,
            lambda matvec, rhs: _conjugate_gradients(matvec, rhs, inverse, tolerance, max_steps),
            symmetric=True,
            has_aux=True,
        )
        residual = length(b - shifted(value)) / length_or_one(b)
        residual = jax.lax.stop_gradient(residual)
        return Solution(value, residual, num_steps, residual <= tolerance)

    return jacobian.over_vectors(one, vectors)


def _identity(v: Array) -> Array:
    return v


def _conjugate_gradients(
    product: Product, b: Array, inverse: Product, tolerance: float, max_steps: int
) -> tuple[Array, Array]:
    """Lineax's conjugate gradients with the one stopping rule ``|r| <= tolerance |b|``.

    Lineax also asks that the last step be below ``tolerance`` in absolute terms, and gives up with
    NaN when ``p^T A p / r^T P r`` is small. Neither is invariant to units. In units where A is
    large, both are met always, and the iterates are the same.

    Returns:
        The solution and the number of steps.
    """
    unit = b / length_or_one(b)
    size = length_or_one(product(unit))
    # Any eigenvalue that matters in this precision then exceeds 1 / tolerance.
    # Half of these units on either side: their squares may be no numbers.
    root = 1 / jnp.sqrt(jnp.asarray(jnp.finfo(b.dtype).eps * tolerance, b.dtype)) / jnp.sqrt(size)
    # Steps do not depend on the preconditioner's units either, but squares of them must be numbers.
    weight = length_or_one(inverse(unit))
    solution = lineax.linear_solve(
        _semidefinite(lambda v: root * product(root * v), b),
        unit,
        # The residual that is updated drifts from the true one: a margin of a half. To replace it
        # on the way would break conjugacy and cost steps.
        lineax.CG(
            rtol=0.0,
            atol=0.5 * tolerance,
            norm=length,
            stabilise_every=None,
            max_steps=max_steps,
        ),
        options={"preconditioner": _semidefinite(lambda v: inverse(v) / weight, b)},
        throw=False,
    )
    return root * (root * solution.value) * length_or_one(b), solution.stats["num_steps"]


def _semidefinite(product: Product, like: Array) -> lineax.FunctionLinearOperator:
    structure = jax.ShapeDtypeStruct(like.shape, like.dtype)
    return lineax.FunctionLinearOperator(product, structure, lineax.positive_semidefinite_tag)
