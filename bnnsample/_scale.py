"""A positive scale: a number, an unknown with a prior, or one to be fitted to the data."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array

from bnnsample._arguments import shown
from bnnsample._data import as_numbers
from bnnsample._unknowns import Unknown

NOISE_SCALE = "noise_scale"
EMPIRICAL_BAYES = "empirical-bayes"


class Scale:
    """A positive number, or a NumPyro distribution with positive support as its prior.

    Args:
        scale: the number, one per data point where ``per_point``, the prior, None for a
            half-normal prior of scale 1, which suits standardised targets, or
            ``"empirical-bayes"`` where ``can_fit``.
        name: the unknown's name.
        per_point: whether ``[n]`` is allowed.
        can_fit: whether ``"empirical-bayes"`` is.

    Raises:
        TypeError, ValueError: a scale that is not positive and finite, or a prior that is not
            scalar and positive.
    """

    def __init__(
        self,
        scale: Any,
        name: str = NOISE_SCALE,
        per_point: bool = False,
        can_fit: bool = False,
    ):
        scale = dist.HalfNormal(1.0) if scale is None else scale
        self.name = name
        self.is_fitted = isinstance(scale, str) and scale == EMPIRICAL_BAYES
        if self.is_fitted and not can_fit:
            raise ValueError(
                f"scale={EMPIRICAL_BAYES!r} maximises a marginal likelihood that is known for "
                "Gaussian noise alone; give a number, or a NumPyro distribution as a prior"
            )
        self.prior = scale if isinstance(scale, dist.Distribution) else None
        self.number = None
        if self.prior is not None:
            check_prior("scale", self.prior)
        elif not self.is_fitted:
            self.number = _checked_number(scale, per_point)

    @property
    def unknowns(self) -> dict[str, Unknown]:
        return {} if self.prior is None else {self.name: Unknown(self.prior)}

    @property
    def to_fit(self) -> tuple[str, ...]:
        """The name of a scale to be fitted, if it is."""
        return (self.name,) if self.is_fitted else ()

    def value(self, values: Any, dtype: Any = None) -> Array:
        """The scale for the unknowns' current values."""
        return values[self.name] if self.number is None else jnp.asarray(self.number, dtype)

    def describe(self) -> Any:
        """A number, a list, the prior's name and arguments, or ``"empirical-bayes"``."""
        if self.is_fitted:
            return EMPIRICAL_BAYES
        return describe_prior(self.prior) if self.prior else np.asarray(self.number).tolist()


def describe_prior(prior: dist.Distribution) -> dict[str, Any]:
    """The name and the arguments of a distribution, as plain values."""
    arguments = {k: np.asarray(v).tolist() for k, v in prior.get_args().items()}
    return {"distribution": type(prior).__name__, **arguments}


def rebuilt_prior(described: Mapping[str, Any]) -> dist.Distribution | None:
    """The distribution that ``describe_prior`` describes; None where it is not of ``PRIORS``."""
    arguments = dict(described)
    family = PRIORS.get(arguments.pop("distribution"))
    if family is None or set(arguments) != set(family.arg_constraints):
        return None
    return family(**{name: float(value) for name, value in arguments.items()})


# Priors of a positive scale that are looked up by name, each with numbers as arguments.
PRIORS: dict[str, type[dist.Distribution]] = {
    family.__name__: family
    for family in (
        dist.Beta,
        dist.Chi2,
        dist.Exponential,
        dist.Gamma,
        dist.HalfCauchy,
        dist.HalfNormal,
        dist.InverseGamma,
        dist.LogNormal,
        dist.LogUniform,
        dist.Pareto,
        dist.Uniform,
        dist.Weibull,
    )
}


def _checked_number(scale: Any, per_point: bool) -> np.ndarray:
    expected = "a positive number, one per data point, or a NumPyro distribution"
    if not per_point:
        expected = "a positive number or a NumPyro distribution"
    array = as_numbers(scale)
    if array is None:
        got = shown(scale) if isinstance(scale, str) else type(scale).__name__
        raise TypeError(f"scale must be {expected}, got {got}")
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
        raise ValueError(
            f"scale must be positive and finite (a standard deviation), got {shown(scale)}"
        )
    return array


def check_prior(argument: str, prior: dist.Distribution) -> None:
    """Raise ``ValueError`` unless ``prior`` is scalar, continuous and positive."""
    if prior.batch_shape or prior.event_shape:
        raise ValueError(
            f"the prior of {argument} must be a scalar distribution, got shape "
            f"{prior.batch_shape + prior.event_shape}"
        )
    if prior.is_discrete:
        raise ValueError(f"the prior of {argument} must be continuous, got {type(prior).__name__}")
    support = prior.support
    positive = support in (dist.constraints.positive, dist.constraints.nonnegative) or (
        float(np.asarray(getattr(support, "lower_bound", -np.inf))) >= 0
    )
    if not positive:
        raise ValueError(
            f"the prior of {argument} must have positive support, such as "
            f"numpyro.distributions.HalfNormal(1.0), got {type(prior).__name__}"
        )
