"""Roots of variances that stay numbers at any size."""

import jax.numpy as jnp
from jax import Array, lax


def power_of_two(q: Array) -> Array:
    """The power of two nearest to ``sqrt(q)``, by which scaling is exact; 1 at zero."""
    root = jnp.sqrt(q)
    power = lax.reduce_precision(root, exponent_bits=jnp.finfo(q.dtype).nexp, mantissa_bits=0)
    return jnp.where(q == 0, 1, power)


def inverse_root(q: Array) -> Array:
    """``1 / sqrt(q)`` of a variance, with its derivatives; 0 where ``q`` is not a normal number."""
    positive = q >= jnp.finfo(q.dtype).tiny
    return jnp.where(positive, lax.rsqrt(jnp.where(positive, q, 1)), 0)
