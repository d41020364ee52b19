"""The log marginal likelihood of a Gaussian process."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntk.gp._arguments import check_jitter, check_targets, check_variance
from ntk.gp._cholesky import (
    factorise,
    matmul,
    regularise,
    require_definite,
    solve_lower,
    solve_upper,
)
from ntk.gp._matrices import check_square


def log_marginal_likelihood(
    k_train: Any, y: Any, noise_variance: Any, *, jitter: Any = 0.0
) -> Array:
    """``log N(y; 0, K + S)``, summed over outputs, in nats.

    ``-y^T (K + S)^{-1} y / 2 - log det(K + S) / 2 - n log(2 pi) / 2`` with
    ``S = diag(noise_variance)`` (Rasmussen & Williams 2006, eq. 2.30). Outputs that share one
    kernel are independent. Differentiable in every argument, forward, in reverse and again, by
    the closed form of their eq. 5.9; for hyperparameters, compose it with the kernel::

        jax.grad(lambda h: gp.log_marginal_likelihood(kernel(h, x, x), y, h["noise"]))

    Args:
        k_train: ``[n, n]``, or ``[n, n, o, o]`` for a kernel between outputs.
        y: targets ``[n]`` or ``[n, o]``, cast to the kernel's dtype.
        noise_variance: a variance, one number or one per data point ``[n]``, for all outputs.
        jitter: relative: ``jitter * mean(diag(k_train))`` is added to the diagonal.

    Returns:
        ``[]``.

    Raises:
        NotPositiveDefiniteError: ``K + S`` is not positive definite to working precision (a pivot
            within 8 machine epsilons of zero). Under ``jax.jit`` no error can be raised: a
            factorisation that breaks down is then NaN.
        TypeError, ValueError: an argument that does not fit or is not finite. (Values are not
            checked while they are traced.)
    """
    kernel, n, outputs = check_square("k_train", k_train)
    y = check_targets(y, n, outputs, kernel.dtype)
    noise = check_variance("noise_variance", noise_variance, n, kernel.dtype)
    jitter = check_jitter(jitter, kernel.dtype)
    noise = jnp.repeat(jnp.broadcast_to(noise, (n,)), outputs or 1)
    value, ok = _evaluate(kernel, y.reshape(len(kernel), -1), noise, jitter)
    require_definite(ok > 0, "k_train", kernel, noise, jitter)
    return value


@jax.jit
def _evaluate(kernel: Array, y: Array, noise: Array, jitter: Array) -> tuple[Array, Array]:
    return _log_density(regularise(kernel, noise, jitter), y)


@jax.custom_jvp
def _log_density(matrix: Array, y: Array) -> tuple[Array, Array]:
    """``log N(y; 0, matrix)`` over the columns of y, and 1 if the matrix is positive definite."""
    return _with_factor(matrix, y)[:2]


def _with_factor(matrix: Array, y: Array) -> tuple[Array, Array, Array, Array]:
    lower, ok = factorise(matrix)
    n, k = y.shape
    alpha = solve_upper(lower, solve_lower(lower, y))
    log_det = 2 * jnp.sum(jnp.log(jnp.diagonal(lower)))
    value = -(jnp.sum(y * alpha) + k * (log_det + n * math.log(2 * math.pi))) / 2
    return value, ok.astype(matrix.dtype), lower, alpha


@_log_density.defjvp
def _log_density_jvp(primals: Any, tangents: Any) -> tuple[tuple[Array, Array], Any]:
    """Rasmussen & Williams 2006, eq. 5.9: ``tr((alpha alpha^T - k A^{-1}) dA) / 2``."""
    matrix, y = primals
    value, ok, lower, alpha = _with_factor(matrix, y)
    inverse = solve_upper(lower, solve_lower(lower, jnp.eye(len(matrix), dtype=matrix.dtype)))
    slope = (matmul(alpha, alpha.T) - y.shape[1] * inverse) / 2
    tangent = jnp.sum(slope * tangents[0]) - jnp.sum(alpha * tangents[1])
    return (value, ok), (tangent, jnp.zeros_like(ok))
