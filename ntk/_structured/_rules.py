"""How a Jacobian goes back through one equation, as a network, primitive by primitive.

A rule takes the network of an equation's output and returns that of one of its operands, or None
where it has no structure to keep; ``general`` then is exact for everything JAX can differentiate.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

from ntk._structured._contract import Contractor
from ntk._structured._implicit import Lookup, Patches, Window
from ntk._structured._network import (
    Axis,
    Factor,
    Index,
    Network,
    axis_of,
    explicit,
    restrict_index,
    split_index,
    without_delta,
)
from ntk._structured._plan import PARAMETER, bind, has_derivative, inline, is_complex
from ntk._structured._values import Value, Values, broadcast, factor_of, lift, times_value

Rule = Callable[[Any, int, Network, Any], "Network | None"]
_RULES: dict[str, Rule] = {}


def back(equation: Any, position: int, networks: list[Network | None], values: Values) -> Network:
    """The network of operand ``position`` from those of the outputs (None: zero)."""
    name = equation.primitive.name
    known = [network for network in networks if network is not None]
    if any(is_complex(atom) for atom in (*equation.invars, *equation.outvars)):
        return general(equation, position, networks, values)
    if len(networks) == 1 and known:
        rule = _RULES.get(name)
        if rule is None and is_elementwise(equation):
            rule = _elementwise
        found = None if rule is None else rule(equation, position, known[0], values)
        if found is not None:
            return found
    if name == "split" and len(known) == 1:
        return _split(equation, networks.index(known[0]), known[0])
    return general(equation, position, networks, values)


def _rule(*names: str) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        _RULES.update(dict.fromkeys(names, rule))
        return rule

    return register


# --- element by element

ELEMENTWISE = frozenset(
    [
        "abs",
        "acos",
        "acosh",
        "asin",
        "asinh",
        "atan",
        "atan2",
        "atanh",
        "cbrt",
        "ceil",
        "clamp",
        "cos",
        "cosh",
        "digamma",
        "erf",
        "erf_inv",
        "erfc",
        "exp",
        "exp2",
        "expm1",
        "floor",
        "integer_pow",
        "lgamma",
        "log",
        "log1p",
        "logistic",
        "max",
        "min",
        "pow",
        "real",
        "rsqrt",
        "select_n",
        "sign",
        "sin",
        "sinh",
        "sqrt",
        "square",
        "tan",
        "tanh",
    ]
)


_SIMPLE = frozenset(
    ["add", "add_any", "sub", "mul", "div", "neg", "convert_element_type", "copy", "stop_gradient",
     "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not", "is_finite"]
)  # fmt: skip


def is_elementwise(equation: Any) -> bool:
    """Whether an equation acts on each element of its operand alone, and so does its derivative."""
    name = equation.primitive.name
    if name in ELEMENTWISE:
        return True
    if name not in ("custom_jvp_call", "pjit", "jit") or len(equation.invars) != 1:
        return False
    aval = equation.invars[0].aval
    if equation.outvars[0].aval.shape != aval.shape or len(equation.outvars) != 1:
        return False
    shape = jax.ShapeDtypeStruct(aval.shape, aval.dtype)

    def tangent(x, t):
        return jax.jvp(lambda x: bind(equation, [x])[0], (x,), (t,))

    return _stays_in_place(jax.make_jaxpr(tangent)(shape, shape).jaxpr, aval.shape)


def _stays_in_place(jaxpr: Any, shape: tuple[int, ...]) -> bool:
    """Whether a program takes no element of an array of this shape to another place."""
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if any(var.aval.shape not in (shape, ()) for var in equation.outvars):
            return False
        if name in ("jit", "pjit", "custom_jvp_call"):
            inner = equation.params.get("call_jaxpr", equation.params.get("jaxpr"))
            if not _stays_in_place(inner.jaxpr, shape):
                return False
        elif name == "broadcast_in_dim":
            if equation.invars[0].aval.shape != ():
                return False
        elif name not in ELEMENTWISE and name not in _SIMPLE:
            return False
    return True


def _match(operand: Any, network: Network) -> Network:
    """The network of an operand that stands for many elements: a scalar, or axes of length 1."""
    shape = operand.aval.shape
    if shape == () and network.axes:
        return network.with_axes(())
    if any(axis.full != size for axis, size in zip(network.axes, shape, strict=True)):
        return network.with_axes(
            axis if axis.full == size else Axis((), 1)
            for axis, size in zip(network.axes, shape, strict=True)
        )
    return network


@_rule("add", "add_any", "sub")
def _add(equation, position, network, values):
    if equation.primitive.name == "sub" and position == 1:
        network = dataclasses.replace(network, scale=-network.scale)
    return _match(equation.invars[position], network)


@_rule("neg")
def _neg(equation, position, network, values):
    return dataclasses.replace(network, scale=-network.scale)


@_rule("convert_element_type", "copy", "copy_p", "reduce_precision", "optimization_barrier")
def _same(equation, position, network, values):
    return network if len(equation.invars) == 1 else None


@_rule("mul")
def _mul(equation, position, network, values):
    network = _times(network, equation.invars[1 - position], values)
    return _match(equation.invars[position], network)


@_rule("div")
def _div(equation, position, network, values):
    bottom = values(equation.invars[1])
    if position == 0:
        inverse = dataclasses.replace(bottom, array=1 / jnp.asarray(bottom.array))
        return _match(equation.invars[0], _scaled(network, inverse))
    array = jnp.asarray(bottom.array)
    network = _scaled(network, dataclasses.replace(bottom, array=-1 / (array * array)))
    return _match(equation.invars[1], _times(network, equation.invars[0], values))


@_rule("integer_pow", "square")
def _power(equation, position, network, values):
    """A square keeps its argument as it is, which a product with it recognises."""
    if equation.params.get("y", 2) != 2:
        return _elementwise(equation, position, network, values)
    network = dataclasses.replace(network, scale=2 * network.scale)
    return _times(network, equation.invars[0], values)


def _times(network: Network, atom: Any, values: Values) -> Network:
    """Times a variable; where that is a product of parameters, times both, each as it is."""
    known = isinstance(values, Values) and not isinstance(atom, core.Literal)
    step = values.plan.source.get(atom) if known else None
    if step is None or step.kind != PARAMETER or step.name != "mul" or is_complex(atom):
        return _scaled(network, values(atom))
    for factor in step.equation.invars:
        network = _times(network, factor, values)
    return network


def _scaled(network: Network, value: Value) -> Network:
    shape = tuple(axis.full for axis in network.axes)
    if value.shape != shape:
        value = broadcast(value, range(len(value.shape)), shape)
    return times_value(network, value)


def _value(array: Any, loops: tuple[Index, ...], batched: bool) -> Value:
    shape = array.shape[len(loops) :]
    return Value(array, shape, tuple(range(len(shape))), loops, batched)


def _elementwise(equation, position, network, values):
    """Times the derivative, which is the tangent of a tangent of ones."""
    operands = [values(atom) for atom in equation.invars]

    def derivative(*primals):
        def function(x):
            return bind(equation, [*primals[:position], x, *primals[position + 1 :]])[0]

        shape = jnp.broadcast_shapes(*(jnp.shape(p) for p in primals))
        at = primals[position]
        if jnp.shape(at) != shape:
            at = jnp.broadcast_to(at, shape)
        return jax.jvp(function, (at,), (jnp.ones_like(at),))[1]

    array, loops, batched = lift(derivative, *operands)
    return _match(equation.invars[position], times_value(network, _value(array, loops, batched)))


@_rule("select_n")
def _select_n(equation, position, network, values):
    """Where this case is taken; a condition for a whole example stays one number."""
    which = values(equation.invars[0])
    case = equation.invars[position].aval
    taken = jnp.asarray(which.array) == (position - 1)
    mask = dataclasses.replace(which, array=taken.astype(case.dtype))
    return _match(equation.invars[position], _scaled(network, mask))


# --- shapes


@_rule("transpose")
def _transpose(equation, position, network, values):
    permutation = equation.params["permutation"]
    return network.with_axes(network.axes[permutation.index(k)] for k in range(len(permutation)))


@_rule("squeeze")
def _squeeze(equation, position, network, values):
    removed = set(equation.params["dimensions"])
    axes = iter(network.axes)
    shape = equation.invars[0].aval.shape
    return network.with_axes(Axis((), 1) if k in removed else next(axes) for k in range(len(shape)))


@_rule("expand_dims")
def _expand_dims(equation, position, network, values):
    added = set(equation.params["dimensions"])
    return network.with_axes(a for k, a in enumerate(network.axes) if k not in added)


@_rule("broadcast_in_dim")
def _broadcast_in_dim(equation, position, network, values):
    to = equation.params["broadcast_dimensions"]
    shape = equation.invars[0].aval.shape
    return network.with_axes(
        network.axes[to[k]] if network.axes[to[k]].full == size else Axis((), 1)
        for k, size in enumerate(shape)
    )


@_rule("reduce_sum")
def _reduce_sum(equation, position, network, values):
    axes = iter(network.axes)
    shape, summed = equation.invars[0].aval.shape, equation.params["axes"]
    return network.with_axes(
        axis_of(size) if k in summed else next(axes) for k, size in enumerate(shape)
    )


@_rule("reshape")
def _reshape(equation, position, network, values):
    if equation.params["dimensions"] is not None:
        return None
    new_shape = equation.invars[0].aval.shape
    network = whole(network)
    order = [index for axis in network.axes for index in axis.indices]
    groups: list[tuple[Index, ...]] = []
    for size in new_shape:
        group: list[Index] = []
        while (have := math.prod(i.size for i in group)) < size:
            index, need = order[0], size // have
            if size % have or (need % index.size and index.size % need):
                return None
            if index.size > need:
                if index in network.outputs or _occurrences(network, index) > 1:
                    at = next(k for k, a in enumerate(network.axes) if index in a.indices)
                    network = without_delta(network, at)
                    order = order_after(network, len(order))
                    index = order[0]
                network = split_index(network, index, (need, index.size // need))
                order = order_after(network, len(order) + 1)
            group.append(order.pop(0))
        groups.append(tuple(group))
    return network.with_axes(Axis(g, s) for g, s in zip(groups, new_shape, strict=True))


def order_after(network: Network, remaining: int) -> list[Index]:
    """The last ``remaining`` indices of the axes."""
    order = [index for axis in network.axes for index in axis.indices]
    return order[len(order) - remaining :]


def _occurrences(network: Network, index: Index) -> int:
    return sum(axis.indices.count(index) for axis in network.axes)


@_rule("slice")
def _slice(equation, position, network, values):
    strides = equation.params["strides"]
    if strides is not None and any(stride != 1 for stride in strides):
        return None
    return _at(network, equation.params["start_indices"], equation.invars[0].aval.shape)


def _split(equation: Any, output: int, network: Network) -> Network:
    """One of the pieces in which an operand is cut."""
    along, sizes = equation.params["axis"], equation.params["sizes"]
    shape = equation.invars[0].aval.shape
    starts = [sum(sizes[:output]) if k == along else 0 for k in range(len(shape))]
    return _at(network, starts, shape)


def _at(network: Network, starts: Any, shape: tuple[int, ...]) -> Network:
    """The output of a slice that begins at ``starts``, within the whole operand."""
    axes = []
    for axis, start, size in zip(network.axes, starts, shape, strict=True):
        if axis.full == size:
            axes.append(axis)
        elif not axis.indices:
            # One of many: the index of an axis of length 1.
            index = Index(1)
            axes.append(Axis((index,), size, start + axis.start))
        else:
            axes.append(Axis(axis.indices, size, start + axis.start))
    return network.with_axes(axes)


@_rule("dynamic_slice")
def _dynamic_slice(equation, position, network, values):
    """A lookup along every axis that is cut: its start is known to the program alone."""
    axes = []
    shape = equation.invars[0].aval.shape
    for axis, full, atom in zip(network.axes, shape, equation.invars[1:], strict=True):
        if axis.full == full:
            axes.append(axis)
            continue
        start = values(atom)
        first = jnp.clip(_wide(jnp.asarray(start.array)), 0, full - axis.full)
        steps = jnp.arange(axis.full, dtype=first.dtype).reshape((1,) * first.ndim + (-1,))
        array = first[..., None] + steps
        rows = Value(array, (axis.full,), (0,), start.loops, start.batched)
        target = Index(full)
        network = network.with_factor(lookup(rows, (axis,), target))
        axes.append(Axis((target,), full))
    return network.with_axes(axes)


@_rule("gather")
def _gather(equation, position, network, values):
    """Rows of a table, along one axis, the others whole: an embedding."""
    numbers, params = equation.params["dimension_numbers"], equation.params
    shape = equation.invars[0].aval.shape
    if len(numbers.start_index_map) != 1 or numbers.operand_batching_dims:
        return None
    along = numbers.start_index_map[0]
    cut = (*shape[:along], 1, *shape[along + 1 :])
    if tuple(numbers.collapsed_slice_dims) != (along,) or tuple(params["slice_sizes"]) != cut:
        return None
    offset = [int(k) for k in numbers.offset_dims]
    places = tuple(a for k, a in enumerate(network.axes) if k not in offset)
    ids = values(equation.invars[1])
    array = _wide(ids.whole()[..., 0])
    if params["mode"] == jax.lax.GatherScatterMode.CLIP:
        array = jnp.clip(array, 0, shape[along] - 1)
    else:
        array = jnp.where(array < shape[along], array, -1)
    rows = Value(array, ids.shape[:-1], tuple(range(len(places))), ids.loops, ids.batched)
    target = Index(shape[along])
    kept = iter([network.axes[k] for k in offset])
    axes = [Axis((target,), n) if k == along else next(kept) for k, n in enumerate(shape)]
    return network.with_factor(lookup(rows, places, target)).with_axes(axes)


def _wide(integers: Any) -> Any:
    """In at least 32 bits: a table may be longer than the integers' own dtype can say."""
    return integers.astype(jnp.promote_types(integers.dtype, jnp.int32))


