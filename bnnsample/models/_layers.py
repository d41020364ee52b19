"""A network described by layers, split into hidden layers and readout."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from jax import Array

from bnnsample.models._checks import widths_of
from bnnsample.models._model import Model, Width
from bnnsample.models._prior_scales import prior_scales, with_prior_scales
from bnnsample.models._stack import draw, forward, unrolled
from bnnsample.models._units import units_of
from ntk.layers import Dense, Layer, Parallel, Serial


def from_layers(network: Layer | Callable[..., Layer], **scales: Any) -> Model:
    """A model of ``ntk.layers`` that end with a ``Dense`` readout.

    Where scales are unknown, ``network`` is the function of them that describes it:
    ``from_layers(lambda s: Serial(Dense(s), Activation("relu"), Dense()), s=HalfNormal(1.0))``.

    The hidden parameters are a list with those of each layer of ``Serial`` that has weights. The
    readout's ``weight_std`` and ``bias_std`` become the model's. The width, given at run time, is
    an int, or a sequence of one int per hidden layer with weights, in the order in which they are
    described; a layer has ``times`` as many channels. ``ntk.infinite_kernel(model)`` has the
    kernels of infinite width.

    Args:
        network: a layer, or ``network(**scales)`` that returns one.
        scales: standard deviations by name: a number, a NumPyro distribution with positive
            support, or ``"empirical-bayes"`` (see ``mlp``).

    Raises:
        TypeError: not a layer of ``ntk.layers``.
        ValueError: a network whose last layer is not ``Dense``, a readout with ``times``, or
            layers whose parameters have another prior than N(0, 1).
    """
    if isinstance(network, Layer) or not callable(network):
        if scales:
            raise TypeError(
                f"network must be a function of {', '.join(scales)} that returns a layer of "
                f"ntk.layers, got {type(network).__name__}"
            )
        return of_layers(network)
    return with_prior_scales(lambda values: of_layers(network(**values)), prior_scales(**scales))


def of_layers(network: Any) -> Model:
    """The model of layers whose scales are numbers, maybe traced."""
    hidden_layers, readout = _split(network)

    def init_hidden(key: Array, x: Array, width: Width) -> list[Any]:
        hidden, shape = draw(hidden_layers, key, x.shape[1:], _widths(width, x), x.dtype)
        if len(shape) != 1:
            raise ValueError(
                f"the hidden layers leave features of shape {shape} for x of shape {x.shape}: pool "
                "or flatten them before the readout"
            )
        return hidden

    def _widths(width: Width, x: Array) -> Iterator[int]:
        if isinstance(width, Sequence):
            return iter(widths_of(width, _num_widths(hidden_layers, x)))
        return itertools.repeat(*widths_of(width, 1))

    return Model(
        init_hidden,
        lambda hidden, x: forward(hidden_layers, hidden, x),
        readout.weight_std,
        readout.bias_std,
        "layers",
        units=units_of(hidden_layers),
        network=network,
    )


def _split(network: Layer) -> tuple[tuple[Layer, ...], Dense]:
    if not isinstance(network, Layer):
        raise TypeError(f"network must be a layer of ntk.layers, got {type(network).__name__}")
    layers = unrolled(network)
    readout = layers[-1] if layers else None
    if not isinstance(readout, Dense):
        raise ValueError(
            "network must end with Dense, the readout that is sampled given the other layers, "
            f"got {readout!r} at its end"
        )
    if readout.times != 1:
        raise ValueError(
            "the readout has one column per output of the data, and no width: its times must be "
            f"1, got {readout.times}"
        )
    for part in _parts(network):
        if getattr(part, "parameterization", "ntk") != "ntk":
            raise ValueError(
                "network must be in NTK parameterisation, where every parameter has prior "
                f"N(0, 1), got {part!r}"
            )
    return layers[:-1], readout


def _parts(layer: Layer) -> Iterator[Layer]:
    yield layer
    if isinstance(layer, (Serial, Parallel)):
        for inner in layer.layers if isinstance(layer, Serial) else layer.branches:
            yield from _parts(inner)


def _num_widths(layers: Sequence[Layer], x: Array) -> int:
    """How many widths the layers ask for."""
    count = itertools.count()
    ones = (1 for _ in count)
    jax.eval_shape(lambda key: draw(layers, key, x.shape[1:], ones, x.dtype)[0], jax.random.key(0))
    return next(count)
