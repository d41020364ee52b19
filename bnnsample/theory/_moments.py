"""Posterior moments of the function given each draw: of the network, and of its wide limit."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bnnsample._program_of import program_of
from bnnsample._record import KeptParameters
from bnnsample.coordinates import Posterior
from bnnsample.repriorisation._factor import Factor, condition, solve_lower
from bnnsample.repriorisation._readout import predict_from_factor
from bnnsample.theory._gaussian_only import require_gaussian
from bnnsample.theory._limit import WideKernel
from ntk import gp


class Moments(NamedTuple):
    """Of the noise-free function at m points, j of them jointly, given each of a chain's draws.

    Attributes:
        mean: ``[chain, draw, m, d]``.
        variance: ``[chain, draw, m]``, of every output.
        covariance: ``[chain, draw, j, j]``, of every output; outputs are independent given a draw.
    """

    mean: np.ndarray
    variance: np.ndarray
    covariance: np.ndarray


def scales_of(posterior: Posterior, kept: KeptParameters) -> np.ndarray:
    """Noise standard deviations of the kept draws, ``[chain, draw]`` or ``[chain, draw, n]``.

    Raises:
        ValueError: the likelihood is not Gaussian.
    """
    chains, draws = kept.parameters["readout"].shape[:2]
    values = {name: jnp.asarray(v) for name, v in kept.unknowns.items()}
    require_gaussian("compare_to_theory()", posterior.likelihood)
    scale = posterior.likelihood.gaussian_scale(values)
    known = np.asarray(scale, float)
    return known if kept.unknowns else np.broadcast_to(known, (chains, draws, *known.shape))


def network_moments(
    posterior: Posterior,
    data: tuple[Array, Array],
    x: Array,
    joint: np.ndarray,
    hidden: Any,
    scales: np.ndarray,
) -> Moments:
    """``E[f | h]`` and ``cov[f | h]`` of every kept draw, the readout integrated out.

    Args:
        posterior: of the network.
        data: ``(x [n, ...], y [n, d])`` as the sampler saw them, in the precision wanted.
        x: points ``[m, ...]``.
        joint: indices ``[j]`` of the points whose covariance is wanted.
        hidden: hidden parameters with leading axes ``[chain, draw]``.
        scales: noise standard deviations ``[chain, draw]`` or ``[chain, draw, n]``.
    """
    of_chain = program_of(posterior, _of_chain, static_argnums=0)
    chains = []
    for chain in range(len(scales)):
        own = jax.tree.map(lambda a, c=chain: jnp.asarray(a[c], x.dtype), hidden)
        arguments = (*data, x, jnp.asarray(joint), own, jnp.asarray(scales[chain]))
        found = of_chain(posterior.model, *arguments)
        chains.append([np.asarray(a) for a in found])
    return Moments(*(np.stack(parts) for parts in zip(*chains, strict=True)))


def _of_chain(model, x_train, y, x, joint, hidden, scales):
    """Draws in turn: memory for the features of one."""

    def one(draw):
        h, scale = draw
        factor, z = condition(model.features(h, x_train), y, scale)
        psi = model.features(h, x)
        mean, variance = predict_from_factor(psi, factor, z)
        return mean, variance, _covariance(psi[joint], factor)

    return jax.lax.map(one, (hidden, scales))


def _covariance(psi: Array, factor: Factor) -> Array:
    """``psi (I + P^T P)^{-1} psi^T`` for features ``psi [j, p]``."""
    if factor.on_parameter_side:
        root = solve_lower(factor.L, psi.T)
        return root.T @ root
    root = solve_lower(factor.L, factor.P @ psi.T)
    return psi @ psi.T - root.T @ root


def limit_moments(
    kernel: WideKernel,
    data: tuple[Array, Array],
    x: Array,
    joint: np.ndarray,
    scales: np.ndarray,
) -> Moments:
    """The posterior of the wide limit, a Gaussian process, given each draw of the noise scale.

    Arguments are those of ``network_moments``; where the scale is known the draws' axes have
    length 1. The conditional mean and covariance are Rasmussen and Williams 2006, eq. 2.23, 2.24.
    """
    x_train, y = data

    def nngp(x1, x2):
        return kernel(x1, x2, get="nngp")

    everywhere = gp.kernel_matrices(nngp, x_train, x, get="variance")
    together = gp.kernel_matrices(nngp, x_train, x[jnp.asarray(joint)], get="covariance")
    flat = scales.reshape(-1, *scales.shape[2:])
    leading = scales.shape[:2]
    if (flat == flat[:1]).all():
        flat, leading = flat[:1], (1, 1)
    means, variances, covariances = [], [], []
    for scale in flat:
        at_points = gp.posterior(everywhere, y, scale**2)
        means.append(np.asarray(at_points.mean))
        variances.append(np.asarray(at_points.variance))
        jointly = gp.posterior(together, y, scale**2, get="covariance")
        covariances.append(np.asarray(jointly.covariance))
    stacked = (np.stack(parts) for parts in (means, variances, covariances))
    return Moments(*(a.reshape(*leading, *a.shape[1:]) for a in stacked))
