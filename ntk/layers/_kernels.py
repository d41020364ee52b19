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
        ValueError: a network without a Gaussian limit, or one that ends with positions.
        NotImplementedError: a layer without a closed form.
    """
    layers = network.layers if isinstance(network, Serial) else (network,)
    for at, layer in enumerate(layers):
        if not any(later.pairs_positions for later in layers[at:]):
            k = k.at_equal_positions()
        k = layer.spread(k)
    if k.spatial:
        raise ValueError(
            f"the network ends with {k.spatial} axes of positions: pool or flatten them first"
        )
    return Kernels(k.nngp if "nngp" in names else None, k.ntk if "ntk" in names else None)


def check_shape(network: Layer, shape: tuple[int, ...], dtype: Any) -> None:
    """Raise for examples of a shape that the network does not take, as its initialiser does."""

    def initialised(key: Array) -> Any:
        return network.init(key, shape, itertools.repeat(1), dtype)[0]

    jax.eval_shape(initialised, jax.random.key(0))
