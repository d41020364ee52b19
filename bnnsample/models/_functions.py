"""A network of the user's own, given by two functions."""

from collections.abc import Callable, Mapping
from typing import Any

from jax import Array

from bnnsample.models._model import Model, Pytree, Width
from bnnsample.models._prior_scales import prior_scales, scales_by_name, with_prior_scales


def from_functions(
    init: Callable[[Array, Array, Width], Pytree],
    features: Callable[..., Pytree],
    readout_weight_std: Any = 1.0,
    readout_bias_std: Any = 0.1,
    scales: Mapping[str, Any] | None = None,
) -> Model:
    """A model from the two functions that make a network with a linear readout.

    Args:
        init: ``init(key, x, width) -> h``, hidden parameters drawn from N(0, 1): the
            network is in NTK parameterisation, its scales in the forward pass. ``h`` is any
            pytree of floating point arrays in the dtype of ``x``; an empty one is allowed,
            which leaves Bayesian linear regression on fixed features.
        features: ``features(h, x, **scales) -> [n, p0]``, unscaled, one row per input.
        readout_weight_std: standard deviation of the readout, divided by ``sqrt(p0)``.
        readout_bias_std: standard deviation of the readout's bias; 0 leaves the bias out.
        scales: positive numbers that ``features`` takes by name.

    The standard deviations and the scales may be unknown, as in ``mlp``.
    """
    for name, value in (("init", init), ("features", features)):
        if not callable(value):
            raise TypeError(f"{name} must be a function, got {type(value).__name__}")
    own = scales_by_name(scales)

    def build(values: dict[str, Any]) -> Model:
        given = {name: values[name] for name in own}
        unscaled = (lambda h, x: features(h, x, **given)) if given else features
        return Model(
            init, unscaled, values["readout_weight_std"], values["readout_bias_std"], "functions"
        )

    readout = {"readout_weight_std": readout_weight_std, "readout_bias_std": readout_bias_std}
    return with_prior_scales(build, prior_scales(**readout, **own))
