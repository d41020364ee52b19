"""The readout as a function of its repriorised coordinates, and what corrects the density."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array

from bnnsample.contrib.numpyro._rows import Rows
from bnnsample.repriorisation import factorise, log_marginal_likelihood
from bnnsample.repriorisation._factor import posterior_mean, whiten
from bnnsample.repriorisation._map import apply_root


class Surrogate(NamedTuple):
    """The Gaussian observation ``y ~ N(Psi W, scale^2)`` whose posterior of ``W`` is the map.

    Attributes:
        features: ``Psi [n, p]``.
        observation: ``y [n, d]``.
        scale: standard deviation, a scalar or ``[n]``.
    """

    features: Array
    observation: Array
    scale: Array


class Prior(NamedTuple):
    """``W ~ N(loc, std^2)`` elementwise, both ``[p, d]``.

    ``shared``: the columns of ``std`` are known to be equal. Where they are not, one map serves
    all outputs, that of the mean over outputs, and the density is corrected for it.
    """

    loc: Array
    std: Array
    shared: bool


def readout_of(phi: Array, surrogate: Surrogate, prior: Prior) -> tuple[Array, Array]:
    """``W [p, d]`` and the correction ``log p(W) + log|det dW/dphi| - log N(phi; 0, I)``.

    With ``W = loc + s V``, ``V = mu + A phi`` (``bnnsample.repriorisation``), prior times surrogate
    is marginal times N(phi; 0, I), so the correction is

        log N(y; Psi loc, Psi s^2 Psi^T + scale^2) - log N(y; Psi W, scale^2)

    and sums over the n data rather than the p weights: in float32 its error does not grow with
    the width, and a Gaussian likelihood of the same scale cancels against it term by term.
    """
    psi = surrogate.features
    std = prior.std[:, 0] if prior.shared else jnp.mean(prior.std, axis=1)
    centred = surrogate.observation - psi @ prior.loc
    P, z, _ = whiten(psi * std[None, :], centred, surrogate.scale)
    factor = factorise(P, 1.0)
    V = posterior_mean(factor, z) + apply_root(factor, phi)
    residual = z - P @ V
    log_noise = -0.5 * (jnp.sum(residual * residual) + z.size * math.log(2 * math.pi))
    correction = log_marginal_likelihood(P, z, 1.0) - log_noise
    W = prior.loc + std[:, None] * V
    if not prior.shared:
        one_map = dist.Normal(prior.loc, std[:, None]).log_prob(W)
        correction += jnp.sum(dist.Normal(prior.loc, prior.std).log_prob(W) - one_map)
    return W, correction


def gaussian_prior(name: str, fn: dist.Distribution, rows: Rows, dtype) -> Prior:
    """The prior of a readout site as a matrix.

    Raises:
        TypeError: the distribution is not Normal, also after ``to_event`` and ``expand``.
    """
    base = unwrap(fn)
    if not isinstance(base, dist.Normal):
        raise TypeError(
            f"the readout site {name!r} must have a Normal prior (expanded and to_event as you "
            f"like), got {type(base).__name__}"
        )
    scale = _to_rank(base.scale, len(rows.shape), dtype)
    shared = rows.num_outputs == 1 or scale.ndim == 0 or scale.shape[rows.output_axis] == 1
    if not shared and not isinstance(scale, jax.core.Tracer):
        full = rows.to_matrix(jnp.broadcast_to(scale, rows.shape))
        shared = bool(jnp.all(full == full[:, :1]))
    loc = _to_rank(base.loc, len(rows.shape), dtype)
    loc, std = (rows.to_matrix(jnp.broadcast_to(value, rows.shape)) for value in (loc, scale))
    return Prior(loc, std, shared)


def unwrap(fn: dist.Distribution) -> dist.Distribution:
    """The distribution under ``to_event`` and ``expand``."""
    while isinstance(fn, (dist.Independent, dist.ExpandedDistribution)):
        fn = fn.base_dist
    return fn


def _to_rank(value, ndim: int, dtype) -> Array:
    value = jnp.asarray(value, dtype)
    return value.reshape((1,) * (ndim - value.ndim) + value.shape)
