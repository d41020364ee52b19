"""Mean and variance of coordinates over all chains, without keeping them (Welford 1962)."""

from typing import Any

import jax.numpy as jnp
from blackjax.adaptation.mass_matrix import welford_algorithm
from jax import Array

from bnnsample._lenient import lenient


class Moments:
    """BlackJAX's Welford recursion in one dtype, for vectors of a given size."""

    def __init__(self, size: int, dtype: Any):
        self.size, self.dtype = size, dtype
        algorithm = welford_algorithm(is_diagonal_matrix=True)
        self._init, self._update, self._final = map(lenient, algorithm)

    def start(self) -> Any:
        """No value seen yet."""
        state = self._init(self.size)
        return type(state)(
            *(jnp.asarray(a, self.dtype if jnp.ndim(a) else jnp.int32) for a in state)
        )

    def update(self, state: Any, values: Array) -> Any:
        """The state after one value per chain, ``[chain, size]``."""
        for chain in range(values.shape[0]):
            state = self._update(state, values[chain])
        return state

    def final(self, state: Any) -> tuple[Array, Array]:
        """Mean and variance ``[size]``, the variance shrunk as Stan does for short windows."""
        variance, count, mean = self._final(state)
        n = jnp.asarray(count, self.dtype)
        shrunk = n / (n + 5) * variance + 1e-3 * 5 / (n + 5)
        return mean.astype(self.dtype), shrunk.astype(self.dtype)
