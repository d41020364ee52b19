"""Jacobian contraction: every parameter's Jacobian in full (Novak et al. 2022, section 3.1)."""

from typing import Any

import jax
from jax import Array

from ntk._structured._jacobian import Group, Jacobian
from ntk._structured._network import Axis, Factor, Index, Network, axis_of


def dense_jacobian(function: Any, leaves: list[Array], x: list[Array]) -> Jacobian:
    """The Jacobian of ``function(leaves, example)`` at every example, one array per leaf."""
    shapes = [jax.ShapeDtypeStruct(a.shape[1:], a.dtype) for a in x]
    outputs = tuple(Index(size) for size in jax.eval_shape(function, leaves, shapes).shape)
    jacobians = jax.vmap(jax.jacrev(function), in_axes=(None, 0))(leaves, x)
    groups = []
    for leaf, jacobian in zip(leaves, jacobians, strict=True):
        axes = tuple(axis_of(size) for size in leaf.shape)
        groups.append(Group([Network((_factor(jacobian, outputs, axes),), axes, outputs)]))
    return Jacobian(groups, outputs)


def _factor(jacobian: Array, outputs: tuple[Index, ...], axes: tuple[Axis, ...]) -> Factor:
    indices = (*outputs, *(i for axis in axes for i in axis.indices))
    return Factor(jacobian.reshape(len(jacobian), *(i.size for i in indices)), indices, True)
