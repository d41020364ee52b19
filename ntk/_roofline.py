"""Seconds that a program takes, predicted on its jaxpr: of computing or moving, the longer."""

import math
from dataclasses import dataclass
from typing import Any

from jax.extend import core

from ntk._operations import bytes_of, inner_jaxprs, tally_of


@dataclass(frozen=True)
class Rates:
    """What a backend does in a second; predictions are there to be compared with one another.

    Attributes:
        products: operations of large matrix products.
        convolutions: of convolutions in one group.
        grouped: of convolutions in many groups, as derivatives by a kernel at each example are.
        elementwise: of everything else, per element of a result.
        bandwidth: bytes from and to memory.
        cached: bytes from and to the cache.
        cache: its size.
        edge: the side of a matrix product at which half of the rate is reached.
        start: seconds to begin an equation that is not fused with others.
    """

    products: float
    convolutions: float
    grouped: float
    elementwise: float
    bandwidth: float
    cached: float
    cache: float
    edge: float
    start: float


# CPU: two cores, float32, measured. Accelerators: of the order of a data-centre card.
RATES = {
    "cpu": Rates(1.5e11, 1.2e11, 2e10, 4e9, 1e10, 4e10, 8e6, 4, 1e-6),
    "gpu": Rates(3e13, 2e13, 4e12, 2e12, 2e12, 4e12, 3e7, 32, 4e-6),
    "tpu": Rates(5e13, 5e13, 5e12, 2e12, 1.5e12, 4e12, 1e8, 64, 2e-6),
}


def rates_of(backend: str) -> Rates:
    """The rates of a backend; those of a GPU for one that is not known."""
    return RATES.get(backend, RATES["gpu"])


def seconds_of(jaxpr: core.Jaxpr, rates: Rates) -> float:
    """The sum over equations: loops times their trip counts, of a condition the longest branch."""
    return sum(_of_equation(equation, rates) for equation in jaxpr.eqns)


def _of_equation(equation: Any, rates: Rates) -> float:
    name, params = equation.primitive.name, equation.params
    bodies = [seconds_of(j, rates) for value in params.values() for j in inner_jaxprs(value)]
    if name == "scan":
        return bodies[0] * params["length"]
    if name == "cond":
        return max(bodies)
    if bodies:
        return sum(bodies)
    work = tally_of(equation)
    if name == "dot_general":
        computing = work.products / (rates.products * _share(equation, rates))
    else:
        computing = (
            work.convolutions / rates.convolutions
            + work.grouped / rates.grouped
            + work.elementwise / rates.elementwise
        )
    if name in _STORED:
        moved = sum(bytes_of(atom) for atom in (*equation.invars, *equation.outvars))
        return rates.start + max(computing, _moving(moved, rates))
    # Fused with what makes its operands: the result alone is written, if that.
    written = sum(bytes_of(var) for var in equation.outvars)
    return max(computing, _moving(written, rates))


def _moving(count: float, rates: Rates) -> float:
    return count / (rates.cached if count <= rates.cache else rates.bandwidth)


def _share(equation: Any, rates: Rates) -> float:
    """Of the rate of a large product: each short side of the two matrices costs some."""
    (contracted, _), (batch, _) = equation.params["dimension_numbers"]
    lhs, rhs = (atom.aval.shape for atom in equation.invars)
    inner = math.prod(lhs[k] for k in contracted)
    outer = math.prod(lhs[k] for k in batch) * inner
    sides = (inner, math.prod(lhs) // max(outer, 1), math.prod(rhs) // max(outer, 1))
    return math.prod(side / (side + rates.edge) for side in sides if side)


_STORED = frozenset(
    {"dot_general", "conv_general_dilated", "gather", "scatter-add", "scatter", "sort", "cumsum",
     "reduce_window_max", "reduce_window_sum", "select_and_scatter_add", "cholesky",
     "triangular_solve", "lu", "concatenate", "dynamic_update_slice", "reduce_sum", "reduce_max",
     "transpose"}
)  # fmt: skip
