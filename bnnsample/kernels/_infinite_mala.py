"""Infinite-dimensional MALA, the semi-implicit pCNL (Cotter et al. 2013, algorithm 4.4)."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from blackjax.base import SamplingAlgorithm, build_sampling_algorithm
from jax import Array

from bnnsample.kernels import _infinite_hmc
from bnnsample.kernels._infinite_hmc import InfiniteHMCInfo as InfiniteMALAInfo
from bnnsample.kernels._infinite_hmc import InfiniteHMCState as InfiniteMALAState
from bnnsample.kernels._infinite_hmc import init
from bnnsample.kernels._metropolis import DIVERGENCE_THRESHOLD

Pytree = Any

__all__ = ["as_top_level_api", "build_kernel", "init"]


def build_kernel(divergence_threshold: float = DIVERGENCE_THRESHOLD) -> Callable[..., tuple]:
    """``kernel(key, state, potential, step_size) -> (state, info)``."""

    one_step = _infinite_hmc.build_kernel(divergence_threshold)

    def kernel(key, state, potential, step_size) -> tuple[InfiniteMALAState, InfiniteMALAInfo]:
        kick_scale = semi_implicit(jnp.asarray(step_size, state.potential.dtype))
        return one_step(key, state, potential, step_size, 1, kick_scale)

    return kernel


def semi_implicit(step_size: Array) -> Array:
    """``tan(h / 2) / (h / 2)``, the scale of kicks that solve a linear potential exactly.

    The kick of pCNL (Cotter et al. 2013, eq. 4.7) at ``cos(h) = (2 - delta) / (2 + delta)``.
    """
    return jnp.sinc(step_size / (2 * jnp.pi)) / jnp.cos(step_size / 2)


def as_top_level_api(
    potential: Callable[[Pytree], Array],
    step_size: Array | float,
    *,
    divergence_threshold: float = DIVERGENCE_THRESHOLD,
) -> SamplingAlgorithm:
    """Infinite-dimensional MALA for the target ``N(q; 0, I) exp(-potential(q))``.

    The proposal ``cos(e) q + sin(e) (xi - tan(e/2) grad U(q))`` is the paper's with
    ``cos(e) = (2 - delta) / (2 + delta)``; it is infinite HMC with a single step.

    Args:
        potential: minus the log density relative to N(0, I).
        step_size: the angle ``e`` in radians, below pi.
        divergence_threshold: energy differences above it are counted as divergent.
    """
    return build_sampling_algorithm(
        build_kernel(divergence_threshold), init, potential, kernel_args=(step_size,)
    )
