"""Products of factors of one side alone, done before the two sides of a kernel meet."""

import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import Any

from ntk._axes import FULL, TRACE, Reduction
from ntk._structured._contract import Contractor, cheapest
from ntk._structured._implicit import Lookup, Patches, Window
from ntk._structured._jacobian import Group, Jacobian
from ntk._structured._network import Axis, Factor, Index, Network, restrict_index, stands_elsewhere

# A product that one side needs alone is taken first where it costs at most this much more: it is
# done once for all blocks, and for all parameters of a layer.
TOLERANCE = 1.05
# The cheapest order is sought among so many factors only.
MOST_FACTORS = 6
# A convolution's kernel is taken tap by tap, up to so many of them.
MOST_TAPS = 16


def simplified(
    jacobian: Jacobian, sizes: tuple[int, int], examples: int, reduction: Reduction, dtype: Any
) -> Jacobian:
    """A Jacobian with fewer factors.

    Args:
        jacobian: at the examples of one side.
        sizes: of the kernel.
        examples: for how many in all products of one side are taken: both sides' together, or one
            side's where the other is the same.
        reduction, dtype: of the kernel.
    """
    return _Simplifier(sizes, examples, reduction, dtype).of(jacobian)


class _Simplifier:
    """What was multiplied for one network is found again for the others."""

    def __init__(self, sizes: tuple[int, int], examples: int, reduction: Reduction, dtype: Any):
        self.sizes, self.examples, self.reduction = sizes, examples, reduction
        self.contractor = Contractor(dtype)
        self.made: dict[Any, Factor] = {}
        self.cut: dict[Any, tuple[Patches, Patches]] = {}
        self.spelled: dict[Any, tuple[Patches, Factor]] = {}

    def of(self, jacobian: Jacobian) -> Jacobian:
        metrics = {id(n): g.metric for g in jacobian.groups for n in g.networks}
        done: dict[int, list[Network]] = {}
        every = [network for group in jacobian.groups for network in group.networks]
        # A layer's weight before its bias: products of the one serve the other.
        for network in sorted(every, key=lambda n: -len(n.factors)):
            # A metric is on indices of the network, which must stay.
            start = network if metrics[id(network)] is None else self._explicit(network)
            found = self._simplified(self._reused(start))
            done[id(network)] = [self._explicit(n) for n in found]
        groups = [
            Group([m for n in g.networks for m in done[id(n)]], g.metric) for g in jacobian.groups
        ]
        return Jacobian(groups, jacobian.outputs)

    def _simplified(self, network: Network) -> list[Network]:
        if any(isinstance(f, Lookup) for f in network.factors):
            return [network]
        while 1 < len(network.factors) <= MOST_FACTORS:
            shapes = [_Shape.of(f) for f in network.factors]
            cost = self._cost(network, shapes)
            options = []
            for a, b in itertools.combinations(network.factors, 2):
                needed = _needed(network, a, b)
                joined = _Shape(
                    tuple(i for i in _union(a, b) if i in needed), a.batched or b.batched
                )
                others = [_Shape.of(f) for f in network.factors if f is not a and f is not b]
                own = (2 if set(_union(a, b)) - needed else 1) * self._work(a, b)
                options.append((own + self._cost(network, [*others, joined]), a, b))
            total, a, b = min(options, key=lambda option: option[0])
            if total > TOLERANCE * cost:
                break
            patches = next((f for f in (a, b) if isinstance(f, Patches)), None)
            if patches is None:
                network = self._joined(network, a, b)
                continue
            other = b if patches is a else a
            found = []
            for part, seen, rest in self._by_taps(network, patches, other):
                found += self._simplified(self._joined(part, seen, rest))
            return found
        return [network]

    def _joined(self, network: Network, a: Factor, b: Factor) -> Network:
        """With the product of two factors in their place."""
        product = _product(a, b, _needed(network, a, b), self.contractor)
        self.made[id(a.array), a.indices, id(b.array), b.indices] = product
        rest = [f for f in network.factors if f is not a and f is not b]
        return dataclasses.replace(network, factors=(*rest, product))

    def _by_taps(
        self, network: Network, patches: Patches, other: Factor
    ) -> Iterator[tuple[Network, Factor, Factor]]:
        """The networks of a kernel's taps, and what stands in them for the two factors."""
        parts = [(network, patches, other)]
        count = 1
        for along in patches.windows:
            window = patches.axes[along]
            assert isinstance(window, Window)
            at = _own_axis(network, window.taps)
            count *= window.size
            if at is not None and count <= MOST_TAPS:
                parts = [cut for part in parts for cut in self._cut(*part, along, at)]
        for part, seen, rest in parts:
            factor = self._spelled(seen)
            yield _replaced(part, seen, factor), factor, rest

    def _cut(
        self, network: Network, patches: Patches, other: Factor, along: int, at: int
    ) -> Iterator[tuple[Network, Patches, Factor]]:
        """Cut into the taps of one window, which is axis ``at`` of the network."""
        window = patches.axes[along]
        assert isinstance(window, Window)
        (index,) = network.axes[at].indices
        rest = [f for f in network.factors if f is not patches]
        for tap in range(window.size):
            seen = self._at_tap(patches, along, tap)
            part, new = dataclasses.replace(network, factors=tuple(rest)), Index(1)
            if any(index in f.touched for f in rest):
                part, new = restrict_index(part, index, tap, 1)
            axis = Axis((new,), window.size, tap)
            axes = (*part.axes[:at], axis, *part.axes[at + 1 :])
            factor = part.factors[rest.index(other)]
            yield dataclasses.replace(part, factors=(*part.factors, seen), axes=axes), seen, factor

    def _at_tap(self, patches: Patches, along: int, tap: int) -> Patches:
        key = id(patches.array), patches.axes, along, tap
        if key not in self.cut:
            # With the patches themselves, so that their identity stays theirs.
            self.cut[key] = patches, patches.at_tap(along, tap)
        return self.cut[key][1]

    def _spelled(self, patches: Patches) -> Factor:
        key = id(patches.array), patches.axes
        if key not in self.spelled:
            self.spelled[key] = patches, patches.explicit()
        return self.spelled[key][1]

    def _explicit(self, network: Network) -> Network:
        """Without patches."""
        factors = tuple(self._spelled(f) if isinstance(f, Patches) else f for f in network.factors)
        return dataclasses.replace(network, factors=factors)

    def _reused(self, network: Network) -> Network:
        """The network with products that exist in place of their two factors."""
        factors = list(network.factors)
        for a, b in itertools.permutations(network.factors, 2):
            product = self.made.get((id(a.array), a.indices, id(b.array), b.indices))
            if product is None or a not in factors or b not in factors:
                continue
            if _needed(network, a, b).intersection(_union(a, b)) <= set(product.indices):
                factors = [*(f for f in factors if f is not a and f is not b), product]
        return dataclasses.replace(network, factors=tuple(factors))

    def _work(self, a: Factor, b: Factor) -> float:
        """Multiplications of a product of two factors."""
        count = self.examples if a.batched or b.batched else 1
        return math.prod(i.size for i in _union(a, b)) * count

    def _cost(self, network: Network, factors: list["_Shape"]) -> float:
        """Operations of the cheapest contraction of these factors with themselves."""
        batch, *modes = self.reduction.modes
        shared = {i for axis in network.axes for i in axis.indices}
        for index, mode in zip(network.outputs, modes, strict=True):
            # An output that is an axis as well stands for a delta between the sides.
            shared.discard(index) if mode == FULL else shared.add(index)

        def operand(factor: _Shape, side: int) -> tuple[tuple[int, ...], tuple[Any, ...]]:
            example = (side if batch == FULL else 0, None)
            letters = (i if i in shared else (side, i) for i in factor.indices)
            shape = [i.size for i in factor.indices]
            if not factor.batched:
                return tuple(shape), tuple(letters)
            return (self.sizes[side], *shape), (example, *letters)

        operands = [operand(f, side) for side in (0, 1) for f in factors]
        present = {x for _, letters in operands for x in letters}
        ends: list[Any] = [(0, None), (1, None)] if batch == FULL else [(0, None)]
        if batch == TRACE:
            ends = []
        for index, mode in zip(network.outputs, modes, strict=True):
            if mode == FULL:
                ends += [(0, index), (1, index)]
            elif mode != TRACE:
                ends.append(index)
        return cheapest(operands, tuple(x for x in ends if x in present))[1]


