"""The kernel ``Psi Psi^T`` of features, averaged over networks."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array


def mean_kernel(features: Callable[[Any], Array], networks: Any) -> Array:
    """The mean ``[n, n]`` of ``Psi Psi^T`` over a leading axis of ``networks``, one at a time.

    The NNGP kernel of a finite width where networks are drawn from the prior. ``features`` gives
    ``Psi [n, p]`` of one of them.
    """
    first = jax.tree.map(lambda a: a[0], networks)
    psi = jax.eval_shape(features, first)

    def add(total: Array, network: Any) -> tuple[Array, None]:
        psi = features(network)
        return total + psi @ psi.T, None

    start = jnp.zeros((psi.shape[0], psi.shape[0]), psi.dtype)
    total, _ = jax.lax.scan(add, start, networks)
    return total / jax.tree.leaves(networks)[0].shape[0]
