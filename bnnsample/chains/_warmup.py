"""Warm-up: what all chains learn together about the step size, the metric and the unknowns."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from blackjax.adaptation.window_adaptation import build_schedule
from jax import Array
from jax.flatten_util import ravel_pytree

from bnnsample._lenient import lenient
from bnnsample.chains._averaging import Averaging
from bnnsample.chains._mapping import map_chains
from bnnsample.chains._moments import Moments
from bnnsample.chains._program import Program, chunk_lengths
from bnnsample.chains._progress import Progress
from bnnsample.coordinates import Posterior
from bnnsample.kernels._spec import KernelSpec, Parameters

CHUNK = 1000
TRIAL_SHARE = 0.3


@dataclass
class WarmupResult:
    """What the warm-up hands to sampling; ``sampling_seconds`` of its time belong to that."""

    posterior: Posterior
    states: Any
    parameters: Parameters
    num_gradients: int
    seconds: float
    compile_seconds: float
    sampling_seconds: float = 0.0


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

    All chains step with one step size, and one dual averaging sees their mean acceptance rate.
    Over Stan's schedule of expanding windows the mean and variance of the unknowns'
    coordinates, or of the whole position for a kernel with a metric, are accumulated over all
    chains, and the Gaussian reference or the inverse mass matrix is set at each window's end. A
    kernel with candidates tries them in the last 30% and keeps the best. No state is kept.
    """
    if spec.tuner is not None and parameters["step_size"] is None:
        return _tune(posterior, spec, parameters, states, key, num_steps, platform)
    learner = _Learner(posterior, spec, parameters, target, key, make_states, platform, progress)
    return learner.run(states, num_steps)


