"""The error function and the normal distribution function: the arcsine family (Williams 1997)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ntk._duals._determinant import determinant
from ntk._duals._dual import Dual, Pair
from ntk._duals._roots import power_of_two


def arcsine(c: Array, q1: Array, q2: Array) -> tuple[Array, Array, Array]:
    """``(r delta)^2``, ``r``, and ``arcsin(c / sqrt((1 + q1) (1 + q2)))`` as ``arctan2(c, delta)``.

    ``delta^2 = (1 + q1) (1 + q2) - c^2 = 1 + q1 + q2 + (q1 q2 - c^2)``, at least 1. Its products
    may be no numbers: powers of two, ``r = r1 r2``, are taken out before they are formed.
    """
    r1, r2 = (1 / lax.stop_gradient(power_of_two(1 + q)) for q in (q1, q2))
    one1, one2 = r1 * r1, r2 * r2
    part1, part2, scaled = q1 * one1, q2 * one2, c * r1 * r2
    square = one1 * (one2 + part2) + one2 * part1 + determinant(scaled, part1, part2)
    return square, r1 * r2, jnp.arctan2(scaled, jnp.sqrt(square))


@dataclass(frozen=True)
class NormalCDF(Dual):
    """``phi(x) = (1 + erf(x / sqrt 2)) / 2``, the distribution function of a standard normal.

    ``E[phi(u) phi(v)] = 1/4 + arcsin(c / sqrt((1 + q1) (1 + q2))) / (2 pi)``, an orthant's
    probability (Sheppard 1899).
    """

    def activation(self, x: Array) -> Array:
        return jax.scipy.special.ndtr(x)

    def _pair(self, c: Array, q1: Array, q2: Array) -> Pair:
        square, r, angle = arcsine(c, q1, q2)
        return 0.25 + angle / (2 * np.pi), r * lax.rsqrt(square) / (2 * np.pi)


@dataclass(frozen=True)
class Erf(Dual):
    """``E[erf(u) erf(v)] = 2/pi arcsin(2 c / sqrt((1 + 2 q1) (1 + 2 q2)))``.

    Williams 1997, eq. 11.
    """

    def activation(self, x: Array) -> Array:
        return jax.lax.erf(x)

    def _pair(self, c: Array, q1: Array, q2: Array) -> Pair:
        square, r, angle = arcsine(2 * c, 2 * q1, 2 * q2)
        return (2 / np.pi) * angle, (4 / np.pi) * r * lax.rsqrt(square)


normal_cdf = NormalCDF()
erf = Erf()
