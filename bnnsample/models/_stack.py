"""Layers one after the other, with a list of parameters for those that draw any."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
from jax import Array

from ntk.layers import Layer, Serial


def unrolled(layer: Layer) -> tuple[Layer, ...]:
    """The layers of ``Serial``, of those inside it too; any other layer is alone."""
    if not isinstance(layer, Serial):
        return (layer,)
    return tuple(part for inner in layer.layers for part in unrolled(inner))


def draws(layer: Layer) -> bool:
    """Whether a layer has an initialiser of its own, as layers with weights do."""
    return type(layer).init is not Layer.init


def draw(
    layers: Sequence[Layer], key: Array, shape: tuple[int, ...], widths: Iterator[int], dtype: Any
) -> tuple[list[Any], tuple[int, ...]]:
    """Parameters from their prior, and the shape of an output, of examples of ``shape``."""
    keys = jax.random.split(key, sum(map(draws, layers)))
    parameters: list[Any] = []
    for layer in layers:
        if draws(layer):
            drawn, shape = layer.init(keys[len(parameters)], shape, widths, dtype)
            parameters.append(drawn)
        else:
            shape = layer.output_shape(shape)
    return parameters, shape


def forward(layers: Sequence[Layer], parameters: Sequence[Any], x: Array) -> Array:
    """The output for ``x [n, *shape]``, with parameters as ``draw`` returns them."""
    left = iter(parameters)
    for layer in layers:
        x = layer.apply(next(left) if draws(layer) else (), x)
    return x
