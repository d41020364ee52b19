"""The Metropolis test on an energy difference."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

DIVERGENCE_THRESHOLD = 1000.0


class Verdict(NamedTuple):
    """Outcome of one Metropolis test; ``num_non_finite``: 1 where the difference is not finite."""

    acceptance_rate: Array
    is_accepted: Array
    is_divergent: Array
    num_non_finite: Array


def metropolis(
    key: Array, energy_difference: Array, divergence_threshold: float = DIVERGENCE_THRESHOLD
) -> Verdict:
    """Accept with probability ``min(1, exp(-energy_difference))``.

    A difference that is not finite is rejected and counted, as a divergence too, as is one above
    the threshold.
    """
    finite = jnp.isfinite(energy_difference)
    safe = jnp.where(finite, energy_difference, jnp.inf)
    rate = jnp.exp(-jnp.maximum(safe, 0))
    is_accepted = jax.random.uniform(key, dtype=rate.dtype) < rate
    is_divergent = ~finite | (safe > divergence_threshold)
    return Verdict(rate, is_accepted, is_divergent, jnp.asarray(~finite, jnp.int32))
