"""Activations with a jump: they have an NNGP, and no NTK."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array

from ntk._duals._angle import sine_and_angle
from ntk._duals._dual import Dual, Pair


@dataclass(frozen=True)
class Jump(Dual):
    """``phi(x) = below`` for x < 0, ``above`` for x > 0, their mean at 0.

    ``E[phi(u) phi(v)] = ((above + below) / 2)^2 + ((above - below) / 2)^2 2/pi w`` with ``w`` of
    :func:`sine_and_angle` (Cho and Saul 2009, order 0). The square of ``phi'``, a delta function,
    has no expectation: a call raises ValueError.
    """

    below: float
    above: float

    has_derivative: ClassVar[bool] = False

    def activation(self, x: Array) -> Array:
        return (self.above + self.below) / 2 + (self.above - self.below) / 2 * jnp.sign(x)

    def _pair(self, c: Array, q1: Array, q2: Array) -> Pair:
        _, w = sine_and_angle(c, q1, q2)
        return self._value(w * 2 / np.pi), jnp.full_like(w, jnp.nan)

    def _on_diagonal(self, q: Array) -> Pair:
        return self._value(jnp.sign(q)), jnp.full_like(q, jnp.nan)

    def _value(self, signs: Array) -> Array:
        mean, half_jump = (self.above + self.below) / 2, (self.above - self.below) / 2
        return mean**2 + half_jump**2 * signs


sign = Jump(-1.0, 1.0)
step = Jump(0.0, 1.0)
