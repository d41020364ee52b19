"""Importance sampling from the prior: no chain, but draws that were chosen beforehand."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from bnnsample.kernels._reference import half_square
from bnnsample.kernels._spec import KernelSpec, Statistics


class Choice(NamedTuple):
    """Which draws of a stream of prior draws stand for the posterior.

    Attributes:
        numbers: their numbers in the stream ``[num_samples]``, ascending.
        potentials: their potentials ``[num_samples]``.
        num_passed: draws of the stream from the one chosen before to this one ``[num_samples]``.
        num_non_finite: of those passed, how many had no finite potential ``[num_samples]``.
        acceptance_rate: the share of the stream that was chosen.
    """

    numbers: Array
    potentials: Array
    num_passed: Array
    num_non_finite: Array
    acceptance_rate: Array

    @classmethod
    def zeros(cls, num_samples: int, dtype: Any) -> "Choice":
        """A choice of that size."""
        return cls(
            jnp.zeros(num_samples, jnp.uint32),
            jnp.zeros(num_samples, dtype),
            jnp.zeros(num_samples, jnp.int32),
            jnp.zeros(num_samples, jnp.int32),
            jnp.zeros((), dtype),
        )


class ImportanceState(NamedTuple):
    """The last draw taken; ``taken`` counts them."""

    position: Any
    potential: Array
    key: Array
    choice: Choice
    taken: Array


def _init(key, posterior, choice):
    position = posterior.numbered_prior_draw(key, choice.numbers[0])
    return ImportanceState(position, choice.potentials[0], key, choice, jnp.asarray(0, jnp.int32))


def _step(key, posterior, state, parameters):
    """The next chosen draw, drawn again from its number; ``key`` is not needed."""
    choice, at = state.choice, state.taken
    position = posterior.numbered_prior_draw(state.key, choice.numbers[at])
    new = ImportanceState(position, choice.potentials[at], state.key, choice, at + 1)
    no_step_size = jnp.asarray(jnp.nan, state.potential.dtype)
    return new, Statistics(
        choice.acceptance_rate,
        jnp.asarray(False),
        choice.num_non_finite[at],
        choice.num_passed[at],
        no_step_size,
    )


def _log_density(state):
    return -state.potential - half_square(state.position).astype(state.potential.dtype)


IMPORTANCE = KernelSpec(
    "importance",
    _init,
    _step,
    _log_density,
    {"num_proposals": None},
    view=lambda posterior: posterior,
    is_chain=False,
)
