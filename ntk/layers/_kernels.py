"""From the covariances of examples to the kernels of a network of infinite width."""

import itertools
from typing import Any, NamedTuple

import jax
from jax import Array

from ntk.layers._combine import Serial
from ntk.layers._covariance import Covariances
from ntk.layers._layer import Layer

NAMES = ("nngp", "ntk")


class Kernels(NamedTuple):
    """Of every pair of examples, ``[n1, n2]``; None where it was not asked for.

    ``nngp``: the covariance of one output over networks drawn from the prior. ``ntk``: the neural
    tangent kernel of one output, the same for every network.
    """

    nngp: Array | None
    ntk: Array | None


def kernels_of(network: Layer, names: tuple[str, ...], k: Covariances) -> Kernels:
    """The kernels of a network from the covariances of its inputs.

    Raises:
        ValueError: a network without a Gaussian limit.
        NotImplementedError: a layer without a closed form.
    """
    layers = network.layers if isinstance(network, Serial) else (network,)
    for at, layer in enumerate(layers):
        if not any(later.pairs_positions for later in layers[at:]):
            k = k.at_equal_positions()
        k = layer.spread(k)
    return Kernels(k.nngp if "nngp" in names else None, k.ntk if "ntk" in names else None)


# Of every layer, where shapes are checked: by chance no input's number of channels, and large
# enough that branches of different ``times`` differ.
_WIDTH = 1_009


def check_shape(network: Layer, shape: tuple[int, ...], dtype: Any) -> None:
    """Raise for examples of a shape that the network does not take, as its initialiser does.

    Raises:
        ValueError: that, or a network that ends with positions.
    """
    found = []

    def initialised(key: Array) -> Any:
        parameters, output = network.init(key, shape, itertools.repeat(_WIDTH), dtype)
        found.append(len(output) - 1)
        return parameters

    jax.eval_shape(initialised, jax.random.key(0))
    if found[0]:
        raise ValueError(
            f"the network ends with {found[0]} axes of positions: pool or flatten them first"
        )
