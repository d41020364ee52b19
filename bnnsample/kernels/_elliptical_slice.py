"""Elliptical slice sampling (Murray, Adams and MacKay 2010, figure 2)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from blackjax.base import SamplingAlgorithm, build_sampling_algorithm
from jax import Array

from bnnsample.kernels._reference import normal_like, rotate, select

Pytree = Any


class EllipticalSliceState(NamedTuple):
    """A position and its potential."""

    position: Pytree
    potential: Array


class EllipticalSliceInfo(NamedTuple):
    """``num_integration_steps`` counts evaluations of the potential.

    ``is_accepted`` is False when the cap was reached and the position kept, which leaves the
    target invariant; ``num_non_finite`` counts evaluations that were not finite, ``is_divergent``
    when there are any; ``acceptance_rate`` is one over the number of evaluations.
    """

    acceptance_rate: Array
    is_accepted: Array
    is_divergent: Array
    num_non_finite: Array
    num_integration_steps: Array


def init(position: Pytree, potential: Callable[[Pytree], Array]) -> EllipticalSliceState:
    """The state of a position."""
    return EllipticalSliceState(position, potential(position))


def build_kernel(max_evaluations: int = 100) -> Callable[..., tuple]:
    """``kernel(key, state, potential) -> (state, info)``."""

    def kernel(key, state, potential):
        noise_key, slice_key, angle_key, shrink_key = jax.random.split(key, 4)
        noise = normal_like(noise_key, state.position)
        dtype = state.potential.dtype
        # log u = -Exp(1): the slice is {potential <= level}.
        level = state.potential + jax.random.exponential(slice_key, dtype=dtype)
        first = jax.random.uniform(angle_key, dtype=dtype, maxval=2 * jnp.pi)

        def evaluate(angle):
            proposal, _ = rotate(state.position, noise, angle)
            return proposal, potential(proposal)

        def non_finite(value):
            return jnp.asarray(~jnp.isfinite(value), jnp.int32)

        def inside(value):
            return jnp.isfinite(value) & (value <= level)

        def outside(carry):
            count, value = carry[0], carry[5]
            return ~inside(value) & (count < max_evaluations)

        def shrink(carry):
            count, angle, low, high, _, _, bad = carry
            low = jnp.where(angle < 0, angle, low)
            high = jnp.where(angle < 0, high, angle)
            u = jax.random.uniform(jax.random.fold_in(shrink_key, count), dtype=dtype)
            angle = low + u * (high - low)
            proposal, value = evaluate(angle)
            return count + 1, angle, low, high, proposal, value, bad + non_finite(value)

        proposal, value = evaluate(first)
        start = (
            jnp.asarray(1, jnp.int32),
            first,
            first - jnp.asarray(2 * jnp.pi, dtype),
            first,
            proposal,
            value,
            non_finite(value),
        )
        count, _, _, _, proposal, value, bad = jax.lax.while_loop(outside, shrink, start)
        found = inside(value)
        new_state = select(found, EllipticalSliceState(proposal, value), state)
        rate = 1 / count.astype(dtype)
        return new_state, EllipticalSliceInfo(rate, found, bad > 0, bad, count)

    return kernel


def as_top_level_api(
    potential: Callable[[Pytree], Array], *, max_evaluations: int = 100
) -> SamplingAlgorithm:
    """Elliptical slice sampling for the target ``N(q; 0, I) exp(-potential(q))``: nothing to tune.

    Args:
        potential: minus the log density relative to N(0, I); a value that is not finite lies
            outside every slice.
        max_evaluations: cap on the evaluations of one step; when it is reached the position
            stays as it is.
    """
    return build_sampling_algorithm(build_kernel(max_evaluations), init, potential)
