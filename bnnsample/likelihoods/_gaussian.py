"""Independent Gaussian noise of known or unknown standard deviation."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bnnsample._scale import Scale
from bnnsample._unknowns import Unknown
from bnnsample.likelihoods._likelihood import Likelihood, Values


class Gaussian(Likelihood):
    """``y ~ N(f, scale^2)``, independent over data and outputs.

    Args:
        scale: the noise standard deviation: a positive number, one per data point (``[n]``),
            or a NumPyro distribution with positive support as the prior of an unknown one, then
            reported as ``noise_scale``; or ``"empirical-bayes"``, one that maximises the marginal
            likelihood of the wide limit. Default: unknown, with a half-normal prior of scale 1,
            which suits standardised targets.

    Raises:
        ValueError: a scale that is not positive and finite, one per output (which would
            cost one factorisation per output), or a prior that is not scalar and positive.
    """

    is_gaussian = True
    standardizes = True

    def __init__(self, scale: Any = None):
        self._scale = Scale(scale, per_point=True, can_fit=True)

    @property
    def unknowns(self) -> dict[str, Unknown]:
        return self._scale.unknowns

    @property
    def to_fit(self) -> tuple[str, ...]:
        return self._scale.to_fit

    def at(self, values: Mapping[str, Any]) -> "Gaussian":
        fitted = [values[name] for name in self.to_fit if name in values]
        return Gaussian(float(fitted[0])) if fitted else self

    def check(self, y: np.ndarray) -> None:
        number = self._scale.number
        if number is not None and number.ndim == 1 and len(number) != len(y):
            raise ValueError(
                f"Gaussian(scale=...) has {len(number)} entries, but y has {len(y)} data "
                "points; give one number, or one standard deviation per data point"
            )

    def log_prob(self, y: Array, f: Array, values: Values) -> Array:
        scale = self._scale.value(values, y.dtype)
        column = scale[:, None] if scale.ndim else scale
        z = (y - f) / column
        constant = jnp.log(scale) + 0.5 * math.log(2 * math.pi)
        return -0.5 * jnp.sum(z * z, axis=1) - y.shape[1] * constant

    def sample(self, key: Array, f: Array, values: Values, at_data: bool) -> Array | None:
        variance = self.variance(f, values, at_data)
        if variance is None:
            return None
        scale = jnp.sqrt(variance).astype(f.dtype)
        return f + scale * jax.random.normal(key, f.shape, f.dtype)

    def mean(self, f: Array, values: Values) -> Array:
        return f

    def variance(self, f: Array, values: Values, at_data: bool) -> Array | None:
        scale = self.gaussian_scale(values)
        if scale.ndim == 0:
            return scale**2
        return scale[:, None] ** 2 if at_data else None

    def gaussian_scale(self, values: Values) -> Array:
        return self._scale.value(values)

    def describe(self) -> dict[str, Any]:
        return {"likelihood": "Gaussian", "scale": self._scale.describe()}
