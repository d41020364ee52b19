"""The parts of a trajectory that alternate: n inner ones, and n + 1 outer ones around them.

With kicks outside and rotations inside this is leapfrog, and with equal parts the splitting of
Strang (Beskos et al. 2011, eq. 4.3). Leapfrog keeps the energy of a nearby Hamiltonian exactly
where the true one is quadratic, so that its energy error is that of entering and leaving the nearby
one; a first and a last step of other lengths enter and leave it better, at no gradient (Blanes,
Calvo, Casas and Sanz-Serna 2021, Symmetrically processed splitting integrators for enhanced
Hamiltonian Monte Carlo sampling, arXiv:2011.04401). Derived in ``docs/mathematics.md``.
"""

import jax.numpy as jnp
from jax import Array

# The first and last inner and outer part, in interior ones: those with the least energy error of
# harmonic oscillators that turn by up to 1.4 radians in an interior step, and so much faster than
# the Gaussian that a rotation is a drift to them. A share of 8.6e-4 of the energy at most, on
# average over phases and at any number of steps, where equal parts have 0.24.
END_INNER, END_OUTER = 0.76123, 0.32629
# With fewer inner parts all are equal: so few are used where the potential is nearly flat but not
# quadratic along a rotation, and there they are accepted more often.
LEAST_PROCESSED = 4


def inner_part(i: Array | int, n: Array, dtype) -> Array:
    """Length of the i-th of n inner parts, in their mean length."""
    i = jnp.asarray(i, jnp.int32)
    is_end = (i == 0) | (i == n - 1)
    return jnp.where(_is_processed(n) & is_end, END_INNER, 1.0).astype(dtype) * _unit(n, dtype)


def outer_part(i: Array | int, n: Array, dtype) -> Array:
    """Length of the i-th of n + 1 outer parts, in the inner parts' mean length; n in all."""
    i = jnp.asarray(i, jnp.int32)
    end, next_to_end = END_OUTER, END_INNER + 0.5 - END_OUTER
    whole = jnp.where(_is_processed(n) & ((i == 1) | (i == n - 1)), next_to_end, 1.0)
    part = jnp.where((i == 0) | (i == n), jnp.where(_is_processed(n), end, 0.5), whole)
    return part.astype(dtype) * _unit(n, dtype)


def _unit(n: Array, dtype) -> Array:
    """An interior part in mean ones."""
    count = n.astype(dtype)
    return jnp.where(_is_processed(n), count / (count - 2 + 2 * END_INNER), jnp.ones((), dtype))


def _is_processed(n: Array) -> Array:
    return n >= LEAST_PROCESSED
