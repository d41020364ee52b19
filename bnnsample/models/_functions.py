"""A network of the user's own, given by two functions."""

from collections.abc import Callable

from jax import Array

from bnnsample.models._checks import check_standard_deviation
from bnnsample.models._model import Model, Pytree, Width


def from_functions(
    init: Callable[[Array, Array, Width], Pytree],
    features: Callable[[Pytree, Array], Array],
    readout_weight_std: float = 1.0,
    readout_bias_std: float = 0.1,
) -> Model:
    """A model from the two functions that make a network with a linear readout.

    Args:
        init: ``init(key, x, width) -> h``, hidden parameters drawn from N(0, 1): the
            network is in NTK parameterisation, its scales in the forward pass. ``h`` is any
            pytree of floating point arrays in the dtype of ``x``; an empty one is allowed,
            which leaves Bayesian linear regression on fixed features.
        features: ``features(h, x) -> [n, p0]``, unscaled, one row per input.
        readout_weight_std: standard deviation of the readout, divided by ``sqrt(p0)``.
        readout_bias_std: standard deviation of the readout's bias; 0 leaves the bias out.
    """
    for name, value in (("init", init), ("features", features)):
        if not callable(value):
            raise TypeError(f"{name} must be a function, got {type(value).__name__}")
    check_standard_deviation("readout_weight_std", readout_weight_std, positive=True)
    check_standard_deviation("readout_bias_std", readout_bias_std)
    return Model(init, features, float(readout_weight_std), float(readout_bias_std), "functions")
