"""Exact draws of the readout and exact predictions, given the hidden layers."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from bnnsample.repriorisation._factor import (
    Factor,
    Side,
    condition,
    posterior_mean,
    require_finite,
    solve_lower,
    solve_upper,
)


def draw_readout(key: Array, psi: Array, y: Array, scale: ArrayLike, side: Side = "auto") -> Array:
    """One exact draw of the readout ``W [p, d]`` from its posterior given the features.

    On the data side ``W = phi + P^T (I + P P^T)^{-1} (y / scale - P phi - eps)`` with ``phi``
    and ``eps`` standard normal (Matheron's rule; Wilson et al. 2020, eq. 9): n x n work only.

    Args:
        key: a JAX random key.
        psi: features ``[n, p]``.
        y: targets ``[n]`` (then ``W`` is ``[p]``) or ``[n, d]``.
        scale: noise standard deviation, a scalar or ``[n]``.
    """
    factor, z = condition(psi, y, scale, side)
    W = draw_from_factor(key, factor, z)
    require_finite("the readout", factor.P, factor.on_parameter_side, W)
    return W if jnp.ndim(y) == 2 else W[:, 0]


def draw_from_factor(key: Array, factor: Factor, z: Array) -> Array:
    """``draw_readout`` from a factor and whitened targets ``z [n, d]`` at hand."""
    P, L = factor.P, factor.L
    n, p = P.shape
    phi_key, noise_key = jax.random.split(key)
    phi = jax.random.normal(phi_key, (p, z.shape[1]), P.dtype)
    if factor.on_parameter_side:
        return posterior_mean(factor, z) + solve_upper(L, phi)
    noise = jax.random.normal(noise_key, (n, z.shape[1]), P.dtype)
    return phi + posterior_mean(factor, z - P @ phi - noise)


def predict(
    psi_new: Array, psi: Array, y: Array, scale: ArrayLike, side: Side = "auto"
) -> tuple[Array, Array]:
    """Mean and variance of the noise-free function at new inputs, given the hidden layers.

    Args:
        psi_new: features of the new inputs ``[m, p]``.
        psi: features of the training inputs ``[n, p]``.
        y: targets ``[n]`` or ``[n, d]``.
        scale: noise standard deviation of the training data, a scalar or ``[n]``.

    Returns:
        ``(mean [m] or [m, d], variance [m])``; the variance is shared by the outputs and is
        that of ``psi_new @ W``, without observation noise. On the data side it is a difference,
        cut off at zero where rounding would make it negative.
    """
    factor, z = condition(psi, y, scale, side)
    p = factor.P.shape[1]
    psi_new = jnp.asarray(psi_new, factor.P.dtype)
    if psi_new.ndim != 2 or psi_new.shape[1] != p:
        raise ValueError(f"psi_new must have shape [m, {p}], got {psi_new.shape}")
    mean, variance = predict_from_factor(psi_new, factor, z)
    require_finite("the prediction", factor.P, factor.on_parameter_side, mean, variance)
    return (mean if jnp.ndim(y) == 2 else mean[:, 0]), variance


def predict_from_factor(psi_new: Array, factor: Factor, z: Array) -> tuple[Array, Array]:
    """``predict`` from a factor and whitened targets ``z [n, d]`` at hand."""
    P, L = factor.P, factor.L
    mean = psi_new @ posterior_mean(factor, z)
    if factor.on_parameter_side:
        root = solve_lower(L, psi_new.T)
        return mean, jnp.sum(root * root, axis=0)
    root = solve_lower(L, P @ psi_new.T)
    variance = jnp.sum(psi_new * psi_new, axis=1) - jnp.sum(root * root, axis=0)
    return mean, jnp.maximum(variance, 0)
