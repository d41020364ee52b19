"""Independent Gaussian noise of known or unknown standard deviation."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array

from bnnsample._unknowns import Unknown
from bnnsample.likelihoods._likelihood import Likelihood, Values

NOISE_SCALE = "noise_scale"


class Gaussian(Likelihood):
    """``y ~ N(f, scale^2)``, independent over data and outputs.

    Args:
        scale: the noise standard deviation: a positive number, one per data point (``[n]``),
            or a NumPyro distribution with positive support as the prior of an unknown one, then
            reported as ``noise_scale``. Default: unknown, with a half-normal prior of scale 1,
            which suits standardised targets.

    Raises:
        ValueError: a scale that is not positive and finite, one per output (which would
            cost one factorisation per output), or a prior that is not scalar and positive.
    """

    def __init__(self, scale: Any = None):
        if scale is None:
            scale = dist.HalfNormal(1.0)
        self._prior = scale if isinstance(scale, dist.Distribution) else None
        self._scale = None if self._prior is not None else _checked_scale(scale)
        if self._prior is not None:
            _check_prior(self._prior)

    @property
    def unknowns(self) -> dict[str, Unknown]:
        return {} if self._prior is None else {NOISE_SCALE: Unknown(self._prior)}

    def check(self, y: Any) -> None:
        if self._scale is not None and self._scale.ndim == 1 and len(self._scale) != len(y):
            raise ValueError(
                f"Gaussian(scale=...) has {len(self._scale)} entries, but y has {len(y)} data "
                "points; give one number, or one standard deviation per data point"
            )

    def log_prob(self, y: Array, f: Array, values: Values) -> Array:
        scale = self._scale_of(values, y.dtype)
        column = scale[:, None] if scale.ndim else scale
        z = (y - f) / column
        constant = jnp.log(scale) + 0.5 * math.log(2 * math.pi)
        return -0.5 * jnp.sum(z * z, axis=1) - y.shape[1] * constant

    def sample(self, key: Array, f: Array, values: Values, at_data: bool) -> Array | None:
        variance = self.noise_variance(values, at_data)
        if variance is None:
            return None
        scale = jnp.sqrt(variance).astype(f.dtype)
        column = scale[:, None] if scale.ndim else scale
        return f + column * jax.random.normal(key, f.shape, f.dtype)

    def noise_variance(self, values: Values, at_data: bool) -> Array | None:
        scale = self.gaussian_scale(values)
        return scale**2 if scale.ndim == 0 or at_data else None

    def gaussian_scale(self, values: Values) -> Array:
        return self._scale_of(values, None)

    def describe(self) -> dict[str, Any]:
        if self._prior is not None:
            arguments = {k: np.asarray(v).tolist() for k, v in self._prior.get_args().items()}
            prior = {"distribution": type(self._prior).__name__, **arguments}
            return {"likelihood": "Gaussian", "scale": prior}
        return {"likelihood": "Gaussian", "scale": np.asarray(self._scale).tolist()}

    def _scale_of(self, values: Values, dtype) -> Array:
        if self._prior is not None:
            return values[NOISE_SCALE]
        return jnp.asarray(self._scale, dtype)


def _checked_scale(scale: Any) -> np.ndarray:
    try:
        array = np.asarray(scale, dtype=float)
    except (TypeError, ValueError):
        raise TypeError(
            "scale must be a positive number, one per data point, or a NumPyro distribution, "
            f"got {type(scale).__name__}"
        ) from None
    if array.ndim > 1:
        raise ValueError(
            f"scale must be a number or one per data point, got shape {array.shape}: a scale "
            "per output needs one factorisation per output and is not supported"
        )
    if array.size == 0 or not np.isfinite(array).all() or (array <= 0).any():
        raise ValueError(f"scale must be positive and finite (a standard deviation), got {scale!r}")
    return array


def _check_prior(prior: dist.Distribution) -> None:
    if prior.batch_shape or prior.event_shape:
        raise ValueError(
            "the prior of scale must be a scalar distribution, got shape "
            f"{prior.batch_shape + prior.event_shape}"
        )
    if prior.is_discrete:
        raise ValueError(f"the prior of scale must be continuous, got {type(prior).__name__}")
    support = prior.support
    positive = support in (dist.constraints.positive, dist.constraints.nonnegative) or (
        float(np.asarray(getattr(support, "lower_bound", -np.inf))) >= 0
    )
    if not positive:
        raise ValueError(
            "the prior of scale must have positive support, such as "
            f"numpyro.distributions.HalfNormal(1.0), got {type(prior).__name__}"
        )
