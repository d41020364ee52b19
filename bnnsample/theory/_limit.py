"""The infinite-width kernels that a model is compared to."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from bnnsample.coordinates import Posterior
from ntk import Kernels, infinite_kernel

WideKernel = Callable[..., Any]


def wide_kernel(posterior: Posterior, network: Any = None) -> WideKernel:
    """``kernel(x1, x2=None, get=...)`` as ``ntk.infinite_kernel`` returns it.

    Args:
        posterior: of the model and its data.
        network: the layers, of ``ntk.layers``, of a model that does not hold its own.

    A model without hidden parameters is its own limit: its features are fixed, and both kernels
    are ``Psi Psi^T``.

    Raises:
        ValueError: the model has no description by layers and none was given, or its infinite
            width has no Gaussian limit.
        TypeError: ``network`` is not a layer.
    """
    if network is not None:
        return infinite_kernel(network)
    model = posterior.model
    if model.network is not None:
        return infinite_kernel(model.network)
    hidden = jax.eval_shape(posterior.prior_parameters, jax.random.key(0))["hidden"]
    if jax.tree.leaves(hidden):
        raise ValueError(
            f"the infinite width of the model {model.name!r} is not known, because its layers are "
            "not: give network=, the layers of ntk.layers that it is made of, readout included"
        )
    return lambda x1, x2=None, get=("nngp", "ntk"): _of_fixed_features(posterior, x1, x2, get)


def _of_fixed_features(posterior: Posterior, x1: Array, x2: Array | None, get: Any) -> Any:
    model = posterior.model
    hidden = model.init_hidden(jax.random.key(0), posterior.x, posterior.width)
    first = model.features(hidden, jnp.asarray(x1))
    second = first if x2 is None else model.features(hidden, jnp.asarray(x2))
    kernel = first @ second.T
    return kernel if isinstance(get, str) else Kernels(kernel, kernel)
