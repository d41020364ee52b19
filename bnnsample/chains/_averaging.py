"""Dual averaging of a step size (Nesterov 2009; Hoffman and Gelman 2014, section 3.2)."""

from typing import Any

import jax
import jax.numpy as jnp
from blackjax.adaptation.step_size import dual_averaging_adaptation
from jax import Array

from bnnsample._lenient import lenient


class Averaging:
    """BlackJAX's dual averaging in one dtype, bounded above."""

    def __init__(self, target: float, max_step_size: float, dtype: Any):
        self.dtype, self.bounds = dtype, (1e-8, min(max_step_size, 1e8))
        self._init, self._update, self._final = map(lenient, dual_averaging_adaptation(target))

    def start(self, step_size: Array | float) -> Any:
        """A fresh state around a step size."""
        state = self._init(jnp.asarray(step_size, self.dtype))
        cast = jax.tree.map(lambda a: jnp.asarray(a, self.dtype), state)
        return cast._replace(step=jnp.asarray(state.step, jnp.int32))

    def update(self, state: Any, acceptance_rate: Array) -> Any:
        """The state after one step with that acceptance rate."""
        return self._update(state, acceptance_rate)

    def current(self, state: Any) -> Array:
        """The step size to use now."""
        return jnp.clip(jnp.exp(state.log_step_size), *self.bounds)

    def final(self, state: Any) -> Array:
        """The averaged step size; the starting one where no step was taken."""
        averaged = jnp.where(state.step > 1, self._final(state), jnp.exp(state.log_step_size))
        return jnp.clip(averaged, *self.bounds).astype(self.dtype)

    def restart(self, state: Any) -> Any:
        """A fresh state around the averaged step size."""
        return self.start(self.final(state))
