"""What each algorithm costs for a given call, and which one ``auto`` takes."""

import functools
from dataclasses import dataclass
from typing import Any

import jax

from ntk._kernel_inputs import Inputs, Signature
from ntk._memory import peak_bytes
from ntk._methods import METHODS, kernel_of
from ntk._operations import tally, used_jaxpr
from ntk._roofline import rates_of, seconds_of


@dataclass(frozen=True)
class MethodCost:
    """One algorithm's cost for one call.

    Attributes:
        operations: floating point operations, counted on the jaxpr times trip counts.
        traffic_bytes: read and written by its equations, before fusion.
        temporary_bytes: an estimate from above of the most that is alive at once.
        seconds: predicted from these on the backend; meant to be compared, not believed.
    """

    operations: int
    traffic_bytes: int
    temporary_bytes: int
    seconds: float


@dataclass(frozen=True)
class Cost:
    """The table from which ``method="auto"`` is decided.

    Attributes:
        methods: cost by method.
        chosen: the method that ``auto`` takes.
    """

    methods: dict[str, MethodCost]
    chosen: str

    def __str__(self) -> str:
        head = f"{'method':24}{'operations':>12}{'traffic':>12}{'temporary':>12}{'predicted s':>13}"
        rows = [
            f"{'* ' if name == self.chosen else '  '}{name:22}{c.operations:12.3g}"
            f"{_size(c.traffic_bytes):>12}{_size(c.temporary_bytes):>12}{c.seconds:13.3g}"
            for name, c in self.methods.items()
        ]
        return "\n".join([head, *rows])


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def shapes_of(inputs: Inputs) -> Any:
    """The shapes and dtypes of a call's arrays, hashable, in JAX's dtypes."""

    def shape(a: Any) -> jax.ShapeDtypeStruct:
        dtype = jax.dtypes.canonicalize_dtype(a.dtype, allow_extended_dtype=True)
        return jax.ShapeDtypeStruct(a.shape, dtype, weak_type=getattr(a, "weak_type", False))

    x2 = None if inputs.x2 is None else tuple(map(shape, inputs.x2))
    return tuple(map(shape, inputs.leaves)), tuple(map(shape, inputs.held)), tuple(
        map(shape, inputs.x1)
    ), x2  # fmt: skip


def cost_of(inputs: Inputs, budget: int) -> Cost:
    """The table for a checked call.

    Args:
        inputs: of the kernel.
        budget: bytes; what needs more in one piece is charged for its tiles.
    """
    costs = {method: cost_by(inputs, method) for method in METHODS}

    def in_tiles(method: str) -> float:
        # Tiles of half the side recompute derivatives: their number grows with its root.
        excess = max(1.0, costs[method].temporary_bytes / budget)
        return costs[method].seconds * excess**0.25

    return Cost(costs, min(costs, key=in_tiles))


def cost_by(inputs: Inputs, method: str) -> MethodCost:
    """The cost of a checked call by one algorithm."""
    return method_cost(inputs.signature, method, shapes_of(inputs), jax.default_backend())


@functools.lru_cache(maxsize=1024)
def method_cost(signature: Signature, method: str, shapes: Any, backend: str) -> MethodCost:
    """One algorithm's cost for shapes alone; nothing is run or compiled."""
    leaves, held, x1, x2 = shapes
    args = list(leaves), list(held), list(x1), None if x2 is None else list(x2)
    jaxpr = used_jaxpr(functools.partial(kernel_of, signature, method), *args)
    work, seconds = tally(jaxpr), seconds_of(jaxpr, rates_of(backend))
    return MethodCost(work.operations, work.bytes, peak_bytes(jaxpr), seconds)
