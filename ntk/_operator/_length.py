"""Norms of vectors in any units: squares of small numbers vanish, and of large ones overflow."""

import jax.numpy as jnp
from jax import Array


def length(v: Array) -> Array:
    """``|v|`` over the last axis."""
    largest = jnp.max(jnp.abs(v), axis=-1, keepdims=True)
    unit = jnp.where(largest > 0, largest, 1)
    return unit[..., 0] * jnp.linalg.norm(v / unit, axis=-1)


def length_or_one(v: Array) -> Array:
    """``|v|``, and 1 for the vector zero."""
    norm = length(v)
    return jnp.where(norm > 0, norm, 1)
