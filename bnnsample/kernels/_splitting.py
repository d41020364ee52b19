"""Kick weights of the splitting into exact rotations and kicks."""

import jax.numpy as jnp
from jax import Array


def strang(step_size: Array | float, kick_scale: Array | float, dtype) -> tuple[Array, Array]:
    """Weights ``(s h / 2, s h)`` of the outer and the interior kicks (Beskos et al. 2011, eq. 4.3).

    ``s = kick_scale = 1`` follows the Hamiltonian flow. Any other value is as exact: the kicks
    stay shears and the trajectory reversible, so the Metropolis test has the same form. For
    one or two rotations to a quarter turn a smaller kick is accepted more often, since the
    potential of a wide network varies along the rotation faster than its gradient tells.
    """
    h = jnp.asarray(step_size, dtype) * jnp.asarray(kick_scale, dtype)
    return h / 2, h


def semi_implicit(step_size: Array | float, dtype) -> tuple[Array, Array]:
    """Weights ``(tan(h / 2), 2 tan(h / 2))``: exact for a potential with a constant gradient.

    The kick of pCNL (Cotter et al. 2013, eq. 4.7) at ``cos(h) = (2 - delta) / (2 + delta)``.
    """
    outer = jnp.tan(jnp.asarray(step_size, dtype) / 2)
    return outer, 2 * outer
