"""Prior draws by number: drawn, weighed and forgotten, for a number is enough to draw one again."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from bnnsample.chains._mapping import map_draws
from bnnsample.chains._program import Program
from bnnsample.chains._progress import Progress, Silent
from bnnsample.coordinates import Posterior

CHUNK = 64


def finite_or_zero_weight(log_weights: Any) -> np.ndarray:
    """Float64 on the host, minus infinity where not finite: a kernel would reject there."""
    values = np.asarray(log_weights, np.float64)
    return np.where(np.isfinite(values), values, -np.inf)


class Weigher:
    """Log weights of prior draws, with memory for one draw on CPU."""

    def __init__(self, platform: str):
        self.platform = platform
        self.program = Program(self._chunk)

    def log_weights(
        self, posterior: Posterior, key: Array, count: int, progress: Progress | None = None
    ) -> np.ndarray:
        """``-potential`` of the first ``count`` draws of a stream, float64 ``[count]``.

        Minus infinity, a weight of zero, where the potential is not finite.
        """
        progress = progress or Silent()
        parts = []
        for start in range(0, count, CHUNK):
            numbers = jnp.arange(start, start + CHUNK, dtype=jnp.uint32)
            parts.append(finite_or_zero_weight(self.program(posterior, key, numbers)))
            progress.update(min(CHUNK, count - start), {})
        return np.concatenate(parts)[:count]

    def _chunk(self, posterior: Posterior, key: Array, numbers: Array) -> Array:
        def log_weight(number):
            return -posterior.potential(posterior.numbered_prior_draw(key, number))

        return map_draws(log_weight, self.platform)(numbers)
