"""The fully connected layer in NTK parameterisation."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array


class Dense(NamedTuple):
    """``y = weight_std / sqrt(fan_in) * x @ w + bias_std * b``, every parameter with prior N(0, 1).

    The scales live in the forward pass (Jacot et al. 2018, eq. 1 and 2), so that the prior of
    a parameter, and with it the reference measure of every sampler, does not depend on width.
    ``weight_std`` and ``bias_std`` are standard deviations. ``bias_std = 0`` leaves the bias out.
    """

    weight_std: float
    bias_std: float

    def init(self, key: Array, fan_in: int, width: int, dtype) -> dict[str, Array]:
        """A draw from the prior: ``{"weight": [fan_in, width], "bias": [width]}``."""
        weight_key, bias_key = jax.random.split(key)
        parameters = {"weight": jax.random.normal(weight_key, (fan_in, width), dtype)}
        if self.bias_std > 0:
            parameters["bias"] = jax.random.normal(bias_key, (width,), dtype)
        return parameters

    def apply(self, parameters: dict[str, Array], x: Array) -> Array:
        """Pre-activations ``[n, width]`` of inputs ``x [n, fan_in]``."""
        fan_in = x.shape[-1]
        # Scaling the inputs costs n * fan_in, scaling the weights fan_in * width.
        z = (x * jnp.asarray(self.weight_std / fan_in**0.5, x.dtype)) @ parameters["weight"]
        if self.bias_std > 0:
            z = z + jnp.asarray(self.bias_std, x.dtype) * parameters["bias"][None, :]
        return z
