"""Equinox modules."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from bnnsample.models._modules._binding import (
    Binding,
    Values,
    check_floating,
    joined,
    layer_of,
    name_of,
)
from bnnsample.models._modules._priors import key_of

# Their weights are [out, in, *window], their biases one per output.
OUT_FIRST = (eqx.nn.Linear, eqx.nn.Conv)


class EquinoxBinding(Binding):
    """An Equinox module in inference mode; its parameters are its floating point arrays."""

    transposed = True

    def __init__(
        self,
        module: eqx.Module,
        shape: tuple[int, ...],
        dtype: Any,
        apply_kwargs: Mapping[str, Any],
        batched: bool,
    ):
        self.shape, self.dtype, self.batched = shape, dtype, batched
        self._kwargs = dict(apply_kwargs)
        _check_stateless(module)
        module = eqx.nn.inference_mode(module)
        self._params, self._static = eqx.partition(module, eqx.is_inexact_array)
        leaves = {_path(keys): leaf for keys, leaf in _leaves(self._params)}
        check_floating(leaves)
        self.shapes = {path: leaf.shape for path, leaf in leaves.items()}
        layers = [
            (_path(keys), layer)
            for keys, layer in _leaves(module, lambda node: isinstance(node, OUT_FIRST))
            if isinstance(layer, OUT_FIRST)
        ]
        self._out_first = {path for path, _ in layers}
        self.linear_layers = tuple(path for path, layer in layers if type(layer) is eqx.nn.Linear)

    def outputs(self, values: Values, x: Array, mark: Callable[[str, Any], Any]) -> Any:
        module = self.assemble(values)
        # Layers inside others come first, so that a layer is replaced before what holds it.
        for path in sorted(dict.fromkeys(map(layer_of, self.shapes)), key=len, reverse=True):
            layer = _at(module, path)
            if callable(layer):
                module = _replaced(module, path, _Watched(layer, path, mark))
        return module(x, **self._kwargs)

    def features(self, values: Values, x: Array, readout: str) -> Array:
        absent = {p: jnp.zeros(s, self.dtype) for p, s in self.shapes.items() if p not in values}
        module = self.assemble({**values, **absent})
        static = eqx.filter(_at(module, readout), eqx.is_array, inverse=True)
        return _replaced(module, readout, _Passing(static))(x, **self._kwargs)

    def layer(self, path: str, values: Values, z: Array) -> Array:
        others = {p: jnp.zeros(s, self.dtype) for p, s in self.shapes.items() if p not in values}
        layer = _at(self.assemble({**others, **values}), path)
        return jax.vmap(layer)(z)

    def assemble(self, values: Values) -> Any:
        leaves = [values[path] for path in self.shapes]
        params = jax.tree.unflatten(jax.tree.structure(self._params), leaves)
        return eqx.combine(params, self._static)

    def take(self, structure: Any) -> dict[str, Any]:
        params = eqx.filter(structure, eqx.is_inexact_array)
        return {_path(keys): leaf for keys, leaf in _leaves(params)}

    def canonical(self, path: str, array: Array) -> Array:
        if layer_of(path) not in self._out_first:
            return array
        if name_of(path) == "bias":
            return array.reshape(-1)
        return jnp.moveaxis(jnp.moveaxis(array, 0, -1), 0, -2)

    def native(self, path: str, array: Array) -> Array:
        if layer_of(path) not in self._out_first:
            return array
        if name_of(path) == "bias":
            return array.reshape(self.shapes[path])
        return jnp.moveaxis(jnp.moveaxis(array, -2, 0), -1, 0)


class _Watched(eqx.Module):
    """A layer whose output is shown to ``mark``."""

    layer: Any
    path: str = eqx.field(static=True)
    mark: Callable[[str, Any], Any] = eqx.field(static=True)

    def __call__(self, *args, **kwargs):
        return self.mark(self.path, self.layer(*args, **kwargs))

    def __getattr__(self, name: str) -> Any:
        return _attribute(self, name)


class _Passing(eqx.Module):
    """What is left of a layer without arrays: it passes its input on."""

    layer: Any

    def __call__(self, x, *args, **kwargs):
        return x

    def __getattr__(self, name: str) -> Any:
        return _attribute(self, name)


def _attribute(wrapper: Any, name: str) -> Any:
    """Of the layer inside, but for what Python itself asks of a module."""
    if name == "layer" or name.startswith("__"):
        raise AttributeError(name)
    return getattr(wrapper.layer, name)


def _check_stateless(module: Any) -> None:
    stateful = (eqx.nn.StateIndex, eqx.nn.State)
    for keys, leaf in _leaves(module, lambda node: isinstance(node, stateful)):
        if isinstance(leaf, stateful):
            raise ValueError(
                f"the module has state at {_path(keys)!r}, such as running statistics, which its "
                "call takes and returns: it cannot be sampled. Use a layer without state, such as "
                "eqx.nn.GroupNorm or eqx.nn.LayerNorm"
            )


def _leaves(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list[tuple[Any, Any]]:
    return jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_leaf)


def _path(keys: Any) -> str:
    return joined(map(key_of, keys))


def _at(node: Any, path: str) -> Any:
    """The node of a module, or of its lists and dicts, at a path."""
    for part in path.split("/") if path else ():
        if isinstance(node, Mapping):
            node = node[next(key for key in node if str(key) == part)]
        elif isinstance(node, (list, tuple)):
            node = node[int(part)]
        else:
            node = getattr(node, part)
    return node


def _replaced(module: Any, path: str, layer: Any) -> Any:
    return eqx.tree_at(lambda tree: _at(tree, path), module, layer) if path else layer
