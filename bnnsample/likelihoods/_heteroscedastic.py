"""Gaussian noise whose scale the network learns as a function of the input."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from bnnsample.likelihoods._likelihood import Likelihood, Values


class HeteroscedasticGaussian(Likelihood):
    """``y ~ N(f_1, exp(f_2)^2)``: the network's outputs are means, then log standard deviations.

    For targets ``[n, t]`` the network has ``2 t`` outputs. The log standard deviation's prior is
    that of the network's outputs around 0: standardised targets suit it.
    """

    standardizes = True

    def num_outputs(self, y: Any) -> int:
        return 2 * y.shape[1]

    def log_prob(self, y: Array, f: Array, values: Values) -> Array:
        mean, log_scale = jnp.split(f, 2, axis=1)
        z = (y - mean) * jnp.exp(-log_scale)
        return jnp.sum(-0.5 * z * z - log_scale - 0.5 * math.log(2 * math.pi), axis=1)

    def sample(self, key: Array, f: Array, values: Values, at_data: bool) -> Array:
        mean, log_scale = jnp.split(f, 2, axis=1)
        return mean + jnp.exp(log_scale) * jax.random.normal(key, mean.shape, f.dtype)

    def mean(self, f: Array, values: Values) -> Array:
        return f[:, : f.shape[1] // 2]

    def variance(self, f: Array, values: Values, at_data: bool) -> Array:
        return jnp.exp(2 * f[:, f.shape[1] // 2 :])

    def describe(self) -> dict[str, Any]:
        return {"likelihood": "HeteroscedasticGaussian"}
