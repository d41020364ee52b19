"""Sine, cosine, and the random features of a Gaussian kernel."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntk._duals._dual import Dual, Pair


@jax.custom_jvp
def _sines_and_cosines(c: Array, q1: Array, q2: Array) -> Pair:
    """``E[sin u sin v]`` and ``E[cos u cos v]``: ``exp(-(q1 + q2) / 2)`` times sinh c and cosh c.

    Without the range of sinh and cosh, and without cancellation at c = 0 or, for close inputs
    of large variance, in the exponent.
    """
    size = jnp.abs(c)
    near = jnp.exp(((size - q1) + (size - q2)) / 2) / 2
    cosines = near * (1 + jnp.exp(-2 * size))
    return cosines * jnp.tanh(c), cosines


@_sines_and_cosines.defjvp
def _sines_and_cosines_jvp(primals, tangents):
    """Each is the other's derivative in c (Price), and minus half of itself is that in q."""
    (c, q1, q2), (dc, dq1, dq2) = primals, tangents
    sines, cosines = _sines_and_cosines(c, q1, q2)
    decay = -(dq1 + dq2) / 2
    return (sines, cosines), (cosines * dc + sines * decay, sines * dc + cosines * decay)


@dataclass(frozen=True)
class Sin(Dual):
    """``E[sin u sin v] = exp(-(q1 + q2) / 2) sinh c`` (Pearce et al. 2019, for cosines)."""

    def activation(self, x: Array) -> Array:
        return jnp.sin(x)

    def _pair(self, c: Array, q1: Array, q2: Array) -> Pair:
        return _sines_and_cosines(c, q1, q2)


@dataclass(frozen=True)
class Cos(Dual):
    """``E[cos u cos v] = exp(-(q1 + q2) / 2) cosh c``."""

    def activation(self, x: Array) -> Array:
        return jnp.cos(x)

    def _pair(self, c: Array, q1: Array, q2: Array) -> Pair:
        sines, cosines = _sines_and_cosines(c, q1, q2)
        return cosines, sines


@dataclass(frozen=True)
class Rbf(Dual):
    """``phi(x) = sqrt(2) sin(sqrt(2 gamma) x + pi/4)`` (Rahimi and Recht 2007).

    ``E[phi(u) phi(v)] = exp(-gamma (q1 + q2 - 2 c)) = exp(-gamma E[(u - v)^2])``.
    """

    gamma: float

    def activation(self, x: Array) -> Array:
        return 2**0.5 * jnp.sin((2 * self.gamma) ** 0.5 * x + np.pi / 4)

    def _pair(self, c: Array, q1: Array, q2: Array) -> Pair:
        value = jnp.exp(self.gamma * ((c - q1) + (c - q2)))
        return value, 2 * self.gamma * value


sin = Sin()
cos = Cos()


def rbf(gamma: float = 1.0) -> Rbf:
    """The dual of ``sqrt(2) sin(sqrt(2 gamma) x + pi/4)``.

    Raises:
        ValueError: ``gamma`` is not above zero.
    """
    if not gamma > 0:
        raise ValueError(f"gamma must be above zero, got {gamma!r}")
    return Rbf(float(gamma))
