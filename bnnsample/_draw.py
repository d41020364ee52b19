"""From a warmed-up chain to a result, and on from there."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from bnnsample._arguments import checked_counts
from bnnsample._precision import precision
from bnnsample._processes import to_host
from bnnsample._record import RunRecord
from bnnsample.chains import _resume
from bnnsample.chains._keep import tree_bytes
from bnnsample.chains._mapping import quiet_blas
from bnnsample.chains._numerics import with_checks
from bnnsample.chains._progress import Progress, resolve_progress
from bnnsample.chains._quantities import Watch
from bnnsample.chains._sampling import Sampled, Sampler, SamplerState
from bnnsample.chains._warmup import WarmupResult
from bnnsample.checkpoints import Checkpoints
from bnnsample.results import Result
from bnnsample.results._memory import Memory, Output
from bnnsample.results._warn import warned

# Of a state that a result holds to be extended: the kernel's, and the moments of all parameters.
HELD_BYTES = 2**30


@dataclasses.dataclass(frozen=True)
class Drawing:
    """All that sampling needs.

    Attributes:
        sampler: the compiled program.
        warm: what the warm-up found.
        watch: what is recorded.
        key: of all draws; draw i depends on it and the state before alone.
        frame: the record but for what sampling brings.
        checkpoints: where states are saved.
    """

    sampler: Sampler
    warm: WarmupResult
    watch: Watch
    key: Array
    frame: RunRecord
    checkpoints: Checkpoints

    def run(
        self, state: SamplerState, num_samples: int, output: Output, progress: Progress
    ) -> tuple[RunRecord, SamplerState | None]:
        """The record with ``num_samples`` draws per chain, and the state that they end in.

        None where Ctrl-C came first.
        """

        def commit(state: SamplerState) -> None:
            if self.checkpoints.is_due() or state.num_draws == num_samples:
                output.commit(_counted(self.frame, state, interrupted=True))
                _resume.save(self.checkpoints, self.warm, state)

        sampled = self.sampler.run(
            self.warm.posterior, self.watch, state, self.key, num_samples, output, progress, commit
        )
        record = dataclasses.replace(
            _counted(self.frame, sampled, sampled.interrupted),
            moments=sampled.moments,
            compile_seconds=self.frame.compile_seconds + sampled.compile_seconds,
        )
        record = output.finish(record)
        if sampled.state is None:
            return record, None
        checked = with_checks(record, self.warm.posterior, sampled.state.states)
        if checked is not record:
            output.commit(checked)
        return checked, sampled.state


@dataclasses.dataclass(frozen=True)
class InMemory:
    """Goes on with a run whose draws are in memory."""

    drawing: Drawing
    state: SamplerState
    record: RunRecord
    created_at: str

    def __call__(self, num_samples: int, progress: Any) -> Result:
        more = checked_counts(num_samples=num_samples)["num_samples"]
        total = self.state.num_draws + more
        settings = {**self.record.settings, "num_samples": total}
        # Of the run that it was.
        settings.pop("memory", None)
        frame = dataclasses.replace(self.drawing.frame, settings=settings)
        drawing = dataclasses.replace(self.drawing, frame=frame)
        devices = self.drawing.sampler.devices
        with precision(self.record.x.dtype), quiet_blas(devices.platform), devices.as_default():
            start = _mapped(jnp.array, self.state)
            output = Memory(total, self.record, self.created_at)
            record, state = drawing.run(start, total, output, resolve_progress(progress))
        return warned(result_of(drawing, record, state, self.created_at))


def result_of(
    drawing: Drawing, record: RunRecord, state: SamplerState | None, created_at: str
) -> Result:
    """A result in memory that can be extended where the state is known, and not too large."""
    if state is None or tree_bytes((state.states, state.moments)) > HELD_BYTES:
        return Result(record, created_at)
    # On the host: a result takes no memory of a device.
    held = state._replace(states=to_host(state.states), moments=to_host(state.moments))
    return Result(record, created_at, InMemory(drawing, held, record, created_at))


def _mapped(fn: Callable[[Any], Any], state: SamplerState) -> SamplerState:
    """Every array of a state mapped."""
    states, moments = (jax.tree.map(fn, tree) for tree in (state.states, state.moments))
    return state._replace(states=states, moments=moments)


def _counted(frame: RunRecord, so_far: SamplerState | Sampled, interrupted: bool) -> RunRecord:
    """The frame with what sampling has cost."""
    return dataclasses.replace(
        frame,
        num_gradients=so_far.num_gradients,
        sampling_seconds=frame.sampling_seconds + so_far.seconds,
        interrupted=interrupted,
    )
