"""The fully connected network."""

from collections.abc import Callable

from jax import Array

from bnnsample.models._checks import checked_depth, checked_scales
from bnnsample.models._model import Model
from bnnsample.models._named import named
from ntk.layers import Activation, Dense, Flatten, Serial


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
    more than one feature axis, such as images, are flattened. The hidden parameters are a list
    of ``{"weight": [fan_in, width], "bias": [width]}``.

    Raises:
        TypeError: an argument of another type.
        ValueError: ``depth`` below 1, a negative scale, or an activation not in
            ``ntk.ACTIVATIONS``.
    """
    depth = checked_depth(depth)
    scales = checked_scales(
        weight_std=weight_std,
        bias_std=bias_std,
        readout_weight_std=readout_weight_std,
        readout_bias_std=readout_bias_std,
    )
    layer = Dense(scales["weight_std"], scales["bias_std"]), Activation(activation)
    readout = Dense(scales["readout_weight_std"], scales["readout_bias_std"])
    network = Serial(Flatten(), *(layer * depth), readout)
    return named(network, "mlp", {"depth": depth, "activation": activation, **scales})
