"""Standard normals of given parameters."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bnnsample.models._modules._whitening import Whitening

FURTHEST = 40.0


def coordinates(name: str, whitening: Whitening, value: Array) -> Array:
    """``u`` with ``whitening(u) = value``: priors' functions are increasing in every parameter.

    Exact for Gaussians, where the function is a line; by bisection else, to a few digits less than
    the dtype has.

    Raises:
        ValueError: a value that the prior does not allow.
    """
    at = {
        u: np.asarray(whitening(jnp.asarray(np.full(value.shape, u), value.dtype)))
        for u in (0.0, 1.0, 3.0)
    }
    slope = at[1.0] - at[0.0]
    if np.allclose(at[3.0], at[0.0] + 3 * slope, rtol=1e-5, atol=0):
        return jnp.asarray((np.asarray(value) - at[0.0]) / slope)
    low, high = jnp.full_like(value, -FURTHEST), jnp.full_like(value, FURTHEST)

    def halve(_, bounds):
        low, high = bounds
        middle = (low + high) / 2
        too_low = whitening(middle) < value
        return jnp.where(too_low, middle, low), jnp.where(too_low, high, middle)

    low, high = jax.lax.fori_loop(0, 70, halve, (low, high))
    u = (low + high) / 2
    if not bool(jnp.all(jnp.isclose(whitening(u), value, rtol=1e-3))):
        raise ValueError(f"parameter {name!r} has values outside its prior's support")
    return u
