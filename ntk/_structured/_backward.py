"""The Jacobian of every parameter as networks: one reverse pass over activations alone."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntk._structured._forward import Taps, descent, find_taps, run, variables
from ntk._structured._jacobian import Group, Jacobian
from ntk._structured._network import Axis, Factor, Index, Network, axis_of
from ntk._structured._plan import (
    CONSTANT,
    DATA,
    PARAMETER,
    Plan,
    Step,
    has_derivative,
    inline,
    is_complex,
    is_float,
    make_plan,
)
from ntk._structured._rules import back, dense, is_elementwise
from ntk._structured._values import Values

# A parameter with more uses than this has its Jacobian summed in full.
MOST_NETWORKS = 4
_LINEAR = frozenset(
    [
        "add",
        "add_any",
        "sub",
        "mul",
        "div",
        "neg",
        "convert_element_type",
        "copy",
        "transpose",
        "squeeze",
        "expand_dims",
        "broadcast_in_dim",
        "reduce_sum",
        "reshape",
        "dot_general",
    ]
)


def jacobian_of(function: Any, leaves: list[Array], x: list[Array]) -> Jacobian:
    """The Jacobian of ``function(leaves, example) -> array`` at every example of ``x``.

    Args:
        function: of one example, given as a list of its leaves without the batch axis.
        leaves: floating point parameters.
        x: leaves of the inputs, each ``[n, ...]``.
    """
    shapes = [jax.ShapeDtypeStruct(a.shape[1:], a.dtype) for a in x]
    closed = inline(jax.make_jaxpr(function)(leaves, shapes))
    consts = len(closed.jaxpr.constvars)
    kinds = [CONSTANT] * consts + [PARAMETER] * len(leaves) + [DATA] * len(x)
    plan = make_plan(closed.jaxpr, kinds, [kind == DATA for kind in kinds])
    outputs = tuple(Index(size) for size in closed.jaxpr.outvars[0].aval.shape)
    found: list[Jacobian] = []

    def one(leaves, x):
        networks = _one_example(plan, closed.consts, [*leaves, *x], outputs)
        groups = [Group(networks.get(v, [])) for v in plan.jaxpr.invars[: len(leaves)]]
        jacobian = Jacobian(groups, outputs)
        # An array of several factors is one afterwards, too; until then a number stands for it.
        arrays = {id(f.array): f.array for f in jacobian.factors}
        numbers = {key: k for k, key in enumerate(arrays)}
        batched = {numbers[id(f.array)] for f in jacobian.factors if f.batched}
        found[:] = [
            jacobian.replacing(
                {id(f): f.on(numbers[id(f.array)], f.indices) for f in jacobian.factors}
            )
        ]
        by_number = dict(enumerate(arrays.values()))
        return (
            {k: a for k, a in by_number.items() if k not in batched},
            {k: a for k, a in by_number.items() if k in batched},
        )

    shared, batched = jax.vmap(one, in_axes=(None, 0), out_axes=(None, 0))(leaves, x)
    arrays = shared | batched
    (jacobian,) = found
    return jacobian.replacing({id(f): f.on(arrays[f.array], f.indices) for f in jacobian.factors})


def _one_example(
    plan: Plan, consts: list[Any], args: list[Any], outputs: tuple[Index, ...]
) -> dict[Any, list[Network]]:
    out = plan.jaxpr.outvars[0]
    if plan.kind(out) == CONSTANT:
        return {}
    start = Network((), tuple(_delta_axis(index) for index in outputs), outputs)
    chain = _head(plan, out)
    stop = chain[-1][2] if chain else out
    taps = find_taps(
        plan, {out, *(var for _, _, var in chain)} if plan.kind(out) == DATA else set()
    )
    number = {var: k for k, var in enumerate(variables(plan))}

    def until_stop(zeros):
        results, arrays = run(plan, consts, args, taps, zeros)
        return results[0] if plan.kind(out) == PARAMETER else arrays["vars"][number[stop]], arrays

    zeros = taps.zeros()
    value, vjp, arrays = jax.vjp(until_stop, zeros, has_aux=True)
    values = Values(plan, arrays["vars"])
    known = {out: start}
    for step, position, var in chain:
        known[var] = back(step.equation, position, [known[step.equation.outvars[0]]], values)
    seeds = dense(known[stop]).array.reshape((-1, *value.shape)).astype(value.dtype)
    cotangents = jax.vmap(lambda seed: vjp(seed)[0])(seeds) if jax.tree.leaves(zeros) else zeros
    if plan.kind(out) == PARAMETER:
        known = {}
    return _pull(plan, values, arrays, known, taps, cotangents, outputs, ())


def _delta_axis(index: Index) -> Axis:
    return Axis((index,) if index.size > 1 else (), index.size)


def _head(plan: Plan, out: Any) -> list[tuple[Step, int, Any]]:
    """The last steps, ``(step, position of its data operand, that operand)``, back to the features.

    Their networks need no reverse pass: the identity at the output is never made, and what the
    readout, a pooling and an activation do to it stays factored.
    """
    chain: list[tuple[Step, int, Any]] = []
    var, products = out, 0
    while plan.kind(out) == DATA:
        step = plan.source.get(var)
        if step is None or len(plan.readers.get(var, [])) > 1:
            break
        operands = [k for k, a in enumerate(step.equation.invars) if plan.kind(a) == DATA]
        linear = step.name in _LINEAR and not (step.name == "div" and operands == [1])
        if len(operands) != 1 or not (linear or is_elementwise(step.equation)):
            break
        operand = step.equation.invars[operands[0]]
        if (
            not is_float(operand)
            or is_complex(operand)
            or (step.name == "dot_general" and products)
        ):
            break
        products += step.name == "dot_general"
        chain.append((step, operands[0], operand))
        var = operand
    return chain


def _pull(
    plan: Plan,
    values: Values,
    arrays: dict[str, Any],
    known: dict[Any, Network],
    taps: Taps,
    cotangents: dict[str, Any],
    outputs: tuple[Index, ...],
    loops: tuple[Index, ...],
) -> dict[Any, list[Network]]:
    """Networks of a plan's inputs from the cotangents of its taps."""
    at = {
        spot: _tapped(array, aval.shape, outputs, loops)
        for (spot, aval), array in zip(taps.spots.items(), cotangents["spots"], strict=True)
    }
    bodies = dict(zip(taps.bodies, cotangents["bodies"], strict=True))
    pending: dict[Any, list[Network]] = {}

    def put(atom: Any, network: Network) -> None:
        if plan.kind(atom) == PARAMETER:
            found = pending.setdefault(atom, [])
            found.append(network)
            if len(found) > MOST_NETWORKS:
                found[:] = [_sum(found)]

    for spot, network in at.items():
        if spot[0] == "output":
            put(plan.jaxpr.outvars[spot[1]], network)
        elif spot[0] == "carry":
            put(plan.steps[spot[1]].equation.invars[spot[2]], network)
    for number, step in reversed(list(enumerate(plan.steps))):
        equation = step.equation
        if step.body is not None:
            inner = arrays["bodies"][number], taps.bodies[number], bodies[number]
            for atom, network in _of_scan(step, values, *inner, outputs):
                put(atom, network)
        elif step.enters:
            found = [_cotangent(plan, var, known, at, values) for var in equation.outvars]
            for position in step.enters if found != [None] * len(found) else ():
                put(equation.invars[position], back(equation, position, found, values))
        elif step.kind == PARAMETER:
            for k, var in enumerate(equation.outvars):
                for network in pending.pop(var, []):
                    for atom, pulled in _through(plan, equation, k, network, values):
                        put(atom, pulled)
    return pending


