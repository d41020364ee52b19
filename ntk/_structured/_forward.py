"""A network run with a zero added wherever its parameters meet its data.

The derivative of the outputs by those zeros is the cotangent from which a parameter's Jacobian
starts. No derivative by a parameter is taken here.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend import core

from ntk._structured._plan import CONSTANT, PARAMETER, Plan, Step, bind, is_float

# Where a zero is added: to a variable, or to a parameter at the place where it becomes data.
Spot = tuple[Any, ...]


@dataclass(eq=False)
class Taps:
    """The spots of a plan, and of its loops' bodies by step.

    Attributes:
        spots: each with the shape and dtype of its zero.
        bodies: taps of the scans of the plan.
    """

    spots: dict[Spot, Any] = field(default_factory=dict)
    bodies: dict[int, "Taps"] = field(default_factory=dict)
    length: int = 1

    def zeros(self, lead: tuple[int, ...] = ()) -> dict[str, Any]:
        """The zeros, with the lengths of the loops around in front."""
        arrays = [jnp.zeros(lead + aval.shape, aval.dtype) for aval in self.spots.values()]
        return {"spots": arrays, "bodies": [t.zeros((*lead, n)) for n, t in self._sized()]}

    def _sized(self):
        return [(taps.length, taps) for taps in self.bodies.values()]


def find_taps(plan: Plan, covered: Collection[Any] = ()) -> Taps:
    """Taps of every step where parameters enter, but for variables whose cotangent is known.

    Args:
        plan: the plan.
        covered: variables with a network of their own already.
    """
    taps = Taps()
    for number, step in enumerate(plan.steps):
        if step.body is not None:
            body = find_taps(step.body)
            body.length = step.equation.params["length"]
            taps.bodies[number] = body
            for position in carry_entries(step):
                taps.spots["carry", number, position] = step.equation.invars[position].aval
        elif step.enters:
            for var in step.equation.outvars:
                spot = descent(plan, var)[0]
                if is_float(var) and spot not in covered:
                    taps.spots["variable", spot] = spot.aval
    for position, atom in enumerate(plan.jaxpr.outvars):
        if plan.kind(atom) == PARAMETER and atom not in covered:
            taps.spots["output", position] = atom.aval
    return taps


def descent(plan: Plan, var: Any) -> tuple[Any, list[Any]]:
    """Where the cotangent of a variable is taken, and the equations from the variable to there.

    A variable that is only added to has the sum's cotangent. One that is only summed over, as the
    words of a bag are, has the cotangent of its sum at every place, which is kept as it is.
    """
    spot, at = var, var
    found: list[Any] = []
    walked: list[Any] = []
    while len(readers := plan.readers.get(at, [])) == 1 and readers[0] is not None:
        equation = readers[0]
        name, out = equation.primitive.name, equation.outvars[0]
        same = out.aval.shape == at.aval.shape and out.aval.dtype == at.aval.dtype
        position = next(k for k, atom in enumerate(equation.invars) if atom is at)
        others = [atom for atom in equation.invars if atom is not at]
        constant = all(plan.kind(atom) == CONSTANT for atom in others)
        if name in ("add", "add_any") and same:
            at = out
            spot = spot if walked else at
        elif name == "reduce_sum":
            walked, at = [*walked, (equation, 0)], out
            spot, found = at, walked
        elif same and constant and (name == "mul" or (name == "div" and position == 0)):
            walked, at = [*walked, (equation, position)], out
        else:
            break
    return spot, found


def carry_entries(step: Step) -> tuple[int, ...]:
    """Operands of a scan that start a carry and are parameters."""
    params = step.equation.params
    first, count = params["num_consts"], params["num_carry"]
    return tuple(k for k in step.enters if first <= k < first + count)


def run(plan: Plan, consts: Any, args: Any, taps: Taps, deltas: dict[str, Any]):
    """Evaluate a plan.

    Returns:
        ``(outputs, values)``: the values of every variable, those of loop bodies stacked, as
        ``{"vars": {number: array}, "bodies": {step: values}}`` with variables numbered in order.
    """
    env: dict[Any, Array] = {}
    spots = dict(zip(taps.spots, deltas["spots"], strict=True))
    bodies = dict(zip(taps.bodies, deltas["bodies"], strict=True))
    inner: dict[int, Any] = {}

    def write(var: Any, value: Any) -> None:
        zero = spots.get(("variable", var))
        env[var] = value if zero is None else value + zero

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, core.Literal) else env[atom]

    for var, value in zip(
        [*plan.jaxpr.constvars, *plan.jaxpr.invars], [*consts, *args], strict=True
    ):
        write(var, value)
    for number, step in enumerate(plan.steps):
        operands = [read(atom) for atom in step.equation.invars]
        if step.body is not None:
            for position in carry_entries(step):
                operands[position] = operands[position] + spots["carry", number, position]
            outs, inner[number] = _run_scan(step, operands, taps.bodies[number], bodies[number])
        else:
            outs = bind(step.equation, operands)
        for var, value in zip(step.equation.outvars, outs, strict=True):
            write(var, value)
    outputs = []
    for position, atom in enumerate(plan.jaxpr.outvars):
        zero = spots.get(("output", position))
        outputs.append(read(atom) if zero is None else read(atom) + zero)
    return outputs, {"vars": dict(enumerate(env.values())), "bodies": inner}


def _run_scan(step: Step, operands: list[Any], taps: Taps, deltas: dict[str, Any]):
    params, plan = step.equation.params, step.body
    assert plan is not None
    split = params["num_consts"], params["num_consts"] + params["num_carry"]
    consts, init, xs = operands[: split[0]], operands[split[0] : split[1]], operands[split[1] :]

    def body(carry, x):
        slices, zeros = x
        outs, values = run(plan, step.closed.consts, [*consts, *carry, *slices], taps, zeros)
        return outs[: len(carry)], (outs[len(carry) :], values)

    carry, (ys, values) = jax.lax.scan(
        body,
        init,
        (xs, deltas),
        length=params["length"],
        reverse=params["reverse"],
        unroll=params["unroll"],
    )
    return [*carry, *ys], values


def variables(plan: Plan) -> list[Any]:
    """The variables of a plan in the order in which ``run`` numbers them."""
    found = [*plan.jaxpr.constvars, *plan.jaxpr.invars]
    for step in plan.steps:
        found += step.equation.outvars
    return list(dict.fromkeys(found))
