"""The fully connected network."""

import itertools
from collections.abc import Callable
from typing import Any

from jax import Array

from bnnsample.models._checks import checked_depth
from bnnsample.models._model import Model
from bnnsample.models._named import named
from bnnsample.models._prior_scales import per_layer, prior_scales
from ntk.layers import Activation, Dense, Flatten, Layer, Serial


def mlp(
    depth: int = 1,
    activation: str | Callable[[Array], Array] = "gelu",
    weight_std: Any = 2.0**0.5,
    bias_std: Any = 0.1,
    readout_weight_std: Any = 1.0,
    readout_bias_std: Any = 0.1,
) -> Model:
    """A fully connected network with ``depth`` hidden layers in NTK parameterisation.

    Layer ``l`` is ``activation(weight_std / sqrt(fan_in) * x @ w_l + bias_std * b_l)``; the
    readout is ``Model``'s. Every parameter has prior N(0, 1); all four scales are standard
    deviations. The width, an int or one per hidden layer, is given at run time. Inputs with
    more than one feature axis, such as images, are flattened. The hidden parameters are a list
    of ``{"weight": [fan_in, width], "bias": [width]}``.

    A scale is a number; a NumPyro distribution with positive support, the prior of an unknown one
    that is sampled with the network and reported by its name; or ``"empirical-bayes"``, one that
    maximises the marginal likelihood of the wide limit (Rasmussen and Williams 2006, eq. 2.30) and
    is then held. ``weight_std`` and ``bias_std`` may also be a list of these, one per hidden
    layer; an unknown one is then called ``weight_std_0``, ``weight_std_1``, ...

    Raises:
        TypeError: an argument of another type.
        ValueError: ``depth`` below 1, a negative scale, a prior that is not scalar and positive,
            or an activation not in ``ntk.ACTIVATIONS``.
    """
    depth = checked_depth(depth)
    scales = prior_scales(
        depth,
        weight_std=weight_std,
        bias_std=bias_std,
        readout_weight_std=readout_weight_std,
        readout_bias_std=readout_bias_std,
    )
    act = Activation(activation)

    def network(s: dict[str, Any]) -> Layer:
        weights, biases = per_layer(s["weight_std"], depth), per_layer(s["bias_std"], depth)
        hidden = [(Dense(w, b), act) for w, b in zip(weights, biases, strict=True)]
        readout = Dense(s["readout_weight_std"], s["readout_bias_std"])
        return Serial(Flatten(), *itertools.chain(*hidden), readout)

    return named(network, "mlp", {"depth": depth, "activation": activation}, scales)
