"""What each equation of a network's jaxpr is to its parameters, found without running it."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

CONSTANT, PARAMETER, DATA = 0, 1, 2
# Calls whose body may stand in the place of the call.
_INLINED = {"pjit", "jit", "closed_call", "core_call", "remat", "remat2", "checkpoint"}


@dataclass(eq=False)
class Step:
    """One equation.

    Attributes:
        equation: the jaxpr's equation.
        kind: what its outputs depend on: CONSTANT, PARAMETER (parameters alone) or DATA.
        enters: positions of operands where parameters meet data: their Jacobian starts here.
        body, closed: the plan of a scan's body and its jaxpr, where parameters enter the scan.
    """

    equation: Any
    kind: int
    enters: tuple[int, ...] = ()
    body: "Plan | None" = None
    closed: Any = None

    @property
    def name(self) -> str:
        return self.equation.primitive.name


@dataclass(eq=False)
class Plan:
    """A jaxpr with the kind of every variable.

    Attributes:
        jaxpr: the jaxpr, its constants bound as inputs by the caller.
        steps: its equations in order.
        kinds: of every variable.
        readers: the steps that read a variable, None for an output of the jaxpr.
        source: the step that makes a variable.
    """

    jaxpr: Any
    steps: list[Step] = field(default_factory=list)
    kinds: dict[Any, int] = field(default_factory=dict)
    readers: dict[Any, list[Step | None]] = field(default_factory=dict)
    source: dict[Any, Step] = field(default_factory=dict)

    def kind(self, atom: Any) -> int:
        return CONSTANT if isinstance(atom, core.Literal) else self.kinds[atom]


def inline(closed: Any) -> Any:
    """The closed jaxpr with the bodies of its calls in their place, loops' bodies apart."""
    jaxpr = closed.jaxpr

    def flat(*args):
        return _evaluate_inlined(jaxpr, closed.consts, args)

    shapes = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in jaxpr.invars]
    return jax.make_jaxpr(flat)(*shapes)


def _evaluate_inlined(jaxpr: Any, consts: Any, args: Any) -> list[Any]:
    env = dict(zip(jaxpr.constvars, consts, strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))

    def read(atom):
        return atom.val if isinstance(atom, core.Literal) else env[atom]

    for equation in jaxpr.eqns:
        values = [read(atom) for atom in equation.invars]
        if equation.primitive.name in _INLINED:
            inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
            closed = inner if isinstance(inner, core.ClosedJaxpr) else core.ClosedJaxpr(inner, ())
            outs = _evaluate_inlined(closed.jaxpr, closed.consts, values)
        else:
            outs = bind(equation, values)
        env.update(zip(equation.outvars, outs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def bind(equation: Any, values: list[Any]) -> list[Any]:
    """The equation's outputs for operand values."""
    bound = equation.primitive.get_bind_params(equation.params)
    # JAX 0.8 gives functions apart from the parameters.
    subfuns, params = bound if isinstance(bound, tuple) else ((), bound)
    outs = equation.primitive.bind(*subfuns, *values, **params)
    return list(outs) if equation.primitive.multiple_results else [outs]


def make_plan(jaxpr: Any, kinds: list[int]) -> Plan:
    """The plan of a jaxpr whose inputs (constants first) have the given kinds."""
    plan = Plan(jaxpr)
    plan.kinds.update(zip([*jaxpr.constvars, *jaxpr.invars], kinds, strict=True))
    for equation in jaxpr.eqns:
        step = _step(plan, equation)
        plan.steps.append(step)
        plan.source.update((var, step) for var in equation.outvars)
        for atom in equation.invars:
            if not isinstance(atom, core.Literal):
                plan.readers.setdefault(atom, []).append(step)
    for atom in jaxpr.outvars:
        if not isinstance(atom, core.Literal):
            plan.readers.setdefault(atom, []).append(None)
    return plan


def _step(plan: Plan, equation: Any) -> Step:
    operands = [plan.kind(atom) for atom in equation.invars]
    kind = max(operands, default=CONSTANT)
    outs = [kind] * len(equation.outvars)
    step = Step(equation, kind)
    if kind == DATA and any(is_float(v) for v in equation.outvars):
        step.enters = tuple(
            k for k, a in enumerate(equation.invars) if operands[k] == PARAMETER and is_float(a)
        )
    if equation.primitive.name == "scan" and step.enters:
        step.closed = inline(equation.params["jaxpr"])
        step.body, outs = _scan_plan(equation, step.closed, operands)
    for var, out in zip(equation.outvars, outs, strict=True):
        plan.kinds[var] = out if is_float(var) or out == DATA else CONSTANT
    return step


def _scan_plan(equation: Any, closed: Any, operands: list[int]) -> tuple[Plan, list[int]]:
    """The body's plan with the carry's kinds at their fixed point, and the outputs' kinds.

    Whatever a loop carries or stacks is data, unless it is constant: its Jacobian goes through
    the reverse pass.
    """
    consts, carry = equation.params["num_consts"], equation.params["num_carry"]
    kinds = list(operands)
    carried = [DATA if k != CONSTANT else CONSTANT for k in kinds[consts : consts + carry]]
    while True:
        kinds[consts : consts + carry] = carried
        plan = make_plan(closed.jaxpr, [*[CONSTANT] * len(closed.consts), *kinds])
        outs = [DATA if plan.kind(a) != CONSTANT else CONSTANT for a in closed.jaxpr.outvars]
        grown = [max(pair) for pair in zip(carried, outs[:carry], strict=True)]
        if grown == carried:
            return plan, outs
        carried = grown


def is_float(atom: Any) -> bool:
    """Whether a variable is of a floating point dtype."""
    return jnp.issubdtype(atom.aval.dtype, jnp.floating)
