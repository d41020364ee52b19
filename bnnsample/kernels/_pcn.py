"""Preconditioned Crank-Nicolson (Cotter, Roberts, Stuart and White 2013, algorithm 4.3)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from blackjax.base import SamplingAlgorithm, build_sampling_algorithm
from jax import Array

from bnnsample.kernels._metropolis import metropolis
from bnnsample.kernels._reference import normal_like, rotate, select

Pytree = Any


class PCNState(NamedTuple):
    """A position and its potential."""

    position: Pytree
    potential: Array


class PCNInfo(NamedTuple):
    """``num_integration_steps`` counts evaluations of the potential, one per step.

    ``num_non_finite``: 1 where it was not finite.
    """

    acceptance_rate: Array
    is_accepted: Array
    is_divergent: Array
    num_non_finite: Array
    num_integration_steps: int


def init(position: Pytree, potential: Callable[[Pytree], Array]) -> PCNState:
    """The state of a position."""
    return PCNState(position, potential(position))


def build_kernel() -> Callable[..., tuple[PCNState, PCNInfo]]:
    """``kernel(key, state, potential, step_size) -> (state, info)``."""

    def kernel(key, state, potential, step_size):
        noise_key, accept_key = jax.random.split(key)
        proposal, _ = rotate(state.position, normal_like(noise_key, state.position), step_size)
        value = potential(proposal)
        # The proposal is reversible for N(0, I), so the ratio holds the potential alone.
        verdict = metropolis(accept_key, value - state.potential)
        new_state = select(verdict.is_accepted, PCNState(proposal, value), state)
        return new_state, PCNInfo(*verdict, 1)

    return kernel


def as_top_level_api(
    potential: Callable[[Pytree], Array], step_size: Array | float
) -> SamplingAlgorithm:
    """pCN for the target ``N(q; 0, I) exp(-potential(q))``: no gradients.

    Args:
        potential: minus the log density relative to N(0, I).
        step_size: the angle ``e`` of the proposal ``cos(e) q + sin(e) xi`` in (0, pi/2], with
            ``beta = sin(e)`` of the paper; pi/2 proposes an independent draw of N(0, I).
    """
    return build_sampling_algorithm(build_kernel(), init, potential, kernel_args=(step_size,))
