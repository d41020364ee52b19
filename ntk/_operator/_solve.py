"""Linear systems in the shifted kernel by preconditioned conjugate gradients."""

from functools import partial
from typing import NamedTuple

import jax
from jax import Array

from ntk._operator._conjugate_gradients import identity, solved
from ntk._operator._jacobian import Jacobian, Product
from ntk._operator._preconditioners import jacobi, nystrom

# Of the tolerance, for the residual that conjugate gradients update.
MARGIN = 0.5


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
        inverse = identity

    def one(b: Array) -> Solution:
        value, residual, num_steps = solved(shifted, b, inverse, tolerance, max_steps, MARGIN)
        return Solution(value, residual, num_steps, residual <= tolerance)

    return jacobian.over_vectors(one, vectors)
