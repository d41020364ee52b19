"""Normalised weights: a Jacobian that is another one less its projection, as squares of its own.

With ``w = v / |v|`` a Jacobian is ``N + M u``: ``N`` as if the norm were constant, and what the
norm adds, along ``u = v`` alone. Then ``(N + M u)(N + M u)^T = N N^T + M (N u)^T + (N u) M^T +
M (u u^T) M^T``, and ``N u`` is ``M`` again but for weights that no example and no output enters:
all but the first are ``M`` times its own transpose with one weight in between. A gain ``g`` in
``w = g v / |v|`` has that ``M`` for its Jacobian, and joins it.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from ntk._structured._contract import Contractor
from ntk._structured._jacobian import Group, Jacobian
from ntk._structured._network import Axis, Factor, Implicit, Index, Network

Renaming = dict[Index, Index]


def without_projections(jacobian: Jacobian, dtype: Any) -> Jacobian:
    """The Jacobian whose kernel has one square in place of a norm's four products.

    Args:
        jacobian: at any examples.
        dtype: of sums.
    """
    groups: list[Group] = []
    for group in jacobian.groups:
        groups += _parted(Group(_like_terms(group.networks)), dtype)
    if all(group.metric is None for group in groups):
        return Jacobian(groups, jacobian.outputs)
    joined: list[Group] = []
    for group in groups:
        found = (_joined(other, group, dtype) for other in joined)
        at, both = next(((k, f) for k, f in enumerate(found) if f is not None), (None, group))
        if at is None:
            joined.append(both)
        else:
            joined[at] = both
    return Jacobian(joined, jacobian.outputs)


def _like_terms(networks: list[Network]) -> list[Network]:
    """Equal networks as one: the two of a product ``v v``."""
    kept: list[Network] = []
    for network in networks:
        for k, other in enumerate(kept):
            start = _aligned(network, other)
            if start is not None and _renaming(network.factors, other.factors, start) is not None:
                kept[k] = dataclasses.replace(other, scale=other.scale + network.scale)
                break
        else:
            kept.append(network)
    return kept


def _parted(group: Group, dtype: Any) -> list[Group]:
    """A sum of a network and of its projection as two groups, every other one as it is."""
    if len(group.networks) == 2:
        one, two = group.networks
        for network, projection in ((one, two), (two, one)):
            square = _square(network, projection, dtype)
            if square is not None:
                return [Group([network]), square]
    return [group]


def _square(network: Network, projection: Network, dtype: Any) -> Group | None:
    """What the projection adds to the kernel of the network, as the square of one network."""
    names = _aligned(projection, network)
    if network.loops or projection.loops or names is None:
        return None
    core, weights = _core(projection)
    touched = {i for f in core for i in f.touched} | set(projection.outputs)
    along = {i for axis in projection.axes for i in axis.indices} - touched
    direction = [f for f in weights if along.intersection(f.indices)]
    outer = [f for f in weights if f not in direction]
    if not along or along - {i for f in direction for i in f.indices}:
        return None
    axes = tuple(
        Axis(kept, axis.full)
        for axis in projection.axes
        if (kept := tuple(i for i in axis.indices if i not in along))
    )
    if any(axis.full != axis.size for axis in axes):
        return None
    moved = [f.on(f.array, tuple(names[i] for i in f.indices)) for f in direction]
    first = dataclasses.replace(
        network,
        factors=(*network.factors, *moved),
        axes=tuple(Axis(tuple(names[i] for i in axis.indices), axis.full) for axis in axes),
    )
    own, inner = _core(first)
    start = _aligned(first, dataclasses.replace(projection, axes=axes))
    if start is None or (found := _renaming(own, core, start)) is None:
        return None
    inner = [f.on(f.array, tuple(found[i] for i in f.indices)) for f in inner]
    contract = Contractor(dtype)
    length = _weight(contract, [*direction, *direction], along)
    cross = _weight(contract, [*outer, *inner], set(), 2 * network.scale * projection.scale)
    square = _weight(contract, [*outer, *outer], set(), projection.scale**2)
    rest = dataclasses.replace(projection, factors=tuple(core), axes=axes, scale=1.0)
    return Group([rest], _sum(cross, _weight(contract, [square, length], set())))


def _joined(one: Group, two: Group, dtype: Any) -> Group | None:
    """Two squares of one network but for weights as a single one."""
    if len(one.networks) != 1 or len(two.networks) != 1 or (one.metric, two.metric) == (None, None):
        return None
    a, b = one.networks[0], two.networks[0]
    start = _aligned(b, a)
    if start is None or not all(axis.is_whole for axis in (*a.axes, *b.axes)):
        return None
    (core, weights), (other, others) = _core(a), _core(b)
    found = _renaming(other, core, start)
    if found is None:
        return None
    contract = Contractor(dtype)
    metrics = [_metric(contract, one.metric, weights, a.scale)]
    second = _metric(contract, two.metric, others, b.scale)
    metrics.append(second.on(second.array, tuple(found[i] for i in second.indices)))
    return Group([dataclasses.replace(a, factors=tuple(core), scale=1.0)], _sum(*metrics))


def _metric(
    contract: Contractor, metric: Factor | None, weights: list[Factor], scale: float
) -> Factor:
    given = [] if metric is None else [metric]
    return _weight(contract, [*given, *weights, *weights], set(), scale**2)


def _core(network: Network) -> tuple[list[Factor], list[Factor]]:
    """The factors of a network, and its weights: those of open indices alone, of no example."""
    ends = {i for axis in network.axes for i in axis.indices}
    weights = [
        f
        for f in network.factors
        if not f.batched and not isinstance(f, Implicit) and ends.issuperset(f.indices)
    ]
    return [f for f in network.factors if f not in weights], weights


def _weight(
    contract: Contractor, factors: Sequence[Factor], summed: set[Index], scale: float = 1.0
) -> Factor:
    """The product of factors of no example, summed over some indices."""
    indices = tuple(dict.fromkeys(i for f in factors for i in f.indices if i not in summed))
    array = jnp.ones((), contract.dtype)
    if factors:
        array = contract([(f.array.astype(contract.dtype), f.indices) for f in factors], indices)
    return Factor(array * jnp.asarray(scale, array.dtype), indices, False)


def _sum(a: Factor, b: Factor) -> Factor:
    """Two weights added on the indices of both."""
    indices = tuple(dict.fromkeys((*a.indices, *b.indices)))

    def spread(factor: Factor) -> Any:
        order = [factor.indices.index(i) for i in indices if i in factor.indices]
        missing = [k for k, i in enumerate(indices) if i not in factor.indices]
        return jnp.expand_dims(jnp.transpose(factor.array, order), missing)

    return Factor(spread(a) + spread(b), indices, False)


def _aligned(a: Network, b: Network) -> Renaming | None:
    """The renaming of a's open indices to b's, or None where their axes do not correspond."""
    if a.outputs != b.outputs or a.loops != b.loops or len(a.axes) != len(b.axes):
        return None
    renamed: Renaming | None = {i: i for i in (*a.outputs, *a.loops)}
    for one, two in zip(a.axes, b.axes, strict=True):
        if (one.full, one.start) != (two.full, two.start):
            return None
        renamed = None if renamed is None else _unified(renamed, one.indices, two.indices)
    return renamed


def _unified(renamed: Renaming, one: Sequence[Index], two: Sequence[Index]) -> Renaming | None:
    """The renaming that turns ``one`` to ``two`` as well, if there is one, one to one."""
    if [i.size for i in one] != [i.size for i in two]:
        return None
    found = dict(renamed)
    for i, j in zip(one, two, strict=True):
        if found.setdefault(i, j) is not j:
            return None
    return found if len(set(found.values())) == len(found) else None


def _renaming(one: Sequence[Factor], two: Sequence[Factor], start: Renaming) -> Renaming | None:
    """The renaming that turns the factors of one to those of two, the same arrays in any order."""
    if len(one) != len(two):
        return None
    if not one:
        return start
    first, *rest = one
    for k, other in enumerate(two):
        if other.array is not first.array or type(other) is not type(first):
            continue
        found = _unified(start, first.touched, other.touched)
        if found is not None:
            found = _renaming(rest, [*two[:k], *two[k + 1 :]], found)
        if found is not None:
            return found
    return None
