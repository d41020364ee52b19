"""Products of factors of one side alone, done before a kernel is cut in blocks of rows."""

import dataclasses
import itertools
import math
from typing import Any

from ntk._axes import FULL, TRACE, Reduction
from ntk._structured._backward import Jacobian
from ntk._structured._contract import Contractor, cheapest
from ntk._structured._network import Factor, Index, Lookup, Network

FIRST, SECOND = "first", "second"
# A product that one side needs alone is taken first where it costs at most this much more: it is
# done once for all blocks, and for all parameters of a layer.
TOLERANCE = 1.05
# The cheapest order is sought among so many factors only.
MOST_FACTORS = 6


def simplified(jacobian: Jacobian, size: int, reduction: Reduction, dtype: Any) -> Jacobian:
    """The Jacobian at ``size`` examples with fewer factors, for its kernel with itself."""
    contractor = Contractor(dtype)
    made: dict[Any, Factor] = {}
    every = [network for of_leaf in jacobian.networks for network in of_leaf]
    done: dict[int, Network] = {}
    # A layer's weight before its bias: what was multiplied for one is not for the other again.
    for network in sorted(every, key=lambda n: -len(n.factors)):
        start = _reused(network, made)
        done[id(network)] = _simplified(start, size, reduction, contractor, made)
    networks = [[done[id(n)] for n in of_leaf] for of_leaf in jacobian.networks]
    return Jacobian(networks, jacobian.outputs)


def _simplified(
    network: Network,
    size: int,
    reduction: Reduction,
    contractor: Contractor,
    made: dict[Any, Factor],
) -> Network:
    if any(isinstance(f, Lookup) for f in network.factors):
        return network
    while 1 < len(network.factors) <= MOST_FACTORS:
        cost = _cost(network, [_Shape.of(f) for f in network.factors], size, reduction)
        options = []
        for a, b in itertools.combinations(network.factors, 2):
            needed = _needed(network, a, b)
            joined = _Shape(tuple(i for i in _union(a, b) if i in needed), a.batched or b.batched)
            others = [_Shape.of(f) for f in network.factors if f is not a and f is not b]
            own = 2 * _work(a, b, size) if set(_union(a, b)) - needed else _work(a, b, size)
            total = own + _cost(network, [*others, joined], size, reduction)
            options.append((total, a, b, needed))
        total, a, b, needed = min(options, key=lambda option: option[0])
        if total > TOLERANCE * cost:
            break
        product = _product(a, b, needed, contractor)
        made[id(a.array), a.indices, id(b.array), b.indices] = product
        rest = [f for f in network.factors if f is not a and f is not b]
        network = dataclasses.replace(network, factors=(*rest, product))
    return network


@dataclasses.dataclass(frozen=True)
class _Shape:
    """A factor without its array."""

    indices: tuple[Index, ...]
    batched: bool

    @classmethod
    def of(cls, factor: Factor) -> "_Shape":
        return cls(factor.indices, factor.batched)


def _cost(network: Network, factors: list[_Shape], size: int, reduction: Reduction) -> float:
    """Operations of the cheapest contraction of these factors with themselves."""
    shared = {i for axis in network.axes for i in axis.indices}
    for index, mode in zip(network.outputs, reduction.modes[1:], strict=True):
        # An output that is an axis as well stands for a delta between the sides.
        shared.discard(index) if mode == FULL else shared.add(index)

    def operand(factor: _Shape, side: str) -> tuple[tuple[int, ...], tuple[Any, ...]]:
        lead = ((side, None),) if factor.batched else ()
        letters = (i if i in shared else (side, i) for i in factor.indices)
        shape = (size,) if factor.batched else ()
        return (*shape, *(i.size for i in factor.indices)), (*lead, *letters)

    operands = [operand(f, side) for side in (FIRST, SECOND) for f in factors]
    present = {x for _, letters in operands for x in letters}
    outputs = zip(network.outputs, reduction.modes[1:], strict=True)
    ends: list[Any] = [(FIRST, None), (SECOND, None)]
    for index, mode in outputs:
        if mode == FULL:
            ends += [(FIRST, index), (SECOND, index)]
        elif mode != TRACE:
            ends.append(index)
    return cheapest(operands, tuple(x for x in ends if x in present))[1]


def _needed(network: Network, a: Factor, b: Factor) -> set[Index]:
    """The indices that something other than these two factors needs."""
    ends = {i for axis in network.axes for i in axis.indices} | set(network.outputs)
    return ends.union(*(f.touched for f in network.factors if f is not a and f is not b))


def _union(a: Factor, b: Factor) -> tuple[Index, ...]:
    return tuple(dict.fromkeys((*a.indices, *b.indices)))


def _work(a: Factor, b: Factor, size: int) -> float:
    """Multiplications of a product of two factors, of both sides at once."""
    return math.prod(i.size for i in _union(a, b)) * (size if a.batched or b.batched else 1)


def _reused(network: Network, made: dict[Any, Factor]) -> Network:
    """The network with products that exist in place of their two factors."""
    factors = list(network.factors)
    for a, b in itertools.permutations(network.factors, 2):
        product = made.get((id(a.array), a.indices, id(b.array), b.indices))
        if product is None or a not in factors or b not in factors:
            continue
        if _needed(network, a, b).intersection(_union(a, b)) <= set(product.indices):
            factors = [*(f for f in factors if f is not a and f is not b), product]
    return dataclasses.replace(network, factors=tuple(factors))


def _product(a: Factor, b: Factor, needed: set[Index], contractor: Contractor) -> Factor:
    """Two factors as one, summed over the indices that nothing else needs."""
    lead: tuple[Any, ...] = (None,) if a.batched or b.batched else ()
    indices = tuple(i for i in _union(a, b) if i in needed)
    operands = [(f.array, ((None,) if f.batched else ()) + f.indices) for f in (a, b)]
    return Factor(contractor(operands, (*lead, *indices)), indices, bool(lead))
