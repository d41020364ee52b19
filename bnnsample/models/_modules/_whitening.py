"""Priors of parameters as functions of standard normals."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from jax.lax import erf
from jax.scipy.special import log_ndtr, ndtr

from bnnsample._lenient import lenient
from bnnsample._unknowns import quantile_map
from bnnsample.models._modules._student import student_quantile

Whitening = Callable[[Array], Array]


def whitening(name: str, prior: Any, shape: tuple[int, ...]) -> Whitening | None:
    """``u -> w`` in the shape and dtype of u: w has the prior where u is N(0, 1); None holds 0.

    ``prior`` is a standard deviation (a number, or an array of ``shape``; it may be traced) or a
    NumPyro distribution of one parameter or of ``shape``: Normal, Laplace, StudentT with at least
    one degree of freedom, Cauchy, LogNormal, HalfNormal, HalfCauchy, Exponential, or a
    TransformedDistribution of a Normal. Formulas keep the digits of both tails in float32.

    Raises:
        TypeError: neither a standard deviation nor a distribution, or one that is not such a
            function of a Gaussian.
        ValueError: another shape, or a standard deviation that is negative or not finite.
    """
    if isinstance(prior, dist.Distribution):
        prior = _unwrapped(prior)
        if prior.event_shape or prior.batch_shape not in ((), shape):
            raise ValueError(
                f"{name} must have the parameter's shape {shape}, or (), got a distribution of "
                f"shape {prior.shape()}"
            )
        return _fitted(_of_distribution(name, prior))
    if isinstance(prior, jax.core.Tracer):
        if prior.shape not in ((), shape):
            raise ValueError(f"{name} must have the parameter's shape {shape}, got {prior.shape}")
        return lambda u: jnp.asarray(prior, u.dtype) * u
    try:
        if prior is None:
            raise TypeError
        deviation = np.asarray(prior, float)
    except (TypeError, ValueError):
        raise TypeError(
            f"{name} must be a standard deviation or a NumPyro distribution, "
            f"got {type(prior).__name__}"
        ) from None
    if deviation.shape not in ((), shape):
        raise ValueError(f"{name} must have the parameter's shape {shape}, got {deviation.shape}")
    if not np.all(np.isfinite(deviation)) or np.any(deviation < 0):
        raise ValueError(f"{name} must be a finite non-negative standard deviation, got {prior!r}")
    if not deviation.any():
        return None
    return lambda u: jnp.asarray(deviation, u.dtype) * u


def _unwrapped(prior: dist.Distribution) -> dist.Distribution:
    while type(prior) in (dist.Independent, dist.ExpandedDistribution):
        prior = prior.base_dist
    return prior


def _fitted(function: Whitening) -> Whitening:
    """Parameters of distributions are arrays of their own dtype, of shape () or u's."""
    return lenient(lambda u: function(u).astype(u.dtype))


def _of_distribution(name: str, prior: Any) -> Whitening:
    kind = type(prior)
    if kind is dist.Normal:
        return _located(prior, lambda u: u)
    if kind is dist.Laplace:
        return _located(prior, _laplace)
    if kind is dist.Cauchy:
        return _located(prior, _cauchy)
    if kind is dist.StudentT:
        return _located(prior, student_quantile(_degrees(name, prior.df)))
    if kind is dist.TransformedDistribution and type(prior.base_dist) is dist.Normal:
        return _transformed(prior)
    quantile = quantile_map(prior)
    if quantile is None:
        raise TypeError(
            f"{name} must be a standard deviation, or a distribution that is a smooth function "
            "of a Gaussian: Normal, Laplace, StudentT, Cauchy, LogNormal, HalfNormal, "
            "HalfCauchy, Exponential or a TransformedDistribution of Normal, got "
            f"{kind.__name__}"
        )
    return quantile


def _located(prior: Any, standard: Whitening) -> Whitening:
    return lambda u: (
        jnp.asarray(prior.loc, u.dtype) + jnp.asarray(prior.scale, u.dtype) * standard(u)
    )


def _degrees(name: str, df: Any) -> float:
    if isinstance(df, jax.core.Tracer):
        raise TypeError(f"{name}: StudentT needs a number for its df, which cannot be unknown")
    values = np.unique(np.asarray(df, float))
    if values.size != 1 or not 1 <= values[0] < math.inf:
        raise ValueError(f"{name}: StudentT needs one number of at least 1 for its df, got {df}")
    return float(values[0])


def _laplace(u: Array) -> Array:
    """``sign(u) (-log(2 Phi(-|u|)))``, from ``erf`` near 0 and from ``log Phi`` further out."""
    near = jnp.abs(u) < 1
    inner, outer = jnp.where(near, u, 0), jnp.where(near, 1, jnp.abs(u))
    # An odd function: with the sign taken inside, its slope at 0 is that of either side.
    sign = jnp.where(u < 0, -1, 1).astype(u.dtype)
    size = erf(sign * inner / jnp.asarray(2**0.5, u.dtype))
    return sign * jnp.where(near, -jnp.log1p(-size), -(math.log(2) + log_ndtr(-outer)))


def _cauchy(u: Array) -> Array:
    """``tan(pi (Phi(u) - 1/2))``, as the reciprocal of ``tan(pi Phi(-|u|))`` further out."""
    near = jnp.abs(u) < 1
    inner, outer = jnp.where(near, u, 0), jnp.where(near, 1, jnp.abs(u))
    middle = jnp.tan(math.pi / 2 * erf(inner / jnp.asarray(2**0.5, u.dtype)))
    return jnp.where(near, middle, jnp.sign(u) / jnp.tan(math.pi * ndtr(-outer)))


def _transformed(prior: dist.TransformedDistribution) -> Whitening:
    base = _located(prior.base_dist, lambda u: u)

    def value(u: Array) -> Array:
        w = base(u)
        for transform in prior.transforms:
            w = transform(w)
        return jnp.asarray(w)

    return value
