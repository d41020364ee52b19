"""Warm-up: what all chains learn together about the step size, the metric and the unknowns."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from blackjax.adaptation.mass_matrix import welford_algorithm
from blackjax.adaptation.step_size import dual_averaging_adaptation
from blackjax.adaptation.window_adaptation import build_schedule
from jax import Array
from jax.flatten_util import ravel_pytree

from bnnsample._lenient import lenient
from bnnsample.chains._mapping import map_chains
from bnnsample.chains._program import Program, chunk_lengths
from bnnsample.chains._progress import Progress
from bnnsample.coordinates import Posterior
from bnnsample.kernels._spec import KernelSpec, Parameters

CHUNK = 1000


@dataclass
class WarmupResult:
    """What the warm-up hands to sampling."""

    posterior: Posterior
    states: Any
    parameters: Parameters
    num_gradients: int
    seconds: float
    compile_seconds: float
    acceptance_rate: float


def warm_up(
    posterior: Posterior,
    spec: KernelSpec,
    parameters: Parameters,
    target: float | None,
    states: Any,
    make_states: Program,
    key: Array,
    num_steps: int,
    platform: str,
    progress: Progress,
) -> WarmupResult:
    """Move the chains towards the posterior and adapt what the user has not set.

    All chains step with one step size, and one dual averaging (Nesterov 2009; Hoffman and
    Gelman 2014, section 3.2) sees their mean acceptance rate. Over Stan's schedule of expanding
    windows the mean and variance of the unknowns' coordinates, or of the whole position for a
    kernel with a metric, are accumulated over all chains by Welford's recursion, and the
    Gaussian reference or the inverse mass matrix is set at each window's end. No state is kept.
    """
    if spec.tuner is not None and parameters["step_size"] is None:
        return _tune(posterior, spec, parameters, states, key, num_steps, platform)
    learner = _Learner(posterior, spec, parameters, target, platform)
    return learner.run(states, make_states, key, num_steps, progress)


class _Learner:
    """Windowed adaptation: one compiled chunk, everything between windows on the host."""

    def __init__(self, posterior, spec, parameters, target, platform):
        self.posterior, self.spec, self.target, self.platform = posterior, spec, target, platform
        self.dtype = posterior.y.dtype
        self.adapts_step = target is not None and parameters["step_size"] is None
        self.adapts_metric = spec.has_metric and parameters["inverse_mass_matrix"] is None
        self.fixed = {k: v for k, v in parameters.items() if k not in self._adapted_names()}
        # float32 dual averaging as everything else: BlackJAX's follows the step size's dtype.
        averaging = dual_averaging_adaptation(target or 0.8)
        self.da_init, self.da_update, self.da_final = map(lenient, averaging)
        welford = welford_algorithm(is_diagonal_matrix=True)
        self.welford_init, self.welford_update, self.welford_final = map(lenient, welford)
        self.program = Program(self._chunk, donate=(3,))

    def _adapted_names(self) -> set[str]:
        names = {"step_size"} if self.adapts_step else set()
        return names | ({"inverse_mass_matrix"} if self.adapts_metric else set())

    def _learned(self, position) -> Array:
        """The coordinates whose mean and variance are accumulated."""
        return ravel_pytree(position if self.adapts_metric else position["unknowns"])[0]

    def _chunk(self, posterior, key, adapted, carry, accumulate, start, length):
        spec, fixed = self.spec, self.fixed

        def body(i, carry):
            states, averaging, welford, gradients, acceptance = carry
            step_size = self._clip(jnp.exp(averaging.log_step_size))
            parameters = {**fixed, **adapted}
            if self.adapts_step:
                parameters["step_size"] = step_size
            keys = jax.random.split(jax.random.fold_in(key, start + i), acceptance.shape[0])

            def step(key, state):
                return spec.step(key, posterior.potential, state, parameters)

            states, statistics = map_chains(step, self.platform)(keys, states)
            averaging = self.da_update(averaging, jnp.mean(statistics.acceptance_rate))
            learned = jax.vmap(self._learned)(states.position)
            updated = welford
            for chain in range(learned.shape[0]):
                updated = self.welford_update(updated, learned[chain])
            welford = jax.tree.map(lambda a, b: jnp.where(accumulate, a, b), updated, welford)
            gradients = gradients + jnp.sum(statistics.n_steps, dtype=jnp.int32)
            return states, averaging, welford, gradients, statistics.acceptance_rate

        return jax.lax.fori_loop(0, length, body, carry)

    def _clip(self, step_size):
        return jnp.clip(step_size, 1e-8, min(self.spec.max_step_size, 1e8))

    def run(self, states, make_states, key, num_steps, progress) -> WarmupResult:
        spec = self.spec
        averaging = self._averaging(spec.initial_step_size)
        num_chains = jax.tree.leaves(states)[0].shape[0]
        template = jax.tree.map(lambda a: a[0], states.position)
        dimension = self._learned(template).size
        adapted: dict[str, Array] = {}
        if self.adapts_metric:
            adapted["inverse_mass_matrix"] = jnp.ones(dimension, self.dtype)
        gradients, acceptance = 0, jnp.zeros(num_chains, self.dtype)
        done, seconds = 0, 0.0
        progress.start("warm-up", num_steps)
        try:
            for length, accumulate, update in windows(num_steps):
                welford = self._welford(dimension)
                for offset, chunk in chunk_lengths(length, CHUNK, self.program):
                    carry = (states, averaging, welford, jnp.zeros((), jnp.int32), acceptance)
                    states, averaging, welford, steps, acceptance = self.program(
                        self.posterior,
                        key,
                        adapted,
                        carry,
                        jnp.asarray(accumulate),
                        jnp.asarray(done + offset, jnp.int32),
                        jnp.asarray(chunk, jnp.int32),
                    )
                    gradients += int(steps)
                    progress.update(chunk, self._info(acceptance, averaging))
                done += length
                if update and dimension:
                    states, adapted, extra = self._update(
                        states, make_states, key, welford, adapted
                    )
                    gradients += extra
                if update:
                    averaging = self._averaging(float(self._clip(self.da_final(averaging))))
        finally:
            progress.close()
        seconds = self.program.run_seconds
        parameters = {**self.fixed, **adapted}
        if self.adapts_step:
            parameters["step_size"] = self._clip(self.da_final(averaging)).astype(self.dtype)
        return WarmupResult(
            self.posterior,
            states,
            parameters,
            gradients,
            seconds,
            self.program.compile_seconds,
            float(jnp.mean(acceptance)),
        )

    def _averaging(self, step_size: float):
        state = self.da_init(jnp.asarray(step_size, self.dtype))
        cast = jax.tree.map(lambda a: jnp.asarray(a, self.dtype), state)
        return cast._replace(step=jnp.asarray(state.step, jnp.int32))

    def _welford(self, dimension: int):
        state = self.welford_init(dimension)
        return jax.tree.map(
            lambda a: jnp.asarray(a, self.dtype if jnp.ndim(a) else jnp.int32), state
        )

    def _info(self, acceptance, averaging) -> dict[str, Any]:
        info: dict[str, Any] = {"acceptance": round(float(jnp.mean(acceptance)), 3)}
        if self.adapts_step:
            info["step_size"] = f"{float(self._clip(jnp.exp(averaging.log_step_size))):.3g}"
        return info

    def _update(self, states, make_states, key, welford, adapted):
        """Set the metric, or the unknowns' reference, from a window's mean and variance."""
        variance, count, mean = self.welford_final(welford)
        # Stan's shrinkage towards a small unit variance, for windows of few draws.
        n = float(count)
        if self.adapts_metric:
            shrunk = n / (n + 5) * variance + 1e-3 * 5 / (n + 5)
            return states, {**adapted, "inverse_mass_matrix": shrunk.astype(self.dtype)}, 0
        if not bool(jnp.all(jnp.isfinite(variance)) & jnp.all(variance > 0)):
            return states, adapted, 0
        _, unravel = ravel_pytree(self.posterior.location)
        old = self.posterior
        mean_v, std_v = unravel(mean), unravel(jnp.sqrt(variance))
        location = {k: old.location[k] + old.spread[k] * mean_v[k] for k in mean_v}
        spread = {k: old.spread[k] * std_v[k] for k in std_v}
        self.posterior = old.with_reference(location, spread)
        positions = jax.vmap(lambda q: self.posterior.rebase(q, old))(states.position)
        num_chains = jax.tree.leaves(positions)[0].shape[0]
        states = make_states(self.posterior, jax.random.split(key, num_chains), positions)
        return states, adapted, num_chains


def windows(num_steps: int) -> list[tuple[int, bool, bool]]:
    """``(length, accumulate, update at the end)`` of Stan's warm-up schedule."""
    schedule = np.asarray(lenient(build_schedule)(num_steps), dtype=int).reshape(-1, 2)
    result: list[tuple[int, bool, bool]] = []
    length = 0
    for i, (stage, is_end) in enumerate(schedule):
        length += 1
        last = i + 1 == len(schedule)
        if is_end or last or schedule[i + 1][0] != stage:
            result.append((length, bool(stage), bool(is_end)))
            length = 0
    return result


def _tune(posterior, spec, parameters, states, key, num_steps, platform) -> WarmupResult:
    """BlackJAX's own tuner on each chain; the chains share the geometric mean of its results."""

    def tune(posterior, keys, states):
        def one(key, state):
            return spec.tuner(key, posterior.potential, state, num_steps, parameters)

        return map_chains(one, platform)(keys, states)

    num_chains = jax.tree.leaves(states)[0].shape[0]
    program = Program(tune)
    states, tuned = program(posterior, jax.random.split(key, num_chains), states)
    shared = {k: jnp.exp(jnp.mean(jnp.log(v))) for k, v in tuned.items()}
    given = {k: v for k, v in parameters.items() if v is not None}
    return WarmupResult(
        posterior,
        states,
        {**parameters, **shared, **given},
        spec.tuner_gradients * num_steps * num_chains,
        program.run_seconds,
        program.compile_seconds,
        float("nan"),
    )
