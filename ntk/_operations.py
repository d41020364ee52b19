"""Floating point operations of a function, counted on its jaxpr, times trip counts."""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.extend import core
from jax.interpreters.partial_eval import dce_jaxpr


def count_operations(fn: Callable[..., Any], *args: Any) -> int:
    """Floating point operations of ``fn(*args)``: a multiplication and an addition count two.

    XLA's own count sees a loop body once, leaves triangular solves out and miscounts Cholesky.
    Here a scan counts its length times, a conditional its dearest branch, and a while loop its
    body once (its trip count is not in the program). Nothing is run; ``args`` may be
    ``jax.ShapeDtypeStruct``. Matrix products count ``2 m n k``, a convolution twice its kernel's
    size over output features for every output, padding included, a Cholesky factor ``n^3 / 3``, a
    triangular solve ``n^2`` per right-hand side, everything else one per element of its result.
    """
    return _count(_used(jax.make_jaxpr(fn)(*args).jaxpr))


def _used(jaxpr: core.Jaxpr) -> core.Jaxpr:
    """The jaxpr without what its outputs do not need, as it is compiled."""
    return dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))[0]


def _count(jaxpr: core.Jaxpr) -> int:
    return sum(_count_equation(equation) for equation in jaxpr.eqns)


def _count_equation(equation: Any) -> int:
    name, params = equation.primitive.name, equation.params
    if name == "scan":
        return params["length"] * _count(params["jaxpr"].jaxpr)
    if name == "cond":
        return max(_count(branch.jaxpr) for branch in params["branches"])
    inner = [j for value in params.values() for j in _jaxprs(value)]
    if inner:
        return sum(_count(j) for j in inner)
    shape = equation.outvars[0].aval.shape
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        lhs = equation.invars[0].aval.shape
        return 2 * math.prod(shape) * math.prod(lhs[axis] for axis in contracted)
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        features = kernel[params["dimension_numbers"].rhs_spec[0]]
        return 2 * math.prod(shape) * math.prod(kernel) // features
    if name == "cholesky":
        return math.prod(shape[:-1]) * shape[-1] ** 2 // 3
    if name == "triangular_solve":
        n = equation.invars[0].aval.shape[-1]
        return n * math.prod(shape)
    if name in _FREE:
        return 0
    return sum(math.prod(getattr(out.aval, "shape", ())) for out in equation.outvars)


def _jaxprs(value: Any) -> list[core.Jaxpr]:
    if isinstance(value, core.ClosedJaxpr):
        return [value.jaxpr]
    if isinstance(value, core.Jaxpr):
        return [value]
    if isinstance(value, (tuple, list)):
        return [jaxpr for item in value for jaxpr in _jaxprs(item)]
    return []


# Moves and reshapes of data do not compute.
_FREE = frozenset(
    {
        "broadcast_in_dim", "concatenate", "convert_element_type", "copy", "dynamic_slice",
        "dynamic_update_slice", "gather", "iota", "pad", "reshape", "rev", "slice", "squeeze",
        "stop_gradient", "transpose",
    }
)  # fmt: skip
