"""Kernels from Jacobians kept as networks: ``J(x1) J(x2)^T`` without the Jacobians."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntk._axes import DIAGONAL, FULL, TRACE, Reduction
from ntk._structured._contract import Contractor, Letters, Operand
from ntk._structured._implicit import Lookup
from ntk._structured._jacobian import Jacobian
from ntk._structured._network import (
    Axis,
    Factor,
    Index,
    Network,
    restrict_index,
    split_index,
    stands_elsewhere,
    without_delta,
)
from ntk._structured._rules import merged
from ntk._symmetric import by_rows

FIRST, SECOND = "first", "second"
# Of rows of a symmetric kernel.
MOST_BLOCKS = 8


def gram(first: Jacobian, second: Jacobian, sizes: tuple[int, int], reduction: Reduction, dtype):
    """The kernel of two sets of examples, ``[n1, n2, *outputs]`` reduced.

    Args:
        first, second: Jacobians of one function at ``n1`` and ``n2`` examples.
        sizes: ``(n1, n2)``.
        reduction: what becomes of each axis.
        dtype: of sums.
    """
    contractor = Contractor(dtype)
    total = _Total(reduction, sizes, tuple(i.size for i in first.outputs), dtype)
    for one, two in zip(first.groups, second.groups, strict=True):
        for a in one.networks:
            for b in two.networks:
                _add_pair(total, contractor, a, b, first.outputs, second.outputs, one.metric)
    return total.result()


def symmetric_gram(jacobian: Jacobian, size: int, reduction: Reduction, dtype) -> Array:
    """The kernel of a set of examples with itself: half the products of ``gram``."""
    if reduction.modes[0] != FULL:
        return gram(jacobian, jacobian, (size, size), reduction, dtype)

    def block(start: int, stop: int) -> Array:
        rows, columns = (_examples(jacobian, start, end) for end in (stop, size))
        return gram(rows, columns, (stop - start, size - start), reduction, dtype)

    return by_rows(block, size, reduction, MOST_BLOCKS)


def _examples(jacobian: Jacobian, start: int, stop: int) -> Jacobian:
    """The Jacobian at some of its examples; one array is cut once."""
    arrays = {id(f.array): f.array for f in jacobian.factors if f.batched}
    cut = {key: array[start:stop] for key, array in arrays.items()}
    return jacobian.replacing(
        {
            id(f): dataclasses.replace(f, array=cut[id(f.array)])
            for f in jacobian.factors
            if f.batched
        }
    )


class _Total:
    """The sum over pairs; pairs that are a Kronecker delta in some outputs are kept apart."""

    def __init__(self, reduction: Reduction, sizes, shape: tuple[int, ...], dtype):
        self.reduction, self.dtype = reduction, dtype
        self.lengths: dict[Any, int] = {}
        self.output: list[Any] = []
        for k, (mode, size) in enumerate(zip(reduction.modes, (sizes, *shape), strict=True)):
            one, two = size if k == 0 else (size, size)
            self.lengths.update({(FIRST, k): one, (SECOND, k): two})
            if mode == FULL:
                self.output += [(FIRST, k), (SECOND, k)]
            elif mode == DIAGONAL:
                self.output += [(FIRST, k)]
        self.parts: dict[tuple[Any, ...], Array] = {}

    def add(self, operands: list[Operand], same: dict[Any, Any], scale: float, contractor) -> None:
        """Add a product; ``same`` names the letter that stands for another one."""
        letters = [same.get(x, x) for x in self.output]
        present = {x for _, names in operands for x in names}
        kept = tuple(x for x in dict.fromkeys(letters) if x in present)
        scale = scale / self.reduction.divisor(self.lengths)
        for k, mode in enumerate(self.reduction.modes):
            if mode == TRACE and same.get((FIRST, k), (FIRST, k)) not in present:
                letter = same.get((FIRST, k), (FIRST, k))
                if letter not in kept and letter not in letters:
                    scale *= self.lengths[FIRST, k]
        value = contractor(operands, kept) if operands else jnp.ones((), self.dtype)
        value = value.astype(self.dtype) * scale
        key = (kept, tuple(letters))
        self.parts[key] = self.parts[key] + value if key in self.parts else value

    def result(self) -> Array:
        shape = [self.lengths[x] for x in self.output]
        total = jnp.zeros(shape, self.dtype)
        for (kept, letters), value in self.parts.items():
            total = total + self._spread(value, kept, letters)
        return total

    def _spread(self, value: Array, kept, letters) -> Array:
        """A part on all output letters: constant along those it lacks, zero off its deltas."""
        seen: dict[Any, int] = {}
        for k, x in enumerate(letters):
            if x in seen:
                continue
            seen[x] = k
        array = jnp.expand_dims(
            value, [k for k, x in enumerate(letters) if seen[x] != k or x not in kept]
        )
        for k, x in enumerate(letters):
            if seen[x] != k:
                size = self.lengths[self.output[k]]
                shape = [1] * len(letters)
                shape[k] = shape[seen[x]] = size
                array = array * jnp.eye(size, dtype=self.dtype).reshape(shape)
        return array


def _add_pair(
    total: _Total,
    contractor: Contractor,
    a: Network,
    b: Network,
    first_outputs: tuple[Index, ...],
    second_outputs: tuple[Index, ...],
    metric: Factor | None,
) -> None:
    aligned = _align(a, b)
    if aligned is None:
        return
    a, b = aligned
    same = _Same()
    names: dict[Any, Any] = {}
    for side, outputs in ((FIRST, first_outputs), (SECOND, second_outputs)):
        names.update({(side, index): (side, k + 1) for k, index in enumerate(outputs)})
    for k, mode in enumerate(total.reduction.modes):
        if mode != FULL:
            same.join((FIRST, k), (SECOND, k))
    for one, two in zip(a.axes, b.axes, strict=True):
        for left, right in zip(one.indices, two.indices, strict=True):
            x, y = (FIRST, left), (SECOND, right)
            same.join(names.get(x, x), names.get(y, y))

    def letter(side: str, index: Index) -> Any:
        return same.of(names.get((side, index), (side, index)))

    ends = {same.of(x) for x in total.lengths}
    sides = ((FIRST, a, same.of((FIRST, 0))), (SECOND, b, same.of((SECOND, 0))))
    operands, tables = _operands(sides, letter, ends, total.dtype)
    if metric is not None:
        operands.append(_diagonal(metric.array, tuple(letter(FIRST, i) for i in metric.indices)))
    present = {x for _, own in operands for x in own} | tables
    shared = {letter(FIRST, i): i.size for axis in a.axes for i in axis.indices}
    scale = a.scale * b.scale
    for x, size in shared.items():
        if x not in present and x not in ends:
            scale *= size
    mapping = {x: same.of(x) for x in total.lengths}
    total.add(operands, mapping, scale, contractor)


def _operands(
    sides: Any, letter: Any, ends: set[Any], dtype: Any
) -> tuple[list[Operand], set[Any]]:
    """The factors of both sides by their letters, and the letters of the tables looked up."""
    operands: list[Operand] = []
    lookups: dict[Any, list[tuple[Lookup, Letters]]] = {}
    for side, network, batch in sides:
        for factor in network.factors:
            lead = (batch,) if factor.batched else ()
            own = (*lead, *(letter(side, index) for index in factor.indices))
            if isinstance(factor, Lookup):
                lookups.setdefault(letter(side, factor.target), []).append((factor, own))
            else:
                operands.append(_diagonal(factor.array, own))
    elsewhere = ends.union(*(own for _, own in operands))
    for target, found in lookups.items():
        operands += _looked_up(target, found, target in elsewhere, dtype)
    return operands, set(lookups)


def _diagonal(array: Array, letters: Letters) -> Operand:
    """An operand with every letter once."""
    unique = tuple(dict.fromkeys(letters))
    if len(unique) < len(letters):
        codes = {x: k for k, x in enumerate(unique)}
        array = jnp.einsum(array, [codes[x] for x in letters], list(range(len(unique))))
    return array, unique


def _looked_up(
    target: Any, found: list[tuple[Lookup, Letters]], elsewhere: bool, dtype: Any
) -> list[Operand]:
    """Lookups into one table: where two agree, or zeros and ones along the table."""
    if len(found) != 2 or elsewhere:
        return [_diagonal(f.explicit(dtype).array, (*own, target)) for f, own in found]
    (first, one), (second, two) = found
    both = (*one, *two)
    rows = first.array.reshape(first.array.shape + (1,) * second.array.ndim)
    others = second.array.reshape((1,) * first.array.ndim + second.array.shape)
    return [_diagonal(((rows == others) & (rows >= 0)).astype(dtype), both)]


class _Same:
    """Letters that are one: a union of sets, an output letter in front."""

    def __init__(self):
        self.parent: dict[Any, Any] = {}

    def of(self, x: Any) -> Any:
        while x in self.parent:
            x = self.parent[x]
        return x

    def join(self, x: Any, y: Any) -> None:
        x, y = self.of(x), self.of(y)
        if x != y:
            if (isinstance(y[1], int) and not isinstance(x[1], int)) or (
                isinstance(y[1], int) and y[0] == FIRST and x[0] == SECOND
            ):
                x, y = y, x
            self.parent[y] = x


def _align(a: Network, b: Network) -> tuple[Network, Network] | None:
    """Both networks with equal indices on every axis, or None where they never overlap."""
    ranges = []
    for one, two in zip(a.axes, b.axes, strict=True):
        start = max(one.start, two.start)
        stop = min(one.start + one.size, two.start + two.size)
        if start >= stop:
            return None
        ranges.append((start, stop))
    a, b = _within(a, ranges), _within(b, ranges)
    found = _refined(a, b)
    if found is None:
        a, b = (_within(_as_one_factor(n), ranges) for n in (a, b))
        found = _refined(a, b)
    return found


def _within(network: Network, ranges: list[tuple[int, int]]) -> Network:
    """The network on a range of each axis."""

    def outside() -> list[int]:
        return [
            k
            for k, (axis, (start, stop)) in enumerate(zip(network.axes, ranges, strict=True))
            if (axis.start, axis.start + axis.size) != (start, stop)
        ]

    if any(len(network.axes[k].indices) != 1 or stands_elsewhere(network, k) for k in outside()):
        network = _as_one_factor(network)
    for k in outside():
        axis, (start, stop) = network.axes[k], ranges[k]
        network, index = restrict_index(network, axis.indices[0], start - axis.start, stop - start)
        axes = (*network.axes[:k], Axis((index,), axis.full, start), *network.axes[k + 1 :])
        network = dataclasses.replace(network, axes=axes)
    return network


def _as_one_factor(network: Network) -> Network:
    """The network as a single factor with whole axes, of one index each."""
    batched = [f.array for f in network.factors if f.batched]
    found: list[Network] = []

    def one(arrays: list[Array]) -> Array:
        left = iter(arrays)
        factors = tuple(f.on(next(left), f.indices) if f.batched else f for f in network.factors)
        whole = merged(dataclasses.replace(network, factors=factors))
        (factor,) = whole.factors
        found[:] = [dataclasses.replace(whole, factors=(factor.on(None, factor.indices),))]
        return factor.array

    array = jax.vmap(one)(batched) if batched else one([])
    (factor,) = found[0].factors
    return dataclasses.replace(found[0], factors=(factor.on(array, factor.indices),))


def _refined(a: Network, b: Network) -> tuple[Network, Network] | None:
    """The composite indices of every axis split until both sides have equal sizes, if they can."""
    for along in range(len(a.axes)):
        k = 0
        while k < min(len(n.axes[along].indices) for n in (a, b)):
            left, right = (n.axes[along].indices[k].size for n in (a, b))
            if max(left, right) % min(left, right):
                return None
            if left > right:
                a = _split(a, along, k, (right, left // right))
            elif right > left:
                b = _split(b, along, k, (left, right // left))
            k += 1
    return a, b


def _split(network: Network, along: int, k: int, sizes: tuple[int, int]) -> Network:
    """One index of an axis in two; not of the others that it is."""
    if stands_elsewhere(network, along):
        network = without_delta(network, along)
    return split_index(network, network.axes[along].indices[k], sizes)
