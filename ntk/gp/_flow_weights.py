"""What gradient flow has learned by time t, as a function of a matrix, and its derivative."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntk.gp._cholesky import matmul


@jax.custom_jvp
def learned_weights(train: Array, test_train: Array, t: Array) -> tuple[Array, Array]:
    """``T_* g(T)`` for ``g(T) = (1 - exp(-T t)) T^{-1}``, zero on the null space of T.

    Args:
        train: ``T [N, N]``, symmetric.
        test_train: ``T_* [M, N]``.
        t: at least 0, or infinity.

    Returns:
        ``[M, N]``, and 1 if T is positive semi-definite to working precision, else 0.
    """
    weights, ok, *_ = _with_decomposition(train, test_train, t)
    return weights, ok


def _with_decomposition(train: Array, test_train: Array, t: Array) -> tuple[Array, ...]:
    values, vectors = jnp.linalg.eigh(train, symmetrize_input=False)
    rounding = len(train) * jnp.finfo(train.dtype).eps * jnp.max(jnp.abs(values))
    ok = jnp.all(values >= -rounding).astype(train.dtype)
    rates = jnp.where(values > rounding, values, 0)
    factor = _rise(rates, t)
    weights = matmul(matmul(test_train, vectors) * factor[None, :], vectors.T)
    return weights, ok, rates, vectors, factor


def _rise(rate: Array, t: Array) -> Array:
    """``(1 - exp(-rate t)) / rate``, exact at t = 0 and t = inf; 0 for a rate of 0."""
    safe = jnp.where(rate > 0, rate, 1)
    return jnp.where(rate > 0, -jnp.expm1(-safe * t) / safe, 0)


@learned_weights.defjvp
def _learned_weights_jvp(primals: Any, tangents: Any) -> tuple[tuple[Array, Array], Any]:
    """By divided differences (Daleckii and Krein 1965; Higham 2008, theorem 3.11).

    They are finite where eigenvalues are equal, unlike the derivatives of eigenvectors.
    """
    _, test_train, t = primals
    weights, ok, rates, vectors, factor = _with_decomposition(*primals)
    inner = matmul(matmul(vectors.T, tangents[0]), vectors) * _divided_differences(rates, t)
    change = matmul(matmul(test_train, vectors), inner)
    change += matmul(tangents[1], vectors) * factor[None, :]
    change += matmul(test_train, vectors) * (_fall(rates, t) * tangents[2])[None, :]
    return (weights, ok), (matmul(change, vectors.T), jnp.zeros_like(ok))


def _fall(rate: Array, t: Array) -> Array:
    """``exp(-rate t)``; 0 for a rate of 0."""
    return jnp.where(rate > 0, jnp.exp(-jnp.where(rate > 0, rate, 1) * t), 0)


def _divided_differences(rates: Array, t: Array) -> Array:
    """``(g(a) - g(b)) / (a - b)`` of every pair, its limit where ``a = b``.

    For ``a >= b > 0`` it is ``(exp(-b t) (1 - exp(-(a - b) t)) / (a - b) - g(a)) / b``: no
    difference of close numbers unless ``a t`` is small.
    """
    a = jnp.maximum(rates[:, None], rates[None, :])
    b = jnp.minimum(rates[:, None], rates[None, :])
    fall = _fall(b, t)
    between = jnp.where(a > b, _rise(a - b, t), t)
    both = (jnp.where(fall > 0, fall * between, 0) - _rise(a, t)) / jnp.where(b > 0, b, 1)
    alone = _rise(a, t) / jnp.where(a > 0, a, 1)  # b is of the null space, where g is 0
    return jnp.where(b > 0, both, alone)
