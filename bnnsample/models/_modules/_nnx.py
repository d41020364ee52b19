"""Flax NNX modules."""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from bnnsample.models._modules._binding import (
    Binding,
    Values,
    check_floating,
    joined,
    layer_of,
    name_of,
)


class NNXBinding(Binding):
    """An NNX module in evaluation mode; its parameters are its ``nnx.Param`` variables."""

    def __init__(
        self,
        module: nnx.Module,
        shape: tuple[int, ...],
        dtype: Any,
        apply_kwargs: Mapping[str, Any],
    ):
        self.shape, self.dtype, self._kwargs = shape, dtype, dict(apply_kwargs)
        copy: Any = nnx.merge(*nnx.split(module, ...))
        copy.eval()
        self._graph, params, rest = _parts(copy)
        self._rest = jax.tree.map(self._cast, rest)
        # The copy has its attributes in alphabetical order.
        order = {joined(path): i for i, (path, _) in enumerate(_walk(module))}
        flat = {joined(path): (path, leaf) for path, leaf in nnx.to_flat_state(params)}
        check_floating({path: leaf[...] for path, (_, leaf) in flat.items()})
        self._variables = dict(sorted(flat.items(), key=lambda item: order[item[0]]))
        self.shapes = {path: leaf[...].shape for path, (_, leaf) in self._variables.items()}
        self._layer_paths = {joined(path): path for path, node in _walk(copy)}
        self.linear_layers = tuple(
            joined(path) for path, node in _walk(copy) if type(node) is nnx.Linear
        )

    def outputs(self, values: Values, x: Array, mark: Callable[[str, Any], Any]) -> Any:
        module = self.assemble(values)
        for path in dict.fromkeys(map(layer_of, self.shapes)):
            node = self._node(module, path)
            node.__class__ = _watched(node.__class__)
            vars(node)["_bnnsample_mark"] = functools.partial(mark, path)
        before = jax.tree.leaves(_parts(module)[2])
        y = module(x, **self._kwargs)
        after = jax.tree.leaves(_parts(module)[2])
        if len(before) != len(after) or any(a is not b for a, b in zip(before, after, strict=True)):
            raise ValueError(
                "the module changes its variables when it is called, even in evaluation mode "
                "(module.eval()): running statistics, caches and random streams cannot be sampled"
            )
        return y

    def features(self, values: Values, x: Array, readout: str) -> Array:
        absent = {p: jnp.zeros(s, self.dtype) for p, s in self.shapes.items() if p not in values}
        module = self.assemble({**values, **absent})
        node = self._node(module, readout)
        for path in absent:
            delattr(node, name_of(path))
        node.__class__ = _passing(node.__class__)
        return module(x, **self._kwargs)

    def layer(self, path: str, values: Values, z: Array) -> Array:
        others = {p: jnp.zeros(s, self.dtype) for p, s in self.shapes.items() if p not in values}
        return self._node(self.assemble({**others, **values}), path)(z)

    def assemble(self, values: Values) -> nnx.Module:
        flat = [
            (path, variable.replace(values[name]))
            for name, (path, variable) in self._variables.items()
        ]
        return nnx.merge(self._graph, nnx.from_flat_state(flat), self._rest, copy=True)

    def take(self, structure: Any) -> dict[str, Any]:
        state = structure if isinstance(structure, nnx.State) else nnx.state(structure, nnx.Param)
        return {joined(path): leaf[...] for path, leaf in nnx.to_flat_state(state)}

    def _node(self, module: nnx.Module, path: str) -> Any:
        node: Any = module
        for part in self._layer_paths[path]:
            node = (
                node[part]
                if isinstance(part, int) or isinstance(node, dict)
                else getattr(node, part)
            )
        return node

    def _cast(self, leaf: Any) -> Any:
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf.astype(self.dtype)
        return leaf


def _parts(module: Any) -> tuple[Any, Any, Any]:
    """The graph, the parameters and all other variables."""
    parts: Any = nnx.split(module, nnx.Param, ...)
    return parts


def _walk(node: Any, path: tuple = ()) -> Iterator[tuple[tuple, Any]]:
    """Modules and parameters with their paths, in order of definition."""
    if isinstance(node, nnx.Param):
        yield path, node
        return
    if isinstance(node, nnx.Module):
        yield path, node
    if isinstance(node, (nnx.List, list, tuple)):
        children: Any = enumerate(node)
    elif isinstance(node, dict):
        children = node.items()
    elif isinstance(node, nnx.Module):
        children = [item for item in vars(node).items() if not item[0].startswith("_pytree__")]
    else:
        return
    for name, child in children:
        yield from _walk(child, (*path, name))


@functools.lru_cache(maxsize=256)
def _watched(kind: Any) -> Any:
    """A module's class whose output is shown to ``_bnnsample_mark``."""

    def call(self, *args, **kwargs):
        return self._bnnsample_mark(kind.__call__(self, *args, **kwargs))

    return type(kind.__name__, (kind,), {"__call__": call})


@functools.lru_cache(maxsize=256)
def _passing(kind: Any) -> Any:
    """A module's class that passes its input on."""
    return type(kind.__name__, (kind,), {"__call__": lambda self, x, *args, **kwargs: x})