def lookup(rows: Value, axes: tuple[Axis, ...], target: Index) -> Lookup:
    """The factor that puts ``axes`` at the rows of a table."""
    factor = factor_of(rows, axes)
    return Lookup(factor.array, factor.indices, factor.batched, target)


@_rule("concatenate")
def _concatenate(equation, position, network, values):
    along = equation.params["dimension"]
    start = sum(atom.aval.shape[along] for atom in equation.invars[:position])
    return _part(network, along, start, equation.invars[position].aval.shape[along])


@_rule("pad")
def _pad(equation, position, network, values):
    config = equation.params["padding_config"]
    if position != 0 or any(low < 0 or high < 0 or inner for low, high, inner in config):
        return None
    shape = equation.invars[0].aval.shape
    found: Network | None = network
    for along, (low, _, _) in enumerate(config):
        if found is not None and found.axes[along].full != shape[along]:
            found = _part(found, along, low, shape[along])
    return found


def _part(network: Network, along: int, start: int, size: int) -> Network | None:
    """The network on ``start : start + size`` of one axis."""
    network = without_delta(network, along)
    axis = network.axes[along]
    if len(axis.indices) != 1 or not axis.is_whole:
        network = merged(network)
        axis = network.axes[along]
    network, index = restrict_index(network, axis.indices[0], start, size)
    new = Axis((index,) if size > 1 else (), size)
    if size == 1:
        network = _drop_unit(network, index)
    axes = (*network.axes[:along], new, *network.axes[along + 1 :])
    return dataclasses.replace(network, axes=axes)


