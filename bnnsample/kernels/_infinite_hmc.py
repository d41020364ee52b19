"""Infinite-dimensional Hamiltonian Monte Carlo (Beskos, Pinski, Sanz-Serna and Stuart 2011)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from blackjax.base import SamplingAlgorithm, build_sampling_algorithm
from jax import Array

from bnnsample.kernels._metropolis import DIVERGENCE_THRESHOLD, metropolis
from bnnsample.kernels._reference import inner, kick, normal_like, rotate, select
from bnnsample.kernels._splitting import inner_part, outer_part

Pytree = Any


class InfiniteHMCState(NamedTuple):
    """A position, its potential and the potential's gradient."""

    position: Pytree
    potential: Array
    potential_grad: Pytree


class InfiniteHMCInfo(NamedTuple):
    """One transition; ``num_integration_steps`` counts its gradients of the potential.

    ``num_non_finite``: 1 where the potential, or a gradient on the way, was not finite.
    """

    acceptance_rate: Array
    is_accepted: Array
    is_divergent: Array
    num_non_finite: Array
    num_integration_steps: Array
    energy_difference: Array


def init(position: Pytree, potential: Callable[[Pytree], Array]) -> InfiniteHMCState:
    """The state of a position: one gradient."""
    return InfiniteHMCState(position, *jax.value_and_grad(potential)(position))


def build_kernel(divergence_threshold: float = DIVERGENCE_THRESHOLD) -> Callable[..., tuple]:
    """``kernel(key, state, potential, step_size, num_integration_steps[, kick_scale])``."""

    def kernel(key, state, potential, step_size, num_integration_steps, kick_scale=1.0):
        momentum_key, accept_key = jax.random.split(key)
        momentum = normal_like(momentum_key, state.position)
        proposal, _, difference = integrate(
            potential, state, momentum, step_size, num_integration_steps, kick_scale
        )
        verdict = metropolis(accept_key, difference, divergence_threshold)
        new_state = select(verdict.is_accepted, proposal, state)
        steps = jnp.asarray(num_integration_steps, jnp.int32)
        return new_state, InfiniteHMCInfo(*verdict, steps, difference)

    return kernel


def integrate(
    potential: Callable[[Pytree], Array],
    state: InfiniteHMCState,
    momentum: Pytree,
    step_size: Array | float,
    num_steps: Array | int,
    kick_scale: Array | float = 1.0,
) -> tuple[InfiniteHMCState, Pytree, Array]:
    """One trajectory: its end state and momentum, and its energy difference.

    Kicks by the potential alternate with exact rotations by about the angle ``step_size``. A
    rotation keeps ``|q|^2 + |p|^2``, so the energy changes by the potential and by the kicks alone,

        dH = U(q') - U(q) - sum_i w_i <g_i, (p_i + p_i') / 2>

    (Beskos et al. 2011, eq. 4.5), a sum free of the large terms ``|q|^2`` and ``|p|^2``, whose
    rounding would drown the difference at a million float32 parameters.
    """
    dtype = state.potential.dtype
    gradient_fn = jax.value_and_grad(potential)
    angle, n = jnp.asarray(step_size, dtype), jnp.asarray(num_steps, jnp.int32)
    # The loop takes ``num_steps`` itself: of a Python int it is a scan, which has a reverse mode.
    scale = angle * jnp.asarray(kick_scale, dtype)

    def weighted_kick(p, gradient, i):
        weight = scale * outer_part(i, n, dtype)
        kicked = kick(p, gradient, weight)
        middle = jax.tree.map(lambda a, b: (a + b) / 2, p, kicked)
        return kicked, weight * jnp.asarray(inner(gradient, middle), dtype)

    def step(i, carry):
        q, p, _, gradient, work = carry
        q, p = rotate(q, p, angle * inner_part(i, n, dtype))
        value, gradient = gradient_fn(q)
        p, step_work = weighted_kick(p, gradient, i + 1)
        return q, p, value, gradient, work + step_work

    momentum, work = weighted_kick(momentum, state.potential_grad, 0)
    start = (state.position, momentum, state.potential, state.potential_grad, work)
    q, p, value, gradient, work = jax.lax.fori_loop(0, num_steps, step, start)
    return InfiniteHMCState(q, value, gradient), p, value - state.potential - work


def as_top_level_api(
    potential: Callable[[Pytree], Array],
    step_size: Array | float,
    num_integration_steps: Array | int,
    kick_scale: Array | float = 1.0,
    *,
    divergence_threshold: float = DIVERGENCE_THRESHOLD,
) -> SamplingAlgorithm:
    """Infinite-dimensional HMC for the target ``N(q; 0, I) exp(-potential(q))``.

    Exact for the Gaussian at any step size: where the potential is flat every proposal is
    accepted, and a total angle ``step_size * num_integration_steps`` of pi/2 draws independently.

    Args:
        potential: minus the log density relative to N(0, I).
        step_size: mean angle of a rotation, in radians; of four or more, the first and the last
            are shorter, which takes back most of the energy error where the potential is close
            to quadratic (``docs/mathematics.md``).
        num_integration_steps: rotations, and gradients, per transition.
        kick_scale: factor on every kick. 1 follows the Hamiltonian flow; any other is as exact, as
            the kicks stay shears and the trajectory reversible. For one or two rotations to a
            quarter turn a smaller kick is accepted more often, since the potential of a wide
            network varies along the rotation faster than its gradient tells.
        divergence_threshold: energy differences above it are counted as divergent.
    """
    return build_sampling_algorithm(
        build_kernel(divergence_threshold),
        init,
        potential,
        kernel_args=(step_size, num_integration_steps, kick_scale),
    )
