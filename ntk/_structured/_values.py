"""Values of a plan's variables as factors of a network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend import core

from ntk._structured._forward import variables
from ntk._structured._network import Axis, Factor, Index, Network
from ntk._structured._plan import Plan


@dataclass(frozen=True)
class Value:
    """A variable's value: axes of loops in front, and only the axes in which it varies.

    Attributes:
        array: of shape ``[*loops, *(shape[a] for a in axes)]``.
        shape: the variable's shape.
        axes: its axes that ``array`` has; along the others it is constant (a broadcast).
        loops: indices of the loops around it.
        batched: it differs from example to example.
    """

    array: Any
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    loops: tuple[Index, ...]
    batched: bool

    def whole(self) -> Array:
        """``[*loops, *shape]``."""
        depth = len(self.loops)
        array = jnp.asarray(self.array)
        missing = [depth + a for a in range(len(self.shape)) if a not in self.axes]
        array = jnp.expand_dims(array, missing)
        return jnp.broadcast_to(array, array.shape[:depth] + self.shape)


class Values:
    """Looks up variables of one plan; a loop's constants are found outside of it."""

    def __init__(
        self,
        plan: Plan,
        arrays: dict[int, Array],
        loops: tuple[Index, ...] = (),
        outside: "tuple[Values, dict[Any, Any]] | None" = None,
    ):
        self.plan, self.loops, self.outside = plan, loops, outside
        self.arrays = {var: arrays[k] for k, var in enumerate(variables(plan))}

    def __call__(self, atom: Any) -> Value:
        if isinstance(atom, core.Literal):
            constant = np.shape(atom.val)
            return Value(atom.val, constant, tuple(range(len(constant))), (), False)
        if self.outside is not None and atom in self.outside[1]:
            outer, names = self.outside
            return outer(names[atom])
        step = self.plan.source.get(atom)
        shape = atom.aval.shape
        if step is not None and step.name == "broadcast_in_dim":
            to = step.equation.params["broadcast_dimensions"]
            return broadcast(self(step.equation.invars[0]), to, shape)
        batched = self.plan.varies(atom)
        return Value(self.arrays[atom], shape, tuple(range(len(shape))), self.loops, batched)


def broadcast(value: Value, to: Sequence[int], shape: tuple[int, ...]) -> Value:
    """The value on axes ``to`` of a larger shape, kept as small as it is."""
    depth = len(value.loops)
    kept = [a for a in value.axes if value.shape[a] == shape[to[a]]]
    dropped = [depth + k for k, a in enumerate(value.axes) if a not in kept]
    array = jnp.squeeze(jnp.asarray(value.array), axis=dropped)
    return Value(array, shape, tuple(to[a] for a in kept), value.loops, value.batched)


def factor_of(value: Value, axes: tuple[Axis, ...]) -> Factor:
    """A value as a factor on the indices of ``axes``, cut to their ranges."""
    depth = len(value.loops)
    array = jnp.asarray(value.array)
    for k, a in enumerate(value.axes):
        if not axes[a].is_whole:
            stop = axes[a].start + axes[a].size
            array = jax.lax.slice_in_dim(array, axes[a].start, stop, axis=depth + k)
    indices = [*value.loops, *(i for a in value.axes for i in axes[a].indices)]
    array = array.reshape(tuple(index.size for index in indices))
    # An index twice: the diagonal of the array.
    unique = tuple(dict.fromkeys(indices))
    if len(unique) < len(indices):
        letters = {index: k for k, index in enumerate(unique)}
        array = jnp.einsum(array, [letters[i] for i in indices], list(range(len(unique))))
    return Factor(array, unique, value.batched)


def lift(function: Callable[..., Any], *values: Value) -> tuple[Any, tuple[Index, ...], bool]:
    """``function`` of whole values, mapped over the loops around them; loops and batched too.

    An inner value's loops begin with those of an outer one.
    """
    loops = max((value.loops for value in values), key=len, default=())
    mapped = function
    for depth in reversed(range(len(loops))):
        axes = tuple(0 if len(value.loops) > depth else None for value in values)
        mapped = jax.vmap(mapped, in_axes=axes)
    return (
        mapped(*(value.whole() for value in values)),
        loops,
        any(value.batched for value in values),
    )


def times_value(network: Network, value: Value) -> Network:
    """The Jacobian times a value of the shape of its axes, element by element."""
    return network.with_factor(factor_of(value, network.axes))
