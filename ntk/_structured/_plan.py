"""What each equation of a network's jaxpr is to its parameters, found without running it."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core
from jax.interpreters.partial_eval import dce_jaxpr

CONSTANT, PARAMETER, DATA = 0, 1, 2
# Whether a variable has the derivative of its operands at other shapes: moves of elements.
_MOVES = {"broadcast_in_dim", "convert_element_type", "copy", "reshape", "squeeze", "transpose"}
_PRODUCTS = {"conv_general_dilated", "dot_general"}
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
        varying: variables that differ from example to example: all DATA, and parameters picked
            out by data.
        readers: the equations that read a variable, None for an output of the jaxpr.
        source: the step that makes a variable.
    """

    jaxpr: Any
    steps: list[Step] = field(default_factory=list)
    kinds: dict[Any, int] = field(default_factory=dict)
    varying: set[Any] = field(default_factory=set)
    readers: dict[Any, list[Any]] = field(default_factory=dict)
    source: dict[Any, Step] = field(default_factory=dict)

    def kind(self, atom: Any) -> int:
        return CONSTANT if isinstance(atom, core.Literal) else self.kinds[atom]

    def varies(self, atom: Any) -> bool:
        return not isinstance(atom, core.Literal) and atom in self.varying


def inline(closed: Any) -> Any:
    """The closed jaxpr with the bodies of its calls in their place, loops' bodies apart.

    Equations that no output needs are left out.
    """
    jaxpr = closed.jaxpr

    def flat(*args):
        return _evaluate_inlined(jaxpr, closed.consts, args)

    shapes = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in jaxpr.invars]
    inlined = jax.make_jaxpr(flat)(*shapes)
    used = dce_jaxpr(inlined.jaxpr, [True] * len(inlined.jaxpr.outvars), instantiate=True)[0]
    return core.ClosedJaxpr(used, inlined.consts)


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


def make_plan(jaxpr: Any, kinds: list[int], varying: list[bool]) -> Plan:
    """The plan of a jaxpr whose inputs (constants first) are of these kinds."""
    plan = Plan(jaxpr, readers=_readers(jaxpr))
    inputs = [*jaxpr.constvars, *jaxpr.invars]
    plan.kinds.update(zip(inputs, kinds, strict=True))
    plan.varying.update(v for v, varies in zip(inputs, varying, strict=True) if varies)
    for equation in jaxpr.eqns:
        step = _step(plan, equation)
        plan.steps.append(step)
        plan.source.update((var, step) for var in equation.outvars)
    return plan


def _readers(jaxpr: Any) -> dict[Any, list[Any]]:
    readers: dict[Any, list[Any]] = {}
    for equation in [*jaxpr.eqns, None]:
        for atom in jaxpr.outvars if equation is None else equation.invars:
            if not isinstance(atom, core.Literal):
                readers.setdefault(atom, []).append(equation)
    return readers


def _step(plan: Plan, equation: Any) -> Step:
    operands = [plan.kind(atom) for atom in equation.invars]
    kind = max(operands, default=CONSTANT)
    varies = any(plan.varies(atom) for atom in equation.invars)
    if kind == DATA and _picks_a_weight(plan, equation, operands):
        kind = PARAMETER
    outs, varying = [kind] * len(equation.outvars), [varies] * len(equation.outvars)
    step = Step(equation, kind)
    if kind == DATA and any(is_float(v) for v in equation.outvars):
        step.enters = tuple(
            k
            for k, a in enumerate(equation.invars)
            if operands[k] == PARAMETER and has_derivative(equation, k)
        )
    if equation.primitive.name == "scan" and step.enters:
        step.closed = inline(equation.params["jaxpr"])
        given = [plan.varies(atom) for atom in equation.invars]
        step.body, outs, varying = _scan_plan(equation, step.closed, operands, given)
    for var, out, varied in zip(equation.outvars, outs, varying, strict=True):
        plan.kinds[var] = out if is_float(var) or out == DATA else CONSTANT
        if varied or plan.kinds[var] == DATA:
            plan.varying.add(var)
    return step


def _picks_a_weight(plan: Plan, equation: Any, operands: list[int]) -> bool:
    """Whether data only choose among parameters, as a condition or a class does, and all that
    becomes of the choice are products smaller than it: their cotangents are the ones to take.
    """
    data = [a for a, k in zip(equation.invars, operands, strict=True) if k == DATA]
    if len(equation.outvars) != 1 or any(is_float(a) for a in data) or PARAMETER not in operands:
        return False
    var = equation.outvars[0]
    return is_float(var) and _feeds_products(plan, var, var.aval.size)


def _feeds_products(plan: Plan, var: Any, size: int) -> bool:
    for equation in plan.readers.get(var, [None]):
        if equation is None:
            return False
        name, out = equation.primitive.name, equation.outvars[0]
        if name in _MOVES and out.aval.size == size:
            if not _feeds_products(plan, out, size):
                return False
        elif name not in _PRODUCTS or out.aval.size >= size:
            return False
    return True


def _scan_plan(
    equation: Any, closed: Any, operands: list[int], given: list[bool]
) -> tuple[Plan, list[int], list[bool]]:
    """The body's plan with the carry's kinds at their fixed point; the outputs' kinds, varying.

    Whatever a loop carries or stacks is data, unless it is constant: its Jacobian goes through
    the reverse pass.
    """
    consts, carry = equation.params["num_consts"], equation.params["num_carry"]
    kinds, varying = list(operands), list(given)
    carried = [
        (DATA if k != CONSTANT else CONSTANT, v)
        for k, v in zip(
            kinds[consts : consts + carry], varying[consts : consts + carry], strict=True
        )
    ]
    constant = [CONSTANT] * len(closed.consts), [False] * len(closed.consts)
    while True:
        kinds[consts : consts + carry] = [k for k, _ in carried]
        varying[consts : consts + carry] = [v or k == DATA for k, v in carried]
        plan = make_plan(closed.jaxpr, [*constant[0], *kinds], [*constant[1], *varying])
        outs = [
            (DATA if plan.kind(a) != CONSTANT else CONSTANT, plan.varies(a))
            for a in closed.jaxpr.outvars
        ]
        grown = [
            (max(old[0], new[0]), old[1] or new[1])
            for old, new in zip(carried, outs[:carry], strict=True)
        ]
        if grown == carried:
            return plan, [k for k, _ in outs], [v for _, v in outs]
        carried = grown


def has_derivative(equation: Any, position: int) -> bool:
    """Whether an equation's outputs have a derivative by one of its operands."""
    name, atom = equation.primitive.name, equation.invars[position]
    if name == "custom_linear_solve":
        # The factorisations with which a system is solved have none; the matrix has.
        lengths = equation.params["const_lengths"]
        constants = sum(lengths)
        if lengths.matvec <= position < constants:
            return False
    return name != "stop_gradient" and is_float(atom)


def is_float(atom: Any) -> bool:
    """Whether a variable is of a floating point dtype, a complex one included."""
    return jnp.issubdtype(atom.aval.dtype, jnp.inexact)


def is_complex(atom: Any) -> bool:
    """Whether a variable is complex: its derivatives are JAX's own."""
    return jnp.issubdtype(atom.aval.dtype, jnp.complexfloating)
