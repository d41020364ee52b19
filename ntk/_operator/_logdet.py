"""The log-determinant of the shifted kernel by stochastic Lanczos quadrature."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ntk._operator._jacobian import Jacobian
from ntk._operator._lanczos import lanczos, solve_first, tridiagonal
from ntk._operator._length import length
from ntk._operator._trace import rademacher, standard_error


class LogDeterminant(NamedTuple):
    """An estimate of ``log det(Theta + shift I)`` and both of its errors.

    ``standard_error`` is that of the mean over probes. ``quadrature_gap`` bounds the bias of too
    few Lanczos steps: for the probes drawn, in exact arithmetic, the value without quadrature
    error lies in ``[value - quadrature_gap, value]``.
    """

    value: Array
    standard_error: Array
    quadrature_gap: Array


def log_determinant(
    jacobian: Jacobian, shift: Array, key: Array, num_probes: int, num_steps: int
) -> LogDeterminant:
    """``E[z^T log(Theta + shift I) z]`` over random signs z, each by Lanczos quadrature.

    Ubaru, Chen and Saad 2017, algorithm 1. The logarithm's even derivatives are negative and its
    odd ones positive, so Gauss quadrature is above the truth and Gauss-Radau quadrature, with a
    node at the lower end of the spectrum, below it (Golub and Meurant 1994, theorem 3.2).
    """
    probes = rademacher(key, num_probes, jacobian)
    return _log_determinant(jacobian, shift, probes, num_steps)


@partial(jax.jit, static_argnames="num_steps")
def _log_determinant(
    jacobian: Jacobian, shift: Array, probes: Array, num_steps: int
) -> LogDeterminant:
    held, held_shift = jax.lax.stop_gradient((jacobian, shift))
    held_product, product = held.product(), jacobian.product()

    def of_probe(z: Array) -> tuple[Array, Array, Array]:
        found = lanczos(held_product, z, num_steps)
        # z = |z| basis[0], so this is (Theta + shift I)^{-1} z in the Krylov space.
        solution = length(z) * jnp.matmul(
            solve_first(found.diagonal, found.coupling, held_shift),
            found.basis,
            precision="highest",
        )
        return found.diagonal, found.coupling, jnp.dot(solution, product(z) + shift * z)

    diagonals, couplings, forms = jacobian.over_vectors(of_probe, probes)

    # One small eigenproblem after another: batched LAPACK calls can block each other on CPU.
    def quadrature(coefficients: tuple[Array, Array]) -> tuple[Array, Array]:
        gauss, radau = _quadrature(*coefficients, held_shift)
        return gauss * jacobian.size, radau * jacobian.size

    gauss, radau = jax.lax.map(quadrature, (diagonals, couplings))
    # The derivative is z^T (Theta + shift I)^{-1} dTheta z, not that of the iterations: zero is
    # added, with this derivative.
    value = jnp.mean(gauss) + jnp.mean(forms - jax.lax.stop_gradient(forms))
    return LogDeterminant(value, standard_error(gauss), jnp.maximum(jnp.mean(gauss - radau), 0))


def _quadrature(diagonal: Array, coupling: Array, shift: Array) -> tuple[Array, Array]:
    """The Gauss and the Gauss-Radau rule for ``e_1^T log(T + shift I) e_1``.

    The Radau matrix has one more row, its last diagonal entry chosen to make 0, the lower
    end of the spectrum of Theta, an eigenvalue: ``b^2 e^T T^{-1} e`` with b the last coupling
    (Golub 1973, section 7).
    """
    nodes, vectors = jnp.linalg.eigh(tridiagonal(diagonal, coupling[:-1]))
    gauss = _rule(nodes, vectors, shift)
    floor = jnp.finfo(nodes.dtype).eps * jnp.max(nodes) + jnp.finfo(nodes.dtype).tiny
    last = coupling[-1] ** 2 * jnp.sum(vectors[-1] ** 2 / jnp.maximum(nodes, floor))
    radau = tridiagonal(jnp.append(diagonal, last), coupling)
    nodes, vectors = jnp.linalg.eigh(radau)
    return gauss, _rule(nodes, vectors, shift)


def _rule(nodes: Array, vectors: Array, shift: Array) -> Array:
    # Rounding can put an eigenvalue of a semi-definite matrix below 0.
    return jnp.sum(vectors[0] ** 2 * jnp.log(jnp.maximum(nodes, 0) + shift))
