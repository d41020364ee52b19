"""The readout as a function of its repriorised coordinates, and what corrects the density."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array

from bnnsample.contrib.numpyro._rows import Rows
from bnnsample.repriorisation._factor import (
    Factor,
    condition,
    posterior_mean,
    solve_lower,
    solve_upper,
)
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

    ``W = loc + s V`` with ``V = mu + A phi`` (``bnnsample.repriorisation``), and the correction is
    ``(|phi|^2 - |V|^2) / 2 - d sum log diag L``: ``s`` drops out.
    """
    psi = surrogate.features
    std = prior.std[:, 0] if prior.shared else jnp.mean(prior.std, axis=1)
    centred = surrogate.observation - psi @ prior.loc
    factor, z = condition(psi * std[None, :], centred, surrogate.scale)
    side = _parameter_side if factor.on_parameter_side else _data_side
    V, growth = side(factor, z, phi)
    correction = -0.5 * growth - z.shape[1] * jnp.sum(jnp.log(jnp.diagonal(factor.L)))
    W = prior.loc + std[:, None] * V
    if not prior.shared:
        one_map = dist.Normal(prior.loc, std[:, None]).log_prob(W)
        correction += jnp.sum(dist.Normal(prior.loc, prior.std).log_prob(W) - one_map)
    return W, correction


def _parameter_side(factor: Factor, z: Array, phi: Array) -> tuple[Array, Array]:
    """``V`` and ``|V|^2 - |phi|^2`` from the p x p factor."""
    V = posterior_mean(factor, z) + apply_root(factor, phi)
    return V, jnp.sum((V - phi) * (V + phi))


def _data_side(factor: Factor, z: Array, phi: Array) -> tuple[Array, Array]:
    """The same from the n x n factor, where ``V = phi + P^T c`` with, for ``u = P phi``,

        c = L^{-T} w,  w = L^{-1} z - (L + I)^{-1} u,
        |V|^2 - |phi|^2 = 2 u . c + c . (L L^T - I) c = 2 u . c + |w|^2 - |c|^2

    (``bnnsample.repriorisation._map``, Andrews 1968). All sums run over the n data: in float32
    their error does not grow with the width. Three solves of one right-hand side per output.
    """
    P, L = factor.P, factor.L
    u = P @ phi
    w = solve_lower(L, z) - solve_lower(L + jnp.eye(L.shape[0], dtype=L.dtype), u)
    c = solve_upper(L, w)
    return phi + P.T @ c, jnp.sum(2 * u * c + w * w - c * c)


def gaussian_prior(name: str, fn: dist.Distribution, rows: Rows, dtype) -> Prior:
    """The prior of a readout site as a matrix.

    Raises:
        TypeError: the distribution is not Normal, also after ``to_event`` and ``expand``.
    """
    base = normal_of(name, fn)
    shared = rows.num_outputs == 1 or _is_shared(base.scale, rows)
    loc, std = (_as_matrix(value, rows, dtype) for value in (base.loc, base.scale))
    return Prior(loc, std, shared)


def normal_of(name: str, fn: dist.Distribution) -> dist.Normal:
    """The Normal under ``to_event`` and ``expand``; ``TypeError`` for another distribution."""
    base = unwrap(fn)
    if not isinstance(base, dist.Normal):
        raise TypeError(
            f"the readout site {name!r} must have a Normal prior (expanded and to_event as you "
            f"like), got {type(base).__name__}"
        )
    return base


def _is_shared(scale: Any, rows: Rows) -> bool:
    """Whether the scales are known to be the same for all outputs, by shape or by value."""
    shape = (1,) * (len(rows.shape) - jnp.ndim(scale)) + jnp.shape(scale)
    if shape[rows.output_axis] == 1:
        return True
    if isinstance(scale, jax.core.Tracer):
        return False
    along = np.moveaxis(np.asarray(scale).reshape(shape), rows.output_axis, 0)
    return bool((along == along[:1]).all())


def _as_matrix(value: Any, rows: Rows, dtype) -> Array:
    return rows.to_matrix(jnp.broadcast_to(jnp.asarray(value, dtype), rows.shape))


def unwrap(fn: dist.Distribution) -> dist.Distribution:
    """The distribution under ``to_event`` and ``expand``."""
    while isinstance(fn, (dist.Independent, dist.ExpandedDistribution)):
        fn = fn.base_dist
    return fn
