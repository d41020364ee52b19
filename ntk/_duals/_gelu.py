"""The exact Gaussian error linear unit."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ntk._duals._dual import Dual, Pair
from ntk._duals._error_function import arcsine


@dataclass(frozen=True)
class Gelu(Dual):
    """``phi(x) = x (1 + erf(x / sqrt 2)) / 2`` (Tsuchida et al. 2021, arXiv:2002.08517, sec. 3).

    With ``delta^2 = (1 + q1) (1 + q2) - c^2`` and ``w = arctan2(c, delta)``:
    ``E[phi(u) phi(v)] = c/4 + ((c^2 + q1 q2 delta^2) / ((1 + q1) (1 + q2) delta) + c w) / (2 pi)``,
    ``E[phi'(u) phi'(v)] = 1/4 + (w + c/delta (1/delta^2 + 1/(1 + q1) + 1/(1 + q2))) / (2 pi)``.
    """

    def activation(self, x: Array) -> Array:
        return jax.nn.gelu(x, approximate=False)

    def _pair(self, c: Array, q1: Array, q2: Array) -> Pair:
        square, r, w = arcsine(c, q1, q2)
        inverse1, inverse2 = 1 / (1 + q1), 1 / (1 + q2)
        density = (c * inverse1) * (c * inverse2) * (r * r)
        density = density + (q1 * inverse1) * (q2 * inverse2) * square
        # A root of its own: see sine_and_angle.
        density = density * (2 * lax.rsqrt(4 * square)) / r
        slope = c * r / jnp.sqrt(square) * (r * r / square + inverse1 + inverse2)
        return c / 4 + (density + c * w) / (2 * np.pi), 0.25 + (w + slope) / (2 * np.pi)


gelu = Gelu()
