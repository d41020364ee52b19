"""Tempered sequential Monte Carlo from the prior to the posterior."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.optimize import brentq

from bnnsample._weights import effective_size, log_mean_exp, systematic
from bnnsample.chains._keep import available_bytes, tree_bytes
from bnnsample.chains._mapping import map_draws
from bnnsample.chains._prior_draws import finite_or_zero_weight
from bnnsample.chains._program import Program
from bnnsample.coordinates import Posterior
from bnnsample.kernels import _infinite_hmc
from bnnsample.kernels._prior_exact import INFINITE_HMC, QUARTER_TURN

# Share of the particles that stays effective at every change of temperature.
TARGET_ESS = 0.5
TARGET_ACCEPTANCE = 0.8
Particles = tuple[Any, Array]


class Stage(NamedTuple):
    """A temperature ``b`` of ``N(q; 0, I) exp(b l(q))`` and the step size of the moves there."""

    temperature: float
    step_size: float


class Replicate(NamedTuple):
    """One particle system's way from the prior to the posterior; lists have an entry per stage."""

    log_evidence: float
    kl_to_prior: float
    stages: list[Stage]
    effective_sample_sizes: list[float]
    acceptance_rates: list[float]
    num_gradients: int


class Moved(NamedTuple):
    """A stage's moves: their end, the mean of ``l`` along them, acceptance rate and gradients."""

    particles: Particles
    mean_log_likelihood: float
    acceptance_rate: float
    num_gradients: int


class TemperedSMC:
    """Particles that follow ``N(q; 0, I) exp(b l(q))`` from ``b = 0`` to ``b = 1``.

    Each stage weighs the particles by ``exp((b' - b) l)``, resamples them systematically and moves
    each by ``num_moves`` trajectories of infinite-dimensional HMC, a quarter turn each (Del Moral,
    Doucet and Jasra 2006, section 3). ``pilot`` finds the stages: the next temperature leaves half
    of the particles effective, and the step size follows the acceptance rate. ``replicate`` keeps
    to given ones, which makes its estimate of the evidence unbiased.
    """

    def __init__(self, posterior: Posterior, num_particles: int, num_moves: int, platform: str):
        self.posterior, self.platform = posterior, platform
        self.num_particles, self.num_moves = num_particles, num_moves
        self.draw, self.move = Program(self._draw), Program(self._move)
        _require_memory(posterior, num_particles)

    def pilot(self, key: Array) -> Replicate:
        """A run that finds its own stages."""
        return self._run(key, None)

    def replicate(self, key: Array, stages: list[Stage]) -> Replicate:
        """A run through given stages."""
        return self._run(key, stages)

    def _run(self, key: Array, given: list[Stage] | None) -> Replicate:
        draw_key, move_key, resample_key = jax.random.split(key, 3)
        rng = np.random.default_rng(np.asarray(jax.random.key_data(resample_key)).ravel())
        particles = self.draw(self.posterior, draw_key)
        stages: list[Stage] = []
        sizes, rates = [], []
        log_evidence, num_gradients = 0.0, 0
        last = Stage(0.0, QUARTER_TURN)
        while last.temperature < 1:
            log_likelihood = finite_or_zero_weight(particles[1])
            stage_key = jax.random.fold_in(move_key, len(stages))
            stage = given[len(stages)] if given else None
            new = stage.temperature if stage else next_temperature(log_likelihood, last.temperature)
            log_weights = (new - last.temperature) * log_likelihood
            log_evidence += log_mean_exp(log_weights)
            sizes.append(effective_size(log_weights))
            chosen = systematic(log_weights, self.num_particles, rng.uniform())
            if stage:
                moved = self._moves(stage_key, particles, chosen, stage, self.num_moves)
            else:
                moved, stage = self._search(stage_key, particles, chosen, new, last.step_size)
            particles, last = moved.particles, stage
            stages.append(stage)
            rates.append(moved.acceptance_rate)
            num_gradients += moved.num_gradients
        kl = moved.mean_log_likelihood - log_evidence
        return Replicate(log_evidence, kl, stages, sizes, rates, num_gradients)

    def _search(
        self, key: Array, particles: Particles, chosen: np.ndarray, new: float, step_size: float
    ) -> tuple[Moved, Stage]:
        """Moves one by one, the step size following the particles' mean acceptance rate."""
        num_gradients = 0
        for i in range(self.num_moves):
            stage = Stage(new, step_size)
            moved = self._moves(jax.random.fold_in(key, i), particles, chosen, stage, 1)
            particles, chosen = moved.particles, np.arange(self.num_particles)
            num_gradients += moved.num_gradients
            change = float(np.exp(moved.acceptance_rate - TARGET_ACCEPTANCE))
            step_size = min(QUARTER_TURN, step_size * change)
        return moved._replace(num_gradients=num_gradients), Stage(new, step_size)

    def _moves(
        self, key: Array, particles: Particles, chosen: np.ndarray, stage: Stage, num_moves: int
    ) -> Moved:
        dtype = self.posterior.y.dtype
        particles, means, rates, steps = self.move(
            self.posterior,
            jax.random.split(key, self.num_particles),
            particles,
            jnp.asarray(chosen, jnp.int32),
            jnp.asarray(stage.temperature, dtype),
            jnp.asarray(stage.step_size, dtype),
            jnp.asarray(num_moves, jnp.int32),
        )
        means, rates = (float(np.mean(np.asarray(a, np.float64))) for a in (means, rates))
        return Moved(particles, means, rates, int(np.sum(steps)) + self.num_particles)

    def _draw(self, posterior: Posterior, key: Array) -> Particles:
        def one(number):
            position = posterior.numbered_prior_draw(key, number)
            return position, -posterior.potential(position)

        return map_draws(one, self.platform)(jnp.arange(self.num_particles, dtype=jnp.uint32))

    def _move(self, posterior, keys, particles, chosen, temperature, step_size, num_moves):
        parameters = {**INFINITE_HMC.defaults, "step_size": step_size}
        zero = jnp.zeros((), step_size.dtype)

        def tempered(position):
            return temperature * posterior.potential(position)

        def one(packed):
            key, index = packed
            state = _infinite_hmc.init(jax.tree.map(lambda a: a[index], particles[0]), tempered)

            def body(i, carry):
                state, total, rate, steps = carry
                step_key = jax.random.fold_in(key, i)
                state, statistics = INFINITE_HMC.step(step_key, tempered, state, parameters)
                rate = rate + statistics.acceptance_rate
                return state, total - state.potential, rate, steps + statistics.n_steps

            start = (state, zero, zero, jnp.zeros((), jnp.int32))
            state, total, rate, steps = jax.lax.fori_loop(0, num_moves, body, start)
            count = num_moves.astype(zero.dtype)
            value, mean = -state.potential / temperature, total / (count * temperature)
            return (state.position, value), mean, rate / count, steps

        return map_draws(one, self.platform)((keys, chosen))