def _drop_unit(network: Network, index: Index) -> Network:
    factors = []
    for factor in network.factors:
        if index in factor.indices:
            indices = tuple(i for i in factor.indices if i is not index)
            array = factor.array.reshape(tuple(i.size for i in indices))
            factors.append(factor.on(array, indices))
        else:
            factors.append(factor)
    return dataclasses.replace(network, factors=tuple(factors))


def merged(network: Network) -> Network:
    """One factor, whole axes, and a single index for each of them."""
    return _as_network(dense(network), network)


def whole(network: Network) -> Network:
    """Every axis whole: zeros outside of its range."""
    if all(axis.is_whole for axis in network.axes):
        return network
    return _as_network(dense(network), network)


# --- products


@_rule("dot_general")
def _dot_general(equation, position, network, values):
    contract, batch = equation.params["dimension_numbers"]
    mine, other = (0, 1) if position == 0 else (1, 0)
    ndim = len(equation.invars[mine].aval.shape)
    other_shape = equation.invars[other].aval.shape
    num_batch = len(batch[0])
    free = [
        [k for k in range(len(atom.aval.shape)) if k not in contract[s] and k not in batch[s]]
        for s, atom in enumerate(equation.invars)
    ]
    offset = [num_batch, num_batch + len(free[0])]
    my_axes: list[Axis | None] = [None] * ndim
    other_axes: list[Axis | None] = [None] * len(other_shape)
    for k in range(num_batch):
        my_axes[batch[mine][k]] = other_axes[batch[other][k]] = network.axes[k]
    for k, axis in enumerate(free[mine]):
        my_axes[axis] = network.axes[offset[mine] + k]
    for k, axis in enumerate(free[other]):
        other_axes[axis] = network.axes[offset[other] + k]
    for k, axis in enumerate(contract[mine]):
        fresh = axis_of(other_shape[contract[other][k]])
        my_axes[axis] = other_axes[contract[other][k]] = fresh
    factor = factor_of(values(equation.invars[other]), tuple(other_axes))  # type: ignore[arg-type]
    # The indices of the other operand's free axes are open no more; those not in the factor
    # (where it is a broadcast) still sum.
    return _summed(network, factor, tuple(my_axes))  # type: ignore[arg-type]


