"""Floating point operations of a function, counted on its jaxpr, times trip counts."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.extend import core
from jax.interpreters.partial_eval import dce_jaxpr


class Tally(NamedTuple):
    """Operations of a program by the kind of work, and the bytes that it moves.

    Attributes:
        products: of matrix products.
        convolutions: of convolutions in one group.
        grouped: of convolutions in many groups, as derivatives by a kernel at each example are.
        elementwise: everything else, one per element of a result.
        bytes: read and written by every equation, fused or not.
    """

    products: int = 0
    convolutions: int = 0
    grouped: int = 0
    elementwise: int = 0
    bytes: int = 0

    @property
    def operations(self) -> int:
        return self.products + self.convolutions + self.grouped + self.elementwise

    def __add__(self, other: Any) -> "Tally":
        return Tally(*(a + b for a, b in zip(self, other, strict=True)))

    def times(self, count: int) -> "Tally":
        return Tally(*(count * a for a in self))


def count_operations(fn: Callable[..., Any], *args: Any) -> int:
    """Floating point operations of ``fn(*args)``: a multiplication and an addition count two.

    XLA's own count sees a loop body once, leaves triangular solves out and miscounts Cholesky.
    Here a scan counts its length times, a conditional its dearest branch, and a while loop its
    body once (its trip count is not in the program). Nothing is run; ``args`` may be
    ``jax.ShapeDtypeStruct``. Matrix products count ``2 m n k``, a convolution twice its kernel's
    size over output features for every output, padding included, a Cholesky factor ``n^3 / 3``, a
    triangular solve ``n^2`` per right-hand side, everything else one per element of its result.
    """
    return tally(used_jaxpr(fn, *args)).operations


def used_jaxpr(fn: Callable[..., Any], *args: Any) -> core.Jaxpr:
    """The jaxpr of ``fn(*args)`` without what its outputs do not need, as it is compiled."""
    jaxpr = jax.make_jaxpr(fn)(*args).jaxpr
    return dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))[0]


def tally(jaxpr: core.Jaxpr) -> Tally:
    """The work of a program, times trip counts."""
    return sum((tally_of(equation) for equation in jaxpr.eqns), start=Tally())


def tally_of(equation: Any) -> Tally:
    """The work of one equation, and of the programs inside of it."""
    name, params = equation.primitive.name, equation.params
    if name == "scan":
        return tally(params["jaxpr"].jaxpr).times(params["length"])
    if name == "cond":
        return max(
            (tally(branch.jaxpr) for branch in params["branches"]), key=lambda t: t.operations
        )
    inner = [j for value in params.values() for j in inner_jaxprs(value)]
    if inner:
        return sum((tally(j) for j in inner), start=Tally())
    if name in _FREE:
        return Tally()
    moved = sum(bytes_of(atom) for atom in (*equation.invars, *equation.outvars))
    shape = equation.outvars[0].aval.shape
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        lhs = equation.invars[0].aval.shape
        count = 2 * math.prod(shape) * math.prod(lhs[axis] for axis in contracted)
        return Tally(products=count, bytes=moved)
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        features = kernel[params["dimension_numbers"].rhs_spec[0]]
        count = 2 * math.prod(shape) * math.prod(kernel) // features
        if params["feature_group_count"] > 1 or params["batch_group_count"] > 1:
            return Tally(grouped=count, bytes=moved)
        return Tally(convolutions=count, bytes=moved)
    if name == "cholesky":
        count = math.prod(shape[:-1]) * shape[-1] ** 2 // 3
    elif name == "triangular_solve":
        count = equation.invars[0].aval.shape[-1] * math.prod(shape)
    else:
        count = sum(math.prod(getattr(out.aval, "shape", ())) for out in equation.outvars)
    return Tally(elementwise=count, bytes=moved)


def bytes_of(atom: Any) -> int:
    """Of a variable's array; none for one that is not of numbers."""
    dtype = getattr(atom.aval, "dtype", None)
    if dtype is None or jax.dtypes.issubdtype(dtype, jax.dtypes.extended):
        return 0
    return math.prod(atom.aval.shape) * dtype.itemsize


def uses_primitive(jaxpr: core.Jaxpr, name: str) -> bool:
    """Whether a program or one inside of it has an equation of this primitive."""
    return any(
        equation.primitive.name == name
        or any(uses_primitive(j, name) for v in equation.params.values() for j in inner_jaxprs(v))
        for equation in jaxpr.eqns
    )


def inner_jaxprs(value: Any) -> list[core.Jaxpr]:
    if isinstance(value, core.ClosedJaxpr):
        return [value.jaxpr]
    if isinstance(value, core.Jaxpr):
        return [value]
    if isinstance(value, (tuple, list)):
        return [jaxpr for item in value for jaxpr in inner_jaxprs(item)]
    return []


# Moves and reshapes of data do not compute.
_FREE = frozenset(
    {
        "broadcast_in_dim", "concatenate", "convert_element_type", "copy", "dynamic_slice",
        "dynamic_update_slice", "gather", "iota", "pad", "reshape", "rev", "slice", "squeeze",
        "stop_gradient", "transpose",
    }
)  # fmt: skip
