"""The scale of a likelihood: a number, or an unknown with a prior."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array

from bnnsample._unknowns import Unknown

NOISE_SCALE = "noise_scale"


class Scale:
    """A positive number, or a NumPyro distribution with positive support as its prior.

    Args:
        scale: the number, one per data point where ``per_point``, the prior, or None for a
            half-normal prior of scale 1, which suits standardised targets.
        name: the unknown's name.
        per_point: whether ``[n]`` is allowed.

    Raises:
        TypeError, ValueError: a scale that is not positive and finite, or a prior that is not
            scalar and positive.
    """

    def __init__(self, scale: Any, name: str = NOISE_SCALE, per_point: bool = False):
        scale = dist.HalfNormal(1.0) if scale is None else scale
        self.name = name
        self.prior = scale if isinstance(scale, dist.Distribution) else None
        self.number = None if self.prior is not None else _checked_number(scale, per_point)
        if self.prior is not None:
            _check_prior(self.prior)

    @property
    def unknowns(self) -> dict[str, Unknown]:
        return {} if self.prior is None else {self.name: Unknown(self.prior)}

    def value(self, values: Any, dtype: Any = None) -> Array:
        """The scale for the unknowns' current values."""
        return values[self.name] if self.prior is not None else jnp.asarray(self.number, dtype)

    def describe(self) -> Any:
        """A number, a list, or the prior's name and arguments."""
        if self.prior is None:
            return np.asarray(self.number).tolist()
        arguments = {k: np.asarray(v).tolist() for k, v in self.prior.get_args().items()}
        return {"distribution": type(self.prior).__name__, **arguments}


def _checked_number(scale: Any, per_point: bool) -> np.ndarray:
    expected = "a positive number, one per data point, or a NumPyro distribution"
    if not per_point:
        expected = "a positive number or a NumPyro distribution"
    try:
        array = np.asarray(scale, dtype=float)
    except (TypeError, ValueError):
        raise TypeError(f"scale must be {expected}, got {type(scale).__name__}") from None
    if array.ndim > int(per_point):
        raise ValueError(
            f"scale must be {expected}, got shape {array.shape}"
            + (
                ": a scale per output needs one factorisation per output and is not supported"
                if per_point
                else ""
            )
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