def _summed(network: Network, factor: Factor, axes: tuple[Axis, ...]) -> Network:
    return network.with_factor(factor).with_axes(axes)


@_rule("conv_general_dilated")
def _conv(equation, position, network, values):
    """The kernel of a convolution: a product of patches of the image and the cotangent."""
    params = equation.params
    groups = params["feature_group_count"]
    if position != 1 or params["batch_group_count"] != 1:
        return None
    numbers = params["dimension_numbers"]
    image, kernel = (atom.aval for atom in equation.invars)
    group: tuple[Index, ...] = ()
    feature = network.axes[numbers.out_spec[1]]
    if groups > 1:
        network, feature, group = _split_groups(network, numbers.out_spec[1], groups)
    out = network.axes
    channels = axis_of(image.shape[numbers.lhs_spec[1]] // groups)
    axes: list[Any] = [None] * len(kernel.shape)
    axes[numbers.rhs_spec[0]], axes[numbers.rhs_spec[1]] = feature, channels
    seen: list[Any] = [None] * len(image.shape)
    seen[numbers.lhs_spec[0]] = out[numbers.out_spec[0]].indices
    seen[numbers.lhs_spec[1]] = (*group, *channels.indices)
    pads = [(0, 0, 0)] * len(image.shape)
    for k, (at, before, after) in enumerate(
        zip(numbers.lhs_spec[2:], numbers.rhs_spec[2:], numbers.out_spec[2:], strict=True)
    ):
        taps = axes[before] = axis_of(kernel.shape[before])
        pads[at] = (*params["padding"][k], params["lhs_dilation"][k] - 1)
        seen[at] = Window(
            taps.indices,
            taps.size,
            out[after].indices,
            out[after].size,
            params["window_strides"][k],
            params["rhs_dilation"][k],
        )
    patches = _patches(values(equation.invars[0]), pads, seen)
    unique = len(set(patches.touched)) == len(patches.touched)
    if not unique or not all(axis.is_whole for axis in out):
        return None
    return _summed(network, patches, tuple(axes))


def _patches(image: Value, pads: list[tuple[int, int, int]], axes: list[Any]) -> Factor:
    """What a kernel sees of an image, all at once where it has a single tap."""

    def padded(array):
        return jax.lax.pad(array, jnp.zeros((), array.dtype), pads)

    array, loops, batched = lift(padded, image)
    lead = [(index,) for index in loops]
    patches = Patches(array, (), batched, (*lead, *axes))
    taps = math.prod(axes[k - len(lead)].size for k in patches.windows)
    return patches.explicit() if taps == 1 else patches


@_rule("custom_linear_solve")
def _solve(equation, position, network, values):
    """``A x = b``: minus the solution of the transposed system, as a cotangent of ``A x``."""
    lengths, solves = equation.params["const_lengths"], equation.params["jaxprs"]
    constants = sum(lengths)
    if len(equation.outvars) != 1 or position >= constants:
        return None
    adjoint = general(equation, constants, [network], values)
    adjoint = dataclasses.replace(adjoint, scale=-adjoint.scale)
    jaxpr = inline(solves.matvec).jaxpr
    operands = [*equation.invars[: lengths.matvec], equation.outvars[0]]
    names = dict(zip(jaxpr.invars, operands, strict=True))
    var = jaxpr.outvars[0]
    # Back from A x to A, one equation after another; where they branch, there is no rule.
    for inner in reversed(jaxpr.eqns):
        at = [
            k
            for k, atom in enumerate(inner.invars)
            if _reaches(jaxpr, atom, jaxpr.invars[position])
        ]
        rule = _RULES.get(inner.primitive.name)
        known = all(a in names for k, a in enumerate(inner.invars) if k not in at)
        if inner.outvars != [var] or len(at) != 1 or rule is None or not known:
            return None
        found = rule(inner, at[0], adjoint, lambda atom: values(names[atom]))
        if found is None:
            return None
        adjoint, var = found, inner.invars[at[0]]
    return adjoint


def _reaches(jaxpr: Any, atom: Any, source: Any) -> bool:
    """Whether an atom is computed from ``source``."""
    if atom is source:
        return True
    makers = [e for e in jaxpr.eqns if any(v is atom for v in e.outvars)]
    return any(_reaches(jaxpr, a, source) for e in makers for a in e.invars)


def _split_groups(network: Network, along: int, groups: int):
    """The feature axis as (group, feature in group), and the group's indices."""
    network = without_delta(whole(network), along)
    axis = network.axes[along]
    if len(axis.indices) > 1:
        network = merged(network)
        axis = network.axes[along]
    size = axis.full // groups
    if size > 1:
        network = split_index(network, axis.indices[0], (groups, size))
        axis = network.axes[along]
    return network, axis, axis.indices[:1]


# --- everything else


def dense(network: Network) -> Factor:
    """The network as one factor on its outputs, loops and whole axes, fresh indices for these."""
    network = explicit(network)
    axes = network.axes
    fresh = [axis_of(axis.full) for axis in axes]
    batched = any(factor.batched for factor in network.factors)
    dtypes = [factor.array.dtype for factor in network.factors]
    dtype = jnp.result_type(*dtypes) if dtypes else jnp.result_type(float)
    operands = [(factor.array, factor.indices) for factor in network.factors]
    present = {index for _, indices in operands for index in indices}
    lead = (*network.outputs, *network.loops)
    output: list[Index] = list(lead)
    sources: list[Index] = []
    for axis in axes:
        for index in axis.indices:
            if index in output or index in sources:
                # A delta: an identity matrix in its place.
                twin = Index(index.size)
                operands.append((jnp.eye(index.size, dtype=dtype), (index, twin)))
                present |= {index, twin}
                sources.append(twin)
            else:
                sources.append(index)
    for index in (*lead, *sources):
        if index not in present:
            operands.append((jnp.ones(index.size, dtype), (index,)))
    if not operands:
        array = jnp.asarray(network.scale, dtype)
    else:
        array = Contractor(dtype)(operands, (*lead, *sources))
        array = array * jnp.asarray(network.scale, array.dtype)
    array = array.reshape([i.size for i in lead] + [axis.size for axis in axes])
    for k, axis in enumerate(axes):
        if not axis.is_whole:
            pads = [(0, 0, 0)] * array.ndim
            pads[len(lead) + k] = (axis.start, axis.full - axis.start - axis.size, 0)
            array = jax.lax.pad(array, jnp.zeros((), array.dtype), pads)
    indices = (*lead, *(i for axis in fresh for i in axis.indices))
    return Factor(array.reshape([i.size for i in indices]), indices, batched)


def _as_network(factor: Factor, like: Network) -> Network:
    """A dense factor as a network with whole axes."""
    sizes = [axis.full for axis in like.axes]
    tail = list(factor.indices[len(factor.indices) - sum(s > 1 for s in sizes) :])
    axes = tuple(Axis((tail.pop(0),) if size > 1 else (), size) for size in sizes)
    return Network((factor,), axes, like.outputs, like.loops)


def general(
    equation: Any, position: int, networks: list[Network | None], values: Values
) -> Network:
    """The operand's Jacobian in full, by JAX's own derivative of the equation."""
    known = [(k, n) for k, n in enumerate(networks) if n is not None]
    outputs = known[0][1].outputs
    loops = known[0][1].loops
    cotangents = []
    for _, network in known:
        factor = dense(network)
        shape = tuple(axis.full for axis in network.axes)
        lead = [i.size for i in (*outputs, *loops)]
        cotangents.append((factor.array.reshape([*lead, *shape]), factor.batched))
    operands = [values(atom) for atom in equation.invars]

    plan = values.plan
    # By all parameters at once: a solve refuses a tangent of one copy of its matrix alone.
    varied = [
        k
        for k, atom in enumerate(equation.invars)
        if plan.kind(atom) == PARAMETER and has_derivative(equation, k)
    ]
    if position not in varied:
        varied = [position]

    def pull(parts, *primals):
        def function(varied_primals):
            full = list(primals)
            for k, value in zip(varied, varied_primals, strict=True):
                full[k] = value
            outs = bind(equation, full)
            return [outs[k] for k, _ in known]

        outs, vjp = jax.vjp(function, [primals[k] for k in varied])
        cast = [p.astype(o.dtype) for p, o in zip(parts, outs, strict=True)]
        return vjp(cast)[0][varied.index(position)]

    mapped: Callable[..., Any] = pull
    for _ in outputs:
        mapped = jax.vmap(mapped, in_axes=(0, *[None] * len(operands)))
    arrays = [
        jnp.moveaxis(a, range(len(outputs), len(outputs) + len(loops)), range(len(loops)))
        for a, _ in cotangents
    ]
    for depth in reversed(range(len(loops))):
        axes = tuple(0 if len(value.loops) > depth else None for value in operands)
        mapped = jax.vmap(mapped, in_axes=(0, *axes))
    array = mapped(arrays, *(value.whole() for value in operands))
    shape = equation.invars[position].aval.shape
    fresh = tuple(axis_of(size) for size in shape)
    indices = (*loops, *outputs, *(i for axis in fresh for i in axis.indices))
    batched = any(b for _, b in cotangents) or any(value.batched for value in operands)
    factor = Factor(array.reshape([i.size for i in indices]), indices, batched)
    return Network((factor,), fresh, outputs, loops)