def next_temperature(log_likelihood: np.ndarray, old: float) -> float:
    """The temperature in ``(old, 1]`` at which half of the particles stay effective.

    Raises:
        FloatingPointError: half of the particles or more have no finite log likelihood, or no
            change of temperature is small enough.
    """
    target = TARGET_ESS * len(log_likelihood)
    finite = log_likelihood[np.isfinite(log_likelihood)]
    if len(finite) <= target:
        raise FloatingPointError(
            f"the log marginal likelihood is finite at {len(finite)} of {len(log_likelihood)} "
            "prior draws: the noise scale may be too small for the data's scale or for float32; "
            "standardise the data or use float64"
        )

    def surplus(new):
        return effective_size((new - old) * finite) - target

    if surplus(1.0) >= 0:
        return 1.0
    new = float(brentq(surplus, old, 1.0, xtol=1e-30))
    if not new > old:
        raise FloatingPointError(
            f"tempering stands still at temperature {old:.3g}: the log marginal likelihood varies "
            "too much over the prior; standardise the data"
        )
    return new


def _require_memory(posterior: Posterior, num_particles: int) -> None:
    """Resampling holds the particles twice."""
    template = jax.eval_shape(posterior.prior_draw, jax.random.key(0))
    needed, available = 2 * num_particles * tree_bytes(template), available_bytes()
    if needed > available:
        raise ValueError(
            f"num_particles={num_particles} needs {needed / 2**30:.2f} GiB, more than the "
            f"{available / 2**30:.2f} GiB available; use fewer particles, 25 at least"
        )
