"""The repriorising bijection ``phi_W -> W = mu + A phi_W`` with ``A A^T = Sigma``.

On the parameter side ``A = L^{-T}`` with ``L L^T = I + P^T P`` (Hron et al. 2022, eq. 6). On the
data side, with ``L L^T = I + P P^T``,

    A = I - P^T L^{-T} (L + I)^{-1} P,    A^{-1} = I + P^T (I + L^T)^{-1} P

(Andrews 1968, the square-root filter): n x n work only, and no eigendecomposition. The two
sides differ by a rotation; both push N(0, I) to the posterior of the readout.
"""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from bnnsample.repriorisation._factor import (
    Factor,
    Side,
    condition,
    factorise,
    posterior_mean,
    require_finite,
    solve_lower,
    solve_upper,
)


def forward(phi: Array, psi: Array, y: Array, scale: ArrayLike, side: Side = "auto") -> Array:
    """The readout ``W = mu + A phi``.

    Args:
        phi: repriorised readout ``[p]`` or ``[p, d]``, the shape of the result.
        psi: features ``[n, p]``.
        y: targets ``[n]`` or ``[n, d]``.
        scale: noise standard deviation, a scalar or ``[n]``.
        side: which matrix to factorise; must be the same in ``inverse``.
    """
    factor, z = condition(psi, y, scale, side)
    readout = _as_matrix(phi, factor, z)
    W = posterior_mean(factor, z) + apply_root(factor, readout)
    require_finite("the readout", factor.P, factor.on_parameter_side, W)
    return W.reshape(phi.shape)


def inverse(W: Array, psi: Array, y: Array, scale: ArrayLike, side: Side = "auto") -> Array:
    """The repriorised readout ``phi = A^{-1} (W - mu)``; arguments as in ``forward``."""
    factor, z = condition(psi, y, scale, side)
    readout = _as_matrix(W, factor, z)
    phi = apply_inverse_root(factor, readout - posterior_mean(factor, z))
    require_finite("the repriorised readout", factor.P, factor.on_parameter_side, phi)
    return phi.reshape(W.shape)


def log_det(psi: Array, scale: ArrayLike, num_outputs: int, side: Side = "auto") -> Array:
    """``log |det dW / dphi| = -num_outputs * sum log diag L`` of the map over all outputs."""
    factor = factorise(psi, scale, side)
    value = -num_outputs * jnp.sum(jnp.log(jnp.diagonal(factor.L)))
    require_finite("the log-determinant", factor.P, factor.on_parameter_side, value)
    return value


def _as_matrix(readout: Array, factor: Factor, z: Array) -> Array:
    p, d = factor.P.shape[1], z.shape[1]
    if readout.shape not in ((p, d), (p,)) or (readout.ndim == 1 and d != 1):
        raise ValueError(f"a readout of shape [p, d] = [{p}, {d}] expected, got {readout.shape}")
    return readout.reshape(p, d)


def apply_root(factor: Factor, phi: Array) -> Array:
    P, L = factor.P, factor.L
    if factor.on_parameter_side:
        return solve_upper(L, phi)
    shifted = L + jnp.eye(L.shape[0], dtype=L.dtype)
    return phi - P.T @ solve_upper(L, solve_lower(shifted, P @ phi))


def apply_inverse_root(factor: Factor, centred: Array) -> Array:
    P, L = factor.P, factor.L
    if factor.on_parameter_side:
        return L.T @ centred
    shifted = L + jnp.eye(L.shape[0], dtype=L.dtype)
    return centred + P.T @ solve_upper(shifted, P @ centred)