def _cotangent(
    plan: Plan, var: Any, known: dict[Any, Network], at: dict[Any, Network], values: Values
) -> Network | None:
    """The network of a variable: from where its cotangent is taken, back to it."""
    spot, equations = descent(plan, var)
    network = known.get(spot, at.get(("variable", spot)))
    if network is not None:
        for equation, position in reversed(equations):
            network = back(equation, position, [network], values)
    return network


def _through(
    plan: Plan, equation: Any, output: int, network: Network, values: Values
) -> list[tuple[Any, Network]]:
    """Networks of the parameters that one output of an equation depends on."""
    networks: list[Network | None] = [None] * len(equation.outvars)
    networks[output] = network
    return [
        (atom, back(equation, position, networks, values))
        for position, atom in enumerate(equation.invars)
        if plan.kind(atom) == PARAMETER and has_derivative(equation, position)
    ]


def _of_scan(
    step: Step,
    values: Values,
    arrays: dict[str, Any],
    taps: Taps,
    cotangents: dict[str, Any],
    outputs: tuple[Index, ...],
) -> list[tuple[Any, Network]]:
    """Networks of a scan's operands: over a loop's constants the body's Jacobians are summed."""
    plan, params = step.body, step.equation.params
    assert plan is not None
    consts = params["num_consts"]
    first_x = consts + params["num_carry"]
    loop = Index(params["length"])
    loops = (*values.loops, loop)
    names = dict(zip(plan.jaxpr.invars[:consts], step.equation.invars[:consts], strict=True))
    inside = Values(plan, arrays["vars"], loops, (values, names))
    pulled = _pull(plan, inside, arrays, {}, taps, cotangents, outputs, loops)
    found = []
    for position, var in enumerate(plan.jaxpr.invars):
        for network in pulled.get(var, []):
            axes = network.axes
            if position >= first_x:
                axes = (Axis((loop,) if loop.size > 1 else (), loop.size), *axes)
            left = dataclasses.replace(network, axes=axes, loops=values.loops)
            found.append((step.equation.invars[position], left))
    return found


def _tapped(
    array: Array, shape: tuple[int, ...], outputs: tuple[Index, ...], loops: tuple[Index, ...]
) -> Network:
    """The cotangent ``[outputs (flat), *loops, *shape]`` of a variable as a network."""
    axes = tuple(axis_of(size) for size in shape)
    indices = (*outputs, *loops, *(i for axis in axes for i in axis.indices))
    array = array.reshape([index.size for index in indices])
    return Network((Factor(array, indices, True),), axes, outputs, loops)


def _sum(networks: list[Network]) -> Network:
    """Several networks of one variable as a dense one."""
    factors = [dense(network) for network in networks]
    total = factors[0].array
    for factor in factors[1:]:
        total = total + factor.array
    batched = any(factor.batched for factor in factors)
    factor = Factor(jnp.asarray(total), factors[0].indices, batched)
    first = networks[0]
    tail = list(factor.indices[len(first.outputs) + len(first.loops) :])
    axes = tuple(Axis((tail.pop(0),) if a.full > 1 else (), a.full) for a in first.axes)
    return Network((factor,), axes, first.outputs, first.loops)