@dataclasses.dataclass(frozen=True)
class _Shape:
    """A factor without its array."""

    indices: tuple[Index, ...]
    batched: bool

    @classmethod
    def of(cls, factor: Factor) -> "_Shape":
        return cls(factor.touched, factor.batched)


def _needed(network: Network, a: Factor, b: Factor) -> set[Index]:
    """The indices that something other than these two factors needs."""
    ends = {i for axis in network.axes for i in axis.indices} | set(network.outputs)
    return ends.union(*(f.touched for f in network.factors if f is not a and f is not b))


def _union(a: Factor, b: Factor) -> tuple[Index, ...]:
    return tuple(dict.fromkeys((*a.touched, *b.touched)))


def _own_axis(network: Network, taps: tuple[Index, ...]) -> int | None:
    """The axis of the network that is a kernel's axis alone and whole."""
    for at, axis in enumerate(network.axes):
        if axis.indices == taps and len(taps) == 1 and axis.is_whole:
            return None if stands_elsewhere(network, at) else at
    return None


def _replaced(network: Network, old: Factor, new: Factor) -> Network:
    factors = tuple(new if f is old else f for f in network.factors)
    return dataclasses.replace(network, factors=factors)


def _product(a: Factor, b: Factor, needed: set[Index], contractor: Contractor) -> Factor:
    """Two factors as one, summed over the indices that nothing else needs."""
    lead: tuple[Any, ...] = (None,) if a.batched or b.batched else ()
    indices = tuple(i for i in _union(a, b) if i in needed)
    operands = [(f.array, ((None,) if f.batched else ()) + f.indices) for f in (a, b)]
    return Factor(contractor(operands, (*lead, *indices)), indices, bool(lead))
