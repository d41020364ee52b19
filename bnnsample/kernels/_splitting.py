"""Kick weights of the splitting into exact rotations and kicks."""

import jax.numpy as jnp
from jax import Array


def kick_weights(step_size: Array | float, num_steps: Array | int, dtype) -> tuple[Array, Array]:
    """Weights of the first and last kick, and of those between, for ``num_steps`` rotations."""
    h = jnp.asarray(step_size, dtype)
    outer = jnp.tan(h / 2)
    return outer, 2 * outer
