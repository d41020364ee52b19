"""The angle between two Gaussians, in the arctan2 form, differentiable everywhere."""

import jax
import jax.numpy as jnp
from jax import Array

from ntk._duals._determinant import determinant
from ntk._duals._roots import power_of_two


@jax.custom_jvp
def sine_and_angle(c: Array, q1: Array, q2: Array) -> tuple[Array, Array]:
    """``s = sqrt((q1 q2 - c^2)_+)`` and ``w = arctan2(c, s)``.

    With ``cos theta = c / sqrt(q1 q2)``, ``s = sqrt(q1 q2) sin theta`` and ``w = pi/2 - theta``.
    A variance of zero gives ``s = w = 0``: a Gaussian that is constant is orthogonal to all.

    The error of ``s`` is of order ``eps^(3/4) sqrt(q1 q2)`` (float32: 4e-6, and zero at
    ``c = q1 = q2``) *for the arguments as they are*. Arguments that were rounded before leave
    theta uncertain by ``sqrt(2 eps)`` near 0 and pi (float32: 5e-4), whoever computes it.
    Any scale will do: the variances' powers of four are taken out before products are formed.

    The derivatives of ``s`` and ``w`` are of order ``1 / s``, infinite at theta = 0 and pi. There,
    and where ``s`` is within the rounding of the arguments (``s <= 2 sqrt(eps) |c|``), ``1 / s`` is
    taken as 0: as a function of two vectors, theta has a kink where they are parallel, and
    0 is its central difference.
    """
    power1, power2 = power_of_two(q1), power_of_two(q2)
    inverse1, inverse2 = 1 / power1, 1 / power2
    scaled = c * inverse1 * inverse2
    square = determinant(scaled, q1 * inverse1 * inverse1, q2 * inverse2 * inverse2)
    # Two different square roots: of one, XLA on CPU keeps an array in memory to use it twice.
    s = jnp.sqrt(4 * square) * (power1 / 2) * power2
    return s, jnp.arctan2(scaled, jnp.sqrt(square))


@sine_and_angle.defjvp
def _sine_and_angle_jvp(primals, tangents):
    (c, q1, q2), (dc, dq1, dq2) = primals, tangents
    s, w = sine_and_angle(c, q1, q2)
    growth = (dq1 * reciprocal(q1) + dq2 * reciprocal(q2)) / 2
    tilt = dc - c * growth
    inverse = _inverse_sine(s, c)
    # ds = (q2 dq1 + q1 dq2 - 2 c dc) / (2 s): what is divided by s is tilt, as in dw.
    ds = s * growth - c * inverse * tilt
    return (s, w), (ds, inverse * tilt)


def reciprocal(q: Array) -> Array:
    """``1 / q`` of a variance; 0 where the square of ``q`` is not a normal number."""
    usable = q > jnp.finfo(q.dtype).tiny ** 0.5
    return jnp.where(usable, 1 / jnp.where(usable, q, 1), 0)


def _inverse_sine(s: Array, c: Array) -> Array:
    """``1 / s``, or 0 where ``s`` is within the rounding of ``c``."""
    info = jnp.finfo(s.dtype)
    usable = (s > 2 * info.eps**0.5 * jnp.abs(c)) & (s > info.tiny**0.5)
    return jnp.where(usable, 1 / jnp.where(usable, s, 1), 0)
