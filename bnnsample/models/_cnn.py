"""The convolutional network."""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

from jax import Array

from bnnsample._arguments import shown
from bnnsample.models._checks import checked_depth
from bnnsample.models._model import Model
from bnnsample.models._named import named
from bnnsample.models._prior_scales import per_layer, prior_scales
from ntk.layers import Activation, Conv, Dense, Flatten, GlobalAvgPool, Layer, Serial

POOLINGS: dict[str, Layer] = {"global_average": GlobalAvgPool(), "flatten": Flatten()}


def cnn(
    depth: int = 2,
    activation: str | Callable[[Array], Array] = "relu",
    window: tuple[int, ...] = (3, 3),
    strides: int | tuple[int, ...] = 1,
    padding: str = "SAME",
    pooling: str = "global_average",
    weight_std: Any = 2.0**0.5,
    bias_std: Any = 0.1,
    readout_weight_std: Any = 1.0,
    readout_bias_std: Any = 0.1,
) -> Model:
    """``depth`` convolutions in NTK parameterisation, pooling, and a linear readout.

    Layer ``l`` is ``activation(weight_std / sqrt(fan_in) * (x conv w_l) + bias_std * b_l)``, with a
    fan-in of the window's size times the channels of ``x [n, *positions, channels]``; the readout
    is ``Model``'s. Every parameter has prior N(0, 1); all four scales are standard deviations. The
    width, an int or one per layer, given at run time, is the number of channels. The hidden
    parameters are a list of ``{"weight": [*window, channels, width], "bias": [width]}``. Scales may
    be unknown or one per layer, as in ``mlp``.

    Args:
        depth: number of convolutions.
        activation: a name of ``ntk.ACTIVATIONS``, or any elementwise function.
        window: of every convolution, one size per spatial axis of the inputs, one to three.
        strides: of every convolution, an int or one per spatial axis.
        padding: ``"SAME"`` (zeros), ``"VALID"`` or ``"CIRCULAR"``.
        pooling: ``"global_average"``, the mean of a channel over all positions, or ``"flatten"``,
            every position of every channel a feature.

    Raises:
        TypeError: an argument of another type.
        ValueError: ``depth`` below 1, a negative scale, an unknown name, or sizes that are not
            positive, one per spatial axis.
    """
    depth = checked_depth(depth)
    scales = prior_scales(
        depth,
        weight_std=weight_std,
        bias_std=bias_std,
        readout_weight_std=readout_weight_std,
        readout_bias_std=readout_bias_std,
    )
    if not isinstance(pooling, str) or pooling not in POOLINGS:
        raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}, got {shown(pooling)}")
    conv, act = Conv(window, strides, padding), Activation(activation)

    def network(s: dict[str, Any]) -> Layer:
        weights, biases = per_layer(s["weight_std"], depth), per_layer(s["bias_std"], depth)
        hidden = [
            (dataclasses.replace(conv, weight_std=w, bias_std=b), act)
            for w, b in zip(weights, biases, strict=True)
        ]
        readout = Dense(s["readout_weight_std"], s["readout_bias_std"])
        return Serial(*itertools.chain(*hidden), POOLINGS[pooling], readout)

    arguments = {
        "depth": depth,
        "activation": activation,
        "window": conv.window,
        "strides": conv.strides,
        "padding": padding,
        "pooling": pooling,
    }
    return named(network, "cnn", arguments, scales)
