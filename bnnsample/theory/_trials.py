"""Energy errors of trial trajectories from prior draws, and the acceptance they foretell."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.special import erfc, erfcinv

from bnnsample.chains._mapping import map_chains
from bnnsample.coordinates import Posterior
from bnnsample.kernels import _infinite_hmc
from bnnsample.kernels._prior_exact import MOST_STEPS, QUARTER_TURN
from bnnsample.kernels._reference import normal_like
from bnnsample.kernels._splitting import LEAST_PROCESSED

# Of the error against the number of steps, for a second-order integrator.
SLOPE = -2.0


def acceptance_of(spread: Any) -> Any:
    """Mean acceptance rate where the energy error is ``N(spread^2 / 2, spread^2)``.

    Which it is in equilibrium for many coordinates, since ``E exp(-dH) = 1`` (Beskos et al. 2013,
    Optimal tuning of the hybrid Monte Carlo algorithm, theorem 3.6): ``erfc(spread / sqrt 8)``.
    """
    return erfc(np.asarray(spread) / 8**0.5)


def spread_for(acceptance: float) -> float:
    """The standard deviation of the energy error at a mean acceptance rate."""
    return float(8**0.5 * erfcinv(acceptance))


class Trials:
    """One quarter turn from each of a few prior draws, in so many steps.

    The exact flow keeps the energy from wherever it starts, so the error is the integrator's alone,
    and its spread over prior draws stands for that over the posterior without any chain.
    """

    def __init__(self, posterior: Posterior, positions: Any, key: Array, platform: str):
        self._posterior, self._positions = posterior, positions
        self._key, self._platform = key, platform
        self._keys = jax.random.split(key, jax.tree.leaves(positions)[0].shape[0])
        self._run = jax.jit(_trajectories_on(platform))
        self._found: dict[tuple[int, float], float] = {}

    def spread(self, num_steps: int, kick_scale: float = 1.0) -> float:
        """Standard deviation of the energy error over the draws; infinite where one diverged."""
        known = self._found.get((num_steps, kick_scale))
        if known is None:
            errors = np.asarray(self._trajectories(num_steps, kick_scale)[0], float)
            known = float(errors.std(ddof=1)) if np.isfinite(errors).all() else np.inf
            self._found[num_steps, kick_scale] = known
        return known

    def moved(self, num_steps: int) -> "Trials":
        """Trials from where a quarter turn in so many steps ends, nearer to the posterior."""
        positions = self._trajectories(num_steps, 1.0)[1]
        return Trials(self._posterior, positions, jax.random.fold_in(self._key, 1), self._platform)

    def _trajectories(self, num_steps: int, kick_scale: float) -> tuple[Array, Any]:
        dtype = self._posterior.y.dtype
        settings = jnp.asarray(num_steps, jnp.int32), jnp.asarray(kick_scale, dtype)
        return self._run(self._posterior, self._keys, self._positions, settings)

    def until(self, acceptance: float) -> Callable[[float], float]:
        """``steps -> spread``, from trials with 1, 2, 3, 4, 8, ... steps up to an acceptance rate.

        A line through the logarithms between trials, and beyond the last the slope of order two.
        """
        counts = [1]
        while self.spread(counts[-1]) > spread_for(acceptance) and counts[-1] < MOST_STEPS:
            counts.append(counts[-1] + 1 if counts[-1] < LEAST_PROCESSED else 2 * counts[-1])
        finite = [k for k in counts if np.isfinite(self.spread(k))]
        at = np.log(finite or counts[-1:])
        spreads = np.asarray([max(self.spread(k), 1e-12) for k in finite or counts[-1:]])

        def curve(steps: float) -> float:
            if finite and steps < finite[0]:
                return np.inf
            beyond = SLOPE * max(0.0, np.log(steps) - at[-1])
            return float(np.exp(np.interp(np.log(steps), at, np.log(spreads)) + beyond))

        return curve


def _trajectories_on(platform: str) -> Callable[..., tuple[Array, Any]]:
    """Energy errors and end positions."""

    def trajectories(posterior, keys, positions, settings):
        num_steps, kick_scale = settings
        dtype = posterior.y.dtype
        step_size = jnp.asarray(QUARTER_TURN, dtype) / num_steps.astype(dtype)

        def one(key, position):
            state = _infinite_hmc.init(position, posterior.potential)
            momentum = normal_like(key, position)
            end, _, error = _infinite_hmc.integrate(
                posterior.potential, state, momentum, step_size, num_steps, kick_scale
            )
            return error, end.position

        return map_chains(one, platform)(keys, positions)

    return trajectories
