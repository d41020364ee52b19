"""The exponential function."""

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from ntk._duals._dual import Dual, Pair


@dataclass(frozen=True)
class Exp(Dual):
    """``E[exp(u) exp(v)] = exp((q1 + q2) / 2 + c)``, half the variance of u + v in the exponent.

    Infinite where the dtype has no such number (an exponent above 88 in float32).
    """

    def activation(self, x: Array) -> Array:
        return jnp.exp(x)

    def _pair(self, c: Array, q1: Array, q2: Array) -> Pair:
        value = jnp.exp((q1 + q2) / 2 + c)
        return value, value


exp = Exp()
