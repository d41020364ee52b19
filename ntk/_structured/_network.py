"""A Jacobian as a tensor network: a product of small factors in place of one large array."""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax import Array


class Index:
    """One summation or open index, told apart by identity."""

    __slots__ = ("size",)

    def __init__(self, size: int):
        self.size = size

    def __repr__(self) -> str:
        return f"i{id(self) % 9973}:{self.size}"


@dataclass(frozen=True, eq=False)
class Factor:
    """An array with one index per axis; ``batched``: it differs from example to example.

    While an example's Jacobian is built the array is that example's. Afterwards a batched
    factor has a leading axis over the examples, which has no entry in ``indices``.
    """

    array: Array
    indices: tuple[Index, ...]
    batched: bool

    @property
    def touched(self) -> tuple[Index, ...]:
        """Every index on which its value depends."""
        return self.indices

    def on(self, array: Any, indices: tuple[Index, ...]) -> "Factor":
        """The factor with another array and its indices."""
        return dataclasses.replace(self, array=array, indices=indices)


class Implicit(Factor):
    """A factor whose array is smaller than what it stands for.

    Its array need not have one axis per index of ``indices``.
    """

    @property
    def implied(self) -> tuple[Index, ...]:
        """The indices that can be cut, split or summed over in the explicit factor alone."""
        raise NotImplementedError

    def explicit(self, dtype: Any) -> Factor:
        """The factor in full, in ``dtype`` if its numbers have none of their own."""
        raise NotImplementedError


@dataclass(frozen=True)
class Axis:
    """One axis of a variable: a row-major tuple of indices that cover ``start : start + size``.

    Outside that range the Jacobian is zero, as it is for a slice of a parameter.
    """

    indices: tuple[Index, ...]
    full: int
    start: int = 0

    @property
    def size(self) -> int:
        return math.prod(index.size for index in self.indices)

    @property
    def is_whole(self) -> bool:
        return self.size == self.full


@dataclass(frozen=True, eq=False)
class Network:
    """``J[outputs, *axes]``, the product of its factors summed over every other index.

    An output index may stand in ``axes`` itself: the Jacobian is a Kronecker delta there, and
    no identity matrix is made. An index in no factor and not open stands for a factor of one
    per value. ``loops``: of the loops around; a network that has left its loop sums over its index.
    """

    factors: tuple[Factor, ...]
    axes: tuple[Axis, ...]
    outputs: tuple[Index, ...]
    loops: tuple[Index, ...] = ()
    scale: float = 1.0

    def with_axes(self, axes: Iterable[Axis]) -> "Network":
        """Other axes; an index open until now and in no factor is summed: a factor of its size."""
        axes = tuple(axes)
        kept = {index for axis in axes for index in axis.indices} | set(self.outputs)
        dropped = {i for axis in self.axes for i in axis.indices if i not in kept}
        used = {index for factor in self.factors for index in factor.touched}
        count = math.prod(index.size for index in dropped - used)
        return dataclasses.replace(self, axes=axes, scale=self.scale * count)

    def with_factor(self, factor: Factor) -> "Network":
        """The Jacobian with one factor more."""
        return dataclasses.replace(self, factors=(*self.factors, factor))


def axis_of(size: int) -> Axis:
    """A whole axis with an index of its own; none where the size is 1."""
    return Axis(() if size == 1 else (Index(size),), size)


def split_index(network: Network, index: Index, sizes: Sequence[int]) -> Network:
    """``index`` as a row-major tuple of new ones."""
    network = explicit(network, index)
    parts = tuple(Index(size) for size in sizes)

    def replaced(indices: tuple[Index, ...]) -> tuple[Index, ...]:
        at = indices.index(index)
        return indices[:at] + parts + indices[at + 1 :]

    factors = []
    for factor in network.factors:
        if index in factor.indices:
            indices = replaced(factor.indices)
            array = factor.array.reshape(_batch(factor) + tuple(i.size for i in indices))
            factors.append(factor.on(array, indices))
        else:
            factors.append(factor)
    axes = tuple(
        Axis(replaced(a.indices), a.full, a.start) if index in a.indices else a
        for a in network.axes
    )
    return dataclasses.replace(network, factors=tuple(factors), axes=axes)


def restrict_index(network: Network, index: Index, start: int, size: int) -> tuple[Network, Index]:
    """The network on ``start : start + size`` of an index, a new one in its place."""
    network = explicit(network, index)
    new = Index(size)
    factors = []
    for factor in network.factors:
        if index in factor.indices:
            at = len(_batch(factor)) + factor.indices.index(index)
            cut = [slice(None)] * factor.array.ndim
            cut[at] = slice(start, start + size)
            indices = tuple(new if i is index else i for i in factor.indices)
            factors.append(factor.on(factor.array[tuple(cut)], indices))
        else:
            factors.append(factor)
    return dataclasses.replace(network, factors=tuple(factors)), new


def explicit(network: Network, index: Index | None = None) -> Network:
    """Implicit factors in full: all of them, or those that imply ``index``."""
    found = [
        isinstance(f, Implicit) and (index is None or index in f.implied) for f in network.factors
    ]
    if not any(found):
        return network
    dtypes = [f.array.dtype for f in network.factors if jnp.issubdtype(f.array.dtype, jnp.floating)]
    dtype = jnp.result_type(*dtypes) if dtypes else jnp.result_type(float)
    factors = tuple(
        f.explicit(dtype) if isinstance(f, Implicit) and here else f
        for f, here in zip(network.factors, found, strict=True)
    )
    return dataclasses.replace(network, factors=factors)


def stands_elsewhere(network: Network, along: int) -> bool:
    """Whether an index of an axis is an output as well, or part of another axis."""
    others = [i for k, a in enumerate(network.axes) if k != along for i in a.indices]
    return any(i in network.outputs or i in others for i in network.axes[along].indices)


def without_delta(network: Network, position: int) -> Network:
    """An identity matrix in place of an index that stands in an axis and elsewhere too."""
    axis = network.axes[position]
    others = [i for k, a in enumerate(network.axes) if k != position for i in a.indices]
    for index in axis.indices:
        if index in network.outputs or index in others:
            fresh = Index(index.size)
            eye = Factor(jnp.eye(index.size), (index, fresh), False)
            indices = tuple(fresh if i is index else i for i in axis.indices)
            axis = Axis(indices, axis.full, axis.start)
            axes = (*network.axes[:position], axis, *network.axes[position + 1 :])
            network = dataclasses.replace(network.with_factor(eye), axes=axes)
    return network


def _batch(factor: Factor) -> tuple[int, ...]:
    return factor.array.shape[: factor.array.ndim - len(factor.indices)]
