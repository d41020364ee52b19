"""Warm-up: what all chains learn together about the step size, the metric and the unknowns."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from blackjax.adaptation.window_adaptation import build_schedule
from jax import Array
from jax.flatten_util import ravel_pytree

from bnnsample._lenient import lenient
from bnnsample.chains._averaging import Averaging
from bnnsample.chains._devices import Devices
from bnnsample.chains._moments import Moments
from bnnsample.chains._program import Program, chunk_lengths
from bnnsample.chains._progress import Progress
from bnnsample.checkpoints import Checkpoints
from bnnsample.coordinates import Posterior, learned
from bnnsample.kernels._spec import KernelSpec, Parameters

CHUNK = 1000
TRIAL_SHARE = 0.3
# What a learner notes of where it is, beside its arrays.
_COUNTERS = (
    "segment", "offset", "done", "gradients", "gradients_before", "best", "best_score",
)  # fmt: skip


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
    devices: Devices,
    progress: Progress,
    checkpoints: Checkpoints,
) -> WarmupResult:
    """Move the chains towards the posterior and adapt what the user has not set.

    All chains step with one step size, and one dual averaging sees their mean acceptance rate.
    Over Stan's schedule of expanding windows the mean and variance of the unknowns'
    coordinates, or of the whole position for a kernel with a metric, are accumulated over all
    chains, and the Gaussian reference or the inverse mass matrix is set at each window's end. A
    kernel with candidates tries them in the last 30% and keeps the best by ``spec.score``: with the
    most ``acceptance^2`` per gradient, or a lower power where a readout moves by itself. (Where a
    trajectory to a quarter turn is accepted with probability ``a``, its effective samples were
    close to ``a^2`` over widths 512 to 32768 and one to five steps.) No state is kept. A warm-up
    that left a checkpoint goes on where it was; one by a tuner of BlackJAX's is made again.
    """
    if spec.tuner is not None and parameters["step_size"] is None:
        return _tune(posterior, spec, parameters, states, key, num_steps, devices)
    learner = _Learner(
        posterior, spec, parameters, target, states, make_states, key, devices, progress,
        checkpoints,
    )  # fmt: skip
    return learner.run(num_steps)


class _Segment(NamedTuple):
    """A stretch of the warm-up with one purpose.

    Attributes:
        length: steps.
        accumulate: moments are.
        is_end: what the moments say is learned at its end.
        trial: number of the candidate that it tries, its step size fixed; None: adapts.
    """

    length: int
    accumulate: bool = False
    is_end: bool = False
    trial: int | None = None


class _Learner:
    """Windowed adaptation: one compiled chunk, everything between windows on the host."""

    def __init__(
        self, posterior, spec, parameters, target, states, make_states, key, devices, progress,
        checkpoints,
    ):  # fmt: skip
        self.posterior, self.spec, self.key, self.devices = posterior, spec, key, devices
        self.states, self.make_states = states, make_states
        self.progress, self.checkpoints = progress, checkpoints
        self.dtype = posterior.y.dtype
        self.adapts_step = target is not None and parameters["step_size"] is None
        self.adapts_metric = spec.has_metric and parameters["inverse_mass_matrix"] is None
        self.tries = self.adapts_step and spec.candidates is not None
        self.parameters = dict(parameters)
        self.averaging = Averaging(target or 0.8, spec.max_step_size, self.dtype)
        self.program = Program(self._chunk, devices, donate=(3,))
        self.refit = Program(self._refit, devices)
        position = jax.tree.map(lambda a: a[0], states.position)
        self.moments = Moments(self._learned(position).size, self.dtype)
        if self.adapts_metric:
            self.parameters["inverse_mass_matrix"] = jnp.ones(self.moments.size, self.dtype)
        self.accumulated = self.moments.start()
        self.step_size = self.averaging.start(spec.initial_step_size)
        self.adapted = self.averaging.final(self.step_size)
        self.acceptance = jnp.zeros((), self.dtype)
        self.segment = self.offset = self.done = self.gradients = self.gradients_before = 0
        self.best, self.best_score, self.seconds = -1, -1.0, 0.0

    def run(self, num_steps: int) -> WarmupResult:
        num_trials = int(TRIAL_SHARE * num_steps) if self.tries else 0
        self._resume()
        self.progress.start("warm-up", num_steps)
        try:
            if self.done:
                self.progress.update(self.done, {})
            for number, segment in enumerate(self._segments(num_steps - num_trials, num_trials)):
                if number < self.segment:
                    continue
                if not self.offset:
                    self._begin(segment)
                self._advance(segment)
                self._end(segment)
                self.segment, self.offset = number + 1, 0
        finally:
            self.progress.close()
        if self.adapts_step:
            self.parameters["step_size"] = self.adapted
        if self.best >= 0:
            self.parameters.update(self._candidates()[self.best])
        return WarmupResult(
            self.posterior,
            self.states,
            self.parameters,
            self.gradients,
            self._total_seconds(),
            self.program.compile_seconds + self.refit.compile_seconds,
        )

    def _segments(self, num_adapted: int, num_trials: int) -> Iterator[_Segment]:
        """Windows that learn, and then, where the step size has been adapted, trials."""
        yield from (_Segment(*window) for window in windows(num_adapted))
        if num_trials:
            count = len(self._candidates())
            shares = np.diff(np.linspace(0, num_trials, count + 1).astype(int))
            yield from (_Segment(int(length), trial=i) for i, length in enumerate(shares))

    def _candidates(self) -> list[Parameters]:
        given = {**self.parameters, "step_size": self.adapted}
        return self.spec.candidates(float(self.adapted), given)

    def _begin(self, segment: _Segment) -> None:
        self.accumulated = self.moments.start()
        self.acceptance = jnp.zeros((), self.dtype)
        self.gradients_before = self.gradients
        if segment.trial is not None:
            self.step_size = self.averaging.start(self._candidates()[segment.trial]["step_size"])

    def _end(self, segment: _Segment) -> None:
        if segment.trial is None:
            if segment.is_end:
                self._learn()
                self.step_size = self.averaging.restart(self.step_size)
            self.adapted = self.averaging.final(self.step_size)
        elif segment.length:
            rate = float(self.acceptance) / segment.length
            num_gradients = (self.gradients - self.gradients_before) / segment.length
            score = self.spec.score(rate, num_gradients)
            if score > self.best_score:
                self.best, self.best_score = segment.trial, score

    def _advance(self, segment: _Segment) -> None:
        """The steps of a segment that are left; ``acceptance`` sums their rates."""
        parameters = dict(self.parameters)
        if segment.trial is not None:
            parameters.update(self._candidates()[segment.trial])
        self.static, dynamic = self.spec.split(parameters)
        if self.adapts_step:
            dynamic.pop("step_size", None)
        flags = jnp.asarray([segment.accumulate, segment.trial is not None])
        for _, chunk in chunk_lengths(segment.length - self.offset, CHUNK, self.program):
            zero = jnp.zeros((), jnp.int32)
            before = float(self.acceptance)
            self.states, self.step_size, self.accumulated, gradients, self.acceptance = (
                self.program(
                    self.posterior,
                    self.key,
                    dynamic,
                    (self.states, self.step_size, self.accumulated, zero, self.acceptance),
                    flags,
                    jnp.asarray([self.done, chunk], jnp.int32),
                )
            )
            self.gradients += int(gradients)
            self.done += chunk
            self.offset += chunk
            self.progress.update(chunk, self._info((float(self.acceptance) - before) / chunk))
            if self.checkpoints.is_due():
                self._save()

    def _save(self) -> None:
        notes = {name: getattr(self, name) for name in _COUNTERS}
        self.checkpoints.save(
            "warm-up", {**notes, "seconds": self._total_seconds()}, self._arrays()
        )

    def _resume(self) -> None:
        notes = self.checkpoints.notes("warm-up")
        if notes is None:
            return
        for name in (*_COUNTERS, "seconds"):
            setattr(self, name, notes[name])
        arrays = self.checkpoints.restore(self._arrays())
        self.posterior = dataclasses.replace(self.posterior, **arrays.pop("learned"))
        if self.adapts_metric:
            self.parameters["inverse_mass_matrix"] = arrays["inverse_mass_matrix"]
        del arrays["inverse_mass_matrix"]
        for name, value in arrays.items():
            setattr(self, name, value)

    def _arrays(self) -> dict[str, Any]:
        names = ("states", "step_size", "accumulated", "adapted", "acceptance")
        metric = self.parameters["inverse_mass_matrix"] if self.adapts_metric else None
        return {
            **{name: getattr(self, name) for name in names},
            "inverse_mass_matrix": metric,
            "learned": learned(self.posterior),
        }

    def _total_seconds(self) -> float:
        return self.seconds + self.program.run_seconds + self.refit.run_seconds

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

            states, statistics = self.devices.map_chains(step)(keys, states)
            rate = jnp.mean(self.devices.gathered(statistics.acceptance_rate))
            step_size = _unless(frozen, step_size, self.averaging.update(step_size, rate))
            learned = jax.vmap(self._learned, axis_size=num_chains)(states.position)
            updated = self.moments.update(moments, self.devices.gathered(learned))
            moments = _unless(~accumulate, moments, updated)
            gradients = gradients + jnp.sum(statistics.n_steps, dtype=jnp.int32)
            return states, step_size, moments, gradients, total + rate

        return jax.lax.fori_loop(0, length, body, carry)

    def _learned(self, position) -> Array:
        """The coordinates whose mean and variance are accumulated."""
        return ravel_pytree(position if self.adapts_metric else position["unknowns"])[0]

    def _learn(self) -> None:
        """Set the metric, or the unknowns' reference, from a window's mean and variance."""
        mean, variance = self.moments.final(self.accumulated)
        if self.adapts_metric:
            self.parameters["inverse_mass_matrix"] = variance
            return
        if not self.moments.size and not self.posterior.is_fitted:
            return
        _, unravel = ravel_pytree(self.posterior.location)
        old = self.posterior
        mean_v, std_v = unravel(mean), unravel(jnp.sqrt(variance))
        moved = old.with_reference(
            {k: old.location[k] + old.spread[k] * mean_v[k] for k in mean_v},
            {k: old.spread[k] * std_v[k] for k in std_v},
        )
        self.posterior, positions = self.refit(moved, old, self.states.position)
        num_chains = jax.tree.leaves(positions)[0].shape[0]
        self.gradients += num_chains
        keys = jax.random.split(jax.random.fold_in(self.key, 2**31 - 1), num_chains)
        self.states = self.make_states(self.posterior, keys, positions)

    def _refit(self, moved, old, positions):
        """The posterior fitted to the chains' positions, and these in its coordinates."""

        def rebased(posterior):
            return self.devices.map_chains(lambda q: posterior.rebase(q, old))(positions)

        fitted = moved.fitted(rebased(moved)) if moved.is_fitted else moved
        return fitted, rebased(fitted)

    def _info(self, acceptance: float) -> dict[str, Any]:
        info: dict[str, Any] = {"acceptance": round(acceptance, 3)}
        if self.adapts_step:
            info["step_size"] = f"{float(self.averaging.current(self.step_size)):.3g}"
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


def _tune(posterior, spec, parameters, states, key, num_steps, devices) -> WarmupResult:
    """BlackJAX's own tuner on each chain; the chains share the geometric mean of its results."""

    def tune(posterior, keys, states):
        def one(key, state):
            return spec.tuner(key, spec.view(posterior), state, num_steps, parameters)

        return devices.map_chains(one)(keys, states)

    num_chains = jax.tree.leaves(states)[0].shape[0]
    program = Program(tune, devices)
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
