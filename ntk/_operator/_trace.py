"""The diagonal and the trace of the kernel."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ntk._empirical import empirical_ntk
from ntk._operator._jacobian import Jacobian, even_batches


class TraceEstimate(NamedTuple):
    """``value`` and its ``standard_error`` over probes, which is 0 for the exact trace."""

    value: Array
    standard_error: Array


@jax.jit
def diagonal(jacobian: Jacobian) -> Array:
    """``Theta_ii = |grad f_i|^2``, ``[N]``, batch by batch by structured derivatives."""
    signature = jacobian.static.signature
    params = signature.layout.join(jacobian.leaves, jacobian.held)
    axes = tuple(range(1 + len(jacobian.static.output_shape)))

    def of_batch(batch: list[Array]) -> Array:
        x = jax.tree.unflatten(signature.x_tree, batch)
        return empirical_ntk(
            signature.f, params, x, method="structured_derivatives", diagonal_axes=axes
        )

    _, rows = even_batches(jacobian.num_data, jacobian.static.diagonal_batch_size)
    squares = jax.lax.map(of_batch, jacobian.batches(rows))
    return squares.reshape(-1)[: jacobian.size].astype(jacobian.dtype)


@jax.jit
def exact_trace(jacobian: Jacobian) -> TraceEstimate:
    """The sum of the diagonal."""
    value = jnp.sum(diagonal(jacobian))
    return TraceEstimate(value, jnp.zeros_like(value))


def rademacher(key: Array, num_probes: int, jacobian: Jacobian) -> Array:
    """Probes ``[num_probes, N]`` of independent signs."""
    return jax.random.rademacher(key, (num_probes, jacobian.size), jacobian.dtype)


def hutchinson_trace(jacobian: Jacobian, key: Array, num_probes: int) -> TraceEstimate:
    """``E[z^T Theta z] = tr Theta`` over random signs z (Hutchinson 1990).

    ``z^T Theta z = |J^T z|^2``: reverse passes alone, half of a product with the kernel.
    """
    return _hutchinson(jacobian, rademacher(key, num_probes, jacobian))


@jax.jit
def _hutchinson(jacobian: Jacobian, probes: Array) -> TraceEstimate:
    samples = quadratic_forms(jacobian, probes)
    return TraceEstimate(jnp.mean(samples), standard_error(samples))


def quadratic_forms(jacobian: Jacobian, vectors: Array) -> Array:
    """``v^T Theta v = |J^T v|^2`` of every row of ``vectors [k, N]``."""
    pull, _ = jacobian.maps()
    return jacobian.over_vectors(lambda v: _sum_of_squares(pull(v), jacobian.dtype), vectors)


def standard_error(samples: Array) -> Array:
    """Of the mean of ``samples [m]``, m at least 2."""
    return jnp.std(samples, ddof=1) / samples.shape[0] ** 0.5


def _sum_of_squares(leaves: list[Array], dtype: Any) -> Array:
    return jnp.sum(jnp.stack([jnp.sum(leaf.astype(dtype) ** 2) for leaf in leaves]))
