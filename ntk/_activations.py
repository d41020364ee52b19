"""Elementwise activations by name."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

Activation = Callable[[Array], Array]


def gelu(x: Array) -> Array:
    """Exact Gaussian error linear unit ``x Phi(x)`` (Hendrycks and Gimpel 2016, eq. 2)."""
    return jax.nn.gelu(x, approximate=False)


def leaky_relu(x: Array) -> Array:
    """``max(x, 0.01 x)`` (Maas et al. 2013)."""
    return jax.nn.leaky_relu(x, negative_slope=0.01)


ACTIVATIONS: dict[str, Activation] = {
    "relu": jax.nn.relu,
    "gelu": gelu,
    "erf": jax.lax.erf,
    "tanh": jnp.tanh,
    "sin": jnp.sin,
    "leaky_relu": leaky_relu,
}


def resolve_activation(activation: str | Activation) -> Activation:
    """The function behind a name of ``ACTIVATIONS``; a callable is returned as it is.

    Raises:
        ValueError: the name is not in ``ACTIVATIONS``; the message lists those that are.
        TypeError: neither a name nor a callable.
    """
    if isinstance(activation, str):
        if activation not in ACTIVATIONS:
            names = ", ".join(sorted(ACTIVATIONS))
            raise ValueError(
                f"unknown activation {activation!r}; expected one of {names}, or a callable"
            )
        return ACTIVATIONS[activation]
    if callable(activation):
        return activation
    raise TypeError(f"activation must be a name or a callable, got {type(activation).__name__}")
