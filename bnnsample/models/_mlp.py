"""The fully connected network."""

import operator
from collections.abc import Callable

import jax
from jax import Array

from bnnsample.models._checks import check_standard_deviation, widths_of
from bnnsample.models._model import Model, UnitLayer, Width
from ntk import Dense, resolve_activation
from ntk.layers import Activation, Flatten, Serial


def mlp(
    depth: int = 1,
    activation: str | Callable[[Array], Array] = "gelu",
    weight_std: float = 2.0**0.5,
    bias_std: float = 0.1,
    readout_weight_std: float = 1.0,
    readout_bias_std: float = 0.1,
) -> Model:
    """A fully connected network with ``depth`` hidden layers in NTK parameterisation.

    Layer ``l`` is ``activation(weight_std / sqrt(fan_in) * x @ w_l + bias_std * b_l)``; the
    readout is ``Model``'s. Every parameter has prior N(0, 1); all four scales are standard
    deviations. The width, an int or one per hidden layer, is given at run time. Inputs with
    more than one feature axis, such as images, are flattened.

    Raises:
        ValueError: ``depth`` below 1, a negative scale, or an activation not in
            ``ntk.ACTIVATIONS``.
    """
    try:
        depth = operator.index(depth)
    except TypeError:
        raise TypeError(f"depth must be an int, got {depth!r}") from None
    if depth < 1:
        raise ValueError(f"depth must be at least 1 hidden layer, got {depth}")
    check_standard_deviation("weight_std", weight_std, positive=True)
    check_standard_deviation("bias_std", bias_std)
    check_standard_deviation("readout_weight_std", readout_weight_std, positive=True)
    check_standard_deviation("readout_bias_std", readout_bias_std)
    nonlinearity = resolve_activation(activation)
    dense = Dense(float(weight_std), float(bias_std))

    def init_hidden(key: Array, x: Array, width: Width) -> list[dict[str, Array]]:
        fan_in = x[0].size
        hidden = []
        keys = jax.random.split(key, depth)
        for layer_key, fan_out in zip(keys, widths_of(width, depth), strict=True):
            hidden.append(dense.init(layer_key, (fan_in,), iter((fan_out,)), x.dtype)[0])
            fan_in = fan_out
        return hidden

    def unit_features(parameters: dict[str, Array], z: Array) -> Array:
        return nonlinearity(dense.apply(parameters, z))

    def lower(hidden: list[dict[str, Array]], x: Array) -> Array:
        z = x.reshape(x.shape[0], -1)
        for parameters in hidden[:-1]:
            z = unit_features(parameters, z)
        return z

    def hidden_features(hidden: list[dict[str, Array]], x: Array) -> Array:
        return unit_features(hidden[-1], lower(hidden, x))

    description = None
    if isinstance(activation, str):
        description = {
            "depth": depth,
            "activation": activation,
            "weight_std": float(weight_std),
            "bias_std": float(bias_std),
            "readout_weight_std": float(readout_weight_std),
            "readout_bias_std": float(readout_bias_std),
        }
    return Model(
        init_hidden,
        hidden_features,
        float(readout_weight_std),
        float(readout_bias_std),
        "mlp",
        description,
        UnitLayer(
            lower, lambda hidden: hidden[-1], lambda hidden, u: [*hidden[:-1], u], unit_features
        ),
        Serial(
            Flatten(),
            *(dense, Activation(activation)) * depth,
            Dense(float(readout_weight_std), float(readout_bias_std)),
        ),
    )