class _Learner:
    """Windowed adaptation: one compiled chunk, everything between windows on the host."""

    def __init__(self, posterior, spec, parameters, target, key, make_states, platform, progress):
        self.posterior, self.spec, self.key, self.platform = posterior, spec, key, platform
        self.make_states, self.progress = make_states, progress
        self.dtype = posterior.y.dtype
        self.adapts_step = target is not None and parameters["step_size"] is None
        self.adapts_metric = spec.has_metric and parameters["inverse_mass_matrix"] is None
        self.tries = self.adapts_step and spec.candidates is not None
        self.parameters = dict(parameters)
        self.averaging = Averaging(target or 0.8, spec.max_step_size, self.dtype)
        self.program = Program(self._chunk, donate=(3,))
        self.refit = Program(self._refit)
        self.gradients = self.done = 0
        self.acceptance = float("nan")

    def run(self, states: Any, num_steps: int) -> WarmupResult:
        position = jax.tree.map(lambda a: a[0], states.position)
        self.moments = Moments(self._learned(position).size, self.dtype)
        if self.adapts_metric:
            self.parameters["inverse_mass_matrix"] = jnp.ones(self.moments.size, self.dtype)
        step_size = self.averaging.start(self.spec.initial_step_size)
        num_trials = int(TRIAL_SHARE * num_steps) if self.tries else 0
        self.progress.start("warm-up", num_steps)
        try:
            for length, accumulate, is_end in windows(num_steps - num_trials):
                states, step_size, moments = self._advance(
                    states, step_size, self.moments.start(), length, accumulate
                )
                if is_end:
                    states = self._learn(states, moments)
                    step_size = self.averaging.restart(step_size)
            if self.adapts_step:
                self.parameters["step_size"] = self.averaging.final(step_size)
            if num_trials:
                states = self._try_candidates(states, num_trials)
        finally:
            self.progress.close()
        return WarmupResult(
            self.posterior,
            states,
            self.parameters,
            self.gradients,
            self.program.run_seconds + self.refit.run_seconds,
            self.program.compile_seconds + self.refit.compile_seconds,
        )

    def _advance(self, states, step_size, moments, length, accumulate=False, frozen=False):
        """``length`` steps of all chains; sets ``acceptance`` to their mean rate."""
        self.static, dynamic = self.spec.split(self.parameters)
        if self.adapts_step:
            dynamic.pop("step_size", None)
        total = 0.0
        for _, chunk in chunk_lengths(length, CHUNK, self.program):
            zero = jnp.zeros((), self.dtype)
            carry = (states, step_size, moments, jnp.zeros((), jnp.int32), zero)
            states, step_size, moments, gradients, acceptance = self.program(
                self.posterior,
                self.key,
                dynamic,
                carry,
                jnp.asarray([accumulate, frozen]),
                jnp.asarray([self.done, chunk], jnp.int32),
            )
            self.gradients += int(gradients)
            self.done += chunk
            total += float(acceptance)
            self.progress.update(chunk, self._info(float(acceptance) / chunk, step_size))
        self.acceptance = total / max(length, 1)
        return states, step_size, moments

    def _chunk(self, posterior, key, dynamic, carry, flags, span):
        accumulate, frozen = flags
        start, length = span

        def body(i, carry):
            states, step_size, moments, gradients, total = carry
            parameters = {**self.static, **dynamic}
            if self.adapts_step:
                parameters["step_size"] = self.averaging.current(step_size)
            num_chains = jax.tree.leaves(states)[0].shape[0]
            keys = jax.random.split(jax.random.fold_in(key, start + i), num_chains)

            def step(key, state):
                return self.spec.step(key, self.spec.view(posterior), state, parameters)

            states, statistics = map_chains(step, self.platform)(keys, states)
            rate = jnp.mean(statistics.acceptance_rate)
            step_size = _unless(frozen, step_size, self.averaging.update(step_size, rate))
            learned = jax.vmap(self._learned, axis_size=num_chains)(states.position)
            moments = _unless(~accumulate, moments, self.moments.update(moments, learned))
            gradients = gradients + jnp.sum(statistics.n_steps, dtype=jnp.int32)
            return states, step_size, moments, gradients, total + rate

        return jax.lax.fori_loop(0, length, body, carry)

    def _learned(self, position) -> Array:
        """The coordinates whose mean and variance are accumulated."""
        return ravel_pytree(position if self.adapts_metric else position["unknowns"])[0]

    def _learn(self, states, moments):
        """Set the metric, or the unknowns' reference, from a window's mean and variance."""
        mean, variance = self.moments.final(moments)
        if self.adapts_metric:
            self.parameters["inverse_mass_matrix"] = variance
            return states
        if not self.moments.size and not self.posterior.is_fitted:
            return states
        _, unravel = ravel_pytree(self.posterior.location)
        old = self.posterior
        mean_v, std_v = unravel(mean), unravel(jnp.sqrt(variance))
        moved = old.with_reference(
            {k: old.location[k] + old.spread[k] * mean_v[k] for k in mean_v},
            {k: old.spread[k] * std_v[k] for k in std_v},
        )
        self.posterior, positions = self.refit(moved, old, states.position)
        num_chains = jax.tree.leaves(positions)[0].shape[0]
        self.gradients += num_chains
        keys = jax.random.split(jax.random.fold_in(self.key, 2**31 - 1), num_chains)
        return self.make_states(self.posterior, keys, positions)

    def _refit(self, moved, old, positions):
        """The posterior fitted to the chains' positions, and these in its coordinates."""

        def rebased(posterior):
            return map_chains(lambda q: posterior.rebase(q, old), self.platform)(positions)

        fitted = moved.fitted(rebased(moved)) if moved.is_fitted else moved
        return fitted, rebased(fitted)

    def _try_candidates(self, states, num_trials: int):
        """Keep the candidate with the most ``acceptance^2`` per gradient.

        Where a trajectory to a quarter turn is accepted with probability ``a``, its effective
        samples were close to ``a^2`` over widths 512 to 32768 and one to five steps.
        """
        candidates = self.spec.candidates(float(self.parameters["step_size"]), self.parameters)
        best, best_score = None, -1.0
        shares = np.diff(np.linspace(0, num_trials, len(candidates) + 1).astype(int))
        for candidate, length in zip(candidates, shares, strict=True):
            self.parameters.update(candidate)
            before = self.gradients
            step_size = self.averaging.start(candidate["step_size"])
            states, _, _ = self._advance(
                states, step_size, self.moments.start(), int(length), frozen=True
            )
            if length:
                score = self.acceptance**2 * length / (self.gradients - before)
                if score > best_score:
                    best, best_score = candidate, score
        if best is not None:
            self.parameters.update(best)
        return states

    def _info(self, acceptance: float, step_size) -> dict[str, Any]:
        info: dict[str, Any] = {"acceptance": round(acceptance, 3)}
        if self.adapts_step:
            info["step_size"] = f"{float(self.averaging.current(step_size)):.3g}"
        return info


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


def _unless(condition: Array, kept: Any, new: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), kept, new)


def _tune(posterior, spec, parameters, states, key, num_steps, platform) -> WarmupResult:
    """BlackJAX's own tuner on each chain; the chains share the geometric mean of its results."""

    def tune(posterior, keys, states):
        def one(key, state):
            return spec.tuner(key, spec.view(posterior), state, num_steps, parameters)

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
    )
