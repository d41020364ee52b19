"""Sampling: one compiled chunk, run until the draws are done, leaving the device as it goes."""

import warnings
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bnnsample.chains._keep import DEVICE_BUFFER_BYTES, KeepPlan, tree_bytes
from bnnsample.chains._mapping import map_chains
from bnnsample.chains._program import Program, chunk_lengths
from bnnsample.chains._progress import Progress
from bnnsample.chains._quantities import Watch, quantities
from bnnsample.coordinates import Posterior
from bnnsample.kernels._spec import KernelSpec, Parameters, Statistics

MAX_CHUNK = 2000
Pytree = Any


@dataclass
class Samples:
    """Draws ``[chain, draw, ...]`` on the host, kept parameters and running moments."""

    draws: dict[str, np.ndarray]
    sample_stats: dict[str, np.ndarray]
    kept: Pytree
    kept_draws: np.ndarray
    moments: Pytree
    num_gradients: int
    seconds: float
    compile_seconds: float
    interrupted: bool


class Sampler:
    """The compiled chunk of a run and the host side that collects its draws."""

    def __init__(
        self, spec: KernelSpec, parameters: Parameters, plan: KeepPlan, thin: int, platform: str
    ):
        self.static, self.dynamic = spec.split(parameters)
        self.spec, self.plan, self.thin, self.platform = spec, plan, thin, platform
        # The moments are not donated: they outlive a chunk that Ctrl-C breaks off.
        self.program = Program(self._chunk, donate=(4,))
        self.capacity = 0

    def run(
        self,
        posterior: Posterior,
        watch: Watch,
        states: Any,
        key: Array,
        num_samples: int,
        progress: Progress,
    ) -> Samples:
        """Draw ``num_samples`` per chain; Ctrl-C between chunks returns what has been drawn."""
        num_chains = jax.tree.leaves(states)[0].shape[0]
        keys = jax.random.split(key, num_chains)
        template = jax.eval_shape(posterior.prior_parameters, jax.random.key(0))
        if not self.capacity:
            self.capacity = self._capacity(posterior, watch, states, num_chains, num_samples)
        zeros = jax.tree.map(lambda a: jnp.zeros((num_chains, *a.shape), a.dtype), template)
        moments = {"mean": zeros, "square": jax.tree.map(jnp.copy, zeros)}
        collected = _Collector(self.plan)
        done, interrupted = 0, False
        progress.start("sampling", num_samples)
        try:
            for start, length in chunk_lengths(num_samples, self.capacity, self.program):
                states, moments, small, kept = self.program(
                    posterior,
                    watch,
                    self.dynamic,
                    keys,
                    states,
                    moments,
                    jnp.asarray(start, jnp.int32),
                    jnp.asarray(length, jnp.int32),
                )
                collected.add(small, kept, start, length)
                done = start + length
                progress.update(length, collected.info())
        except KeyboardInterrupt:
            if done == 0:
                raise
            interrupted = True
            warnings.warn(
                f"interrupted: returning the {done} of {num_samples} draws per chain made so far",
                stacklevel=2,
            )
        finally:
            progress.close()
        variance = jax.tree.map(lambda s: s / max(done - 1, 1), moments["square"])
        return collected.samples(
            {"mean": moments["mean"], "variance": variance},
            self.program.run_seconds,
            self.program.compile_seconds,
            interrupted,
        )

    def _capacity(self, posterior, watch, states, num_chains, num_samples) -> int:
        """Draws per chunk whose buffers fit the device budget."""
        state = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), states)
        small, _ = jax.eval_shape(
            lambda s: quantities(posterior, watch, jax.random.key(0), s.position), state
        )
        per_draw = tree_bytes(small) * num_chains
        if self.plan.stride:
            per_draw += self.plan.bytes_per_draw * num_chains // self.plan.stride
        return int(np.clip(DEVICE_BUFFER_BYTES // max(per_draw, 1), 1, min(MAX_CHUNK, num_samples)))

    def _chunk(self, posterior, watch, dynamic, keys, states, moments, start, length):
        parameters = {**self.static, **dynamic}

        def one_chain(key, carry):
            return self._one_chain(posterior, watch, parameters, key, carry, start, length)

        return map_chains(one_chain, self.platform)(keys, (states, moments))

    def _one_chain(self, posterior, watch, parameters, key, carry, start, length):
        stride = self.plan.stride

        def draw(index, state):
            step_key, record_key = jax.random.split(jax.random.fold_in(key, index))
            state, statistics = self._thinned_step(posterior, parameters, step_key, state)
            recorded, network = quantities(posterior, watch, record_key, state.position)
            stats = {"lp": self.spec.log_density(state), **statistics._asdict()}
            return state, {**recorded, "stats": stats}, network

        state, moments = carry
        _, recorded, network = jax.eval_shape(draw, start, state)
        small = _buffers(recorded, self.capacity)
        slots = self.capacity // stride + 2 if stride else 0
        kept = _buffers(network, slots) if stride else None

        def body(i, carry):
            state, moments, small, kept = carry
            index = start + i
            state, recorded, network = draw(index, state)
            small = _write(small, recorded, i)
            if stride:
                # Every draw of a stride overwrites its slot: the last one, which is kept, wins.
                kept = _write(kept, network, index // stride - start // stride)
            return state, _welford(moments, network, index + 1), small, kept

        return jax.lax.fori_loop(0, length, body, (state, moments, small, kept))

    def _thinned_step(self, posterior, parameters, key, state):
        def step(key, state):
            return self.spec.step(key, self.spec.view(posterior), state, parameters)

        if self.thin == 1:
            return step(key, state)

        def body(i, carry):
            state, total = carry
            state, new = step(jax.random.fold_in(key, i), state)
            return state, Statistics(
                total.acceptance_rate + new.acceptance_rate / self.thin,
                total.diverging | new.diverging,
                total.n_steps + new.n_steps,
                new.step_size,
            )

        _, shapes = jax.eval_shape(step, key, state)
        zero = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
        return jax.lax.fori_loop(0, self.thin, body, (state, zero))


class _Collector:
    """Chunks on the host, joined at the end."""

    def __init__(self, plan: KeepPlan):
        self.plan = plan
        self.small: list[Pytree] = []
        self.kept: list[Pytree] = []
        self.kept_draws: list[int] = []

    def add(self, small: Pytree, kept: Pytree, start: int, length: int) -> None:
        self.small.append(jax.tree.map(lambda a: np.asarray(a[:, :length]), small))
        finished = [d for d in range(start, start + length) if self.plan.is_kept(d)]
        if finished:
            first = start // self.plan.stride
            slots = np.asarray([d // self.plan.stride - first for d in finished])
            self.kept.append(jax.tree.map(lambda a: np.asarray(a[:, slots]), kept))
            self.kept_draws.extend(finished)

    def info(self) -> dict[str, Any]:
        stats = self.small[-1]["stats"]
        info: dict[str, Any] = {"acceptance": round(float(stats["acceptance_rate"].mean()), 3)}
        diverging = int(stats["diverging"].sum())
        return {**info, "divergent": diverging} if diverging else info

    def samples(self, moments, seconds, compile_seconds, interrupted) -> Samples:
        draws = _join(self.small)
        stats = draws.pop("stats")
        kept = _join(self.kept) if self.kept else None
        return Samples(
            draws,
            stats,
            kept,
            np.asarray(self.kept_draws, dtype=np.int64),
            jax.tree.map(np.asarray, moments),
            int(stats["n_steps"].sum()),
            seconds,
            compile_seconds,
            interrupted,
        )


def _join(chunks: list[Pytree]) -> Pytree:
    return jax.tree.map(lambda *parts: np.concatenate(parts, axis=1), *chunks)


def _buffers(template: Pytree, size: int) -> Pytree:
    return jax.tree.map(lambda a: jnp.zeros((size, *a.shape), a.dtype), template)


def _write(buffers: Pytree, values: Pytree, index: Array) -> Pytree:
    def put(buffer, value):
        return jax.lax.dynamic_update_index_in_dim(buffer, value, index, 0)

    return jax.tree.map(put, buffers, values)


def _welford(moments: Pytree, value: Pytree, count: Array) -> Pytree:
    """Running mean and sum of squared deviations (Welford 1962)."""

    def mean(m, v):
        return m + (v - m) / count.astype(m.dtype)

    new_mean = jax.tree.map(mean, moments["mean"], value)
    square = jax.tree.map(
        lambda s, old, new, v: s + (v - old) * (v - new),
        moments["square"],
        moments["mean"],
        new_mean,
        value,
    )
    return {"mean": new_mean, "square": square}
