"""Sampling: one compiled chunk, run until the draws are done, leaving the device as it goes."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bnnsample._processes import are_several, to_host
from bnnsample.chains._devices import Devices
from bnnsample.chains._keep import DEVICE_BUFFER_BYTES, KeepPlan, tree_bytes
from bnnsample.chains._program import Program, chunk_lengths
from bnnsample.chains._progress import Progress
from bnnsample.chains._quantities import Watch, quantities
from bnnsample.chains._sink import Block, Sink
from bnnsample.coordinates import Posterior
from bnnsample.kernels._spec import KernelSpec, Parameters, Statistics

MAX_CHUNK = 2000
Pytree = Any


class SamplerState(NamedTuple):
    """Where sampling is.

    Attributes:
        states: the kernel's, stacked over chains.
        moments: running ``{"mean", "square"}`` of all parameters.
        num_draws, num_gradients, seconds: so far.
    """

    states: Any
    moments: Pytree
    num_draws: int = 0
    num_gradients: int = 0
    seconds: float = 0.0


class Sampled(NamedTuple):
    """How sampling ended; the draws went to the sink.

    Attributes:
        moments: ``{"mean": parameters, "variance": parameters}`` of each chain's draws.
        num_draws: draws per chain.
        num_gradients: over all chains.
        seconds: wall time of the compiled program.
        compile_seconds: wall time of compiling it.
        interrupted: Ctrl-C ended it before its last draw.
        state: where it ended; None: it was interrupted, inside a step perhaps.
    """

    moments: Pytree
    num_draws: int
    num_gradients: int
    seconds: float
    compile_seconds: float
    interrupted: bool
    state: SamplerState | None


class Sampler:
    """The compiled chunk of a run and the host side that hands on its draws."""

    def __init__(
        self, spec: KernelSpec, parameters: Parameters, plan: KeepPlan, thin: int, devices: Devices
    ):
        self.static, self.dynamic = spec.split(parameters)
        self.spec, self.plan, self.thin, self.devices = spec, plan, thin, devices
        # The moments are not donated: they outlive a chunk that Ctrl-C breaks off.
        self.program = Program(self._chunk, devices, donate=(4,))
        self.capacity = 0

    def run(
        self,
        posterior: Posterior,
        watch: Watch,
        start: SamplerState,
        key: Array,
        num_samples: int,
        sink: Sink,
        progress: Progress,
        save: Callable[[SamplerState], None] | None = None,
    ) -> Sampled:
        """Draw until there are ``num_samples`` per chain; Ctrl-C between chunks ends it early.

        ``save``, if given, is called after every chunk with the state from which the draws that
        follow can be made.
        """
        num_chains = jax.tree.leaves(start.states)[0].shape[0]
        spread = self.devices.per_chain
        keys = spread(jax.random.split(key, num_chains))
        posterior, watch = self.devices.everywhere((posterior, watch))
        if not self.capacity:
            self.capacity = self._capacity(posterior, watch, start.states, num_chains, num_samples)
        states, moments = spread((start.states, start.moments))
        now, interrupted = start._replace(states=states, moments=moments), False
        # The program may have run before, for the draws that these follow.
        earlier = self.program.run_seconds
        progress.start("sampling", num_samples)
        try:
            if now.num_draws:
                progress.update(now.num_draws, {})
            remaining = num_samples - now.num_draws
            for _, length in chunk_lengths(remaining, self.capacity, self.program):
                states, moments, small, kept = self.program(
                    posterior,
                    watch,
                    self.dynamic,
                    keys,
                    now.states,
                    now.moments,
                    jnp.asarray(now.num_draws, jnp.int32),
                    jnp.asarray(length, jnp.int32),
                )
                block = self._block(small, kept, now.num_draws, length)
                sink.add(block)
                now = SamplerState(
                    states,
                    moments,
                    now.num_draws + length,
                    now.num_gradients + int(block.sample_stats["n_steps"].sum()),
                    start.seconds + self.program.run_seconds - earlier,
                )
                progress.update(length, _info(block.sample_stats))
                if save is not None:
                    save(now)
        except KeyboardInterrupt:
            if now.num_draws == 0 or are_several():
                raise
            interrupted = True
            warnings.warn(
                f"interrupted: returning the {now.num_draws} of {num_samples} draws per chain made "
                "so far",
                stacklevel=2,
            )
        finally:
            progress.close()
        square = now.moments["square"]
        variance = jax.tree.map(lambda s: s / max(now.num_draws - 1, 1), square)
        moments = {"mean": now.moments["mean"], "variance": variance}
        return Sampled(
            to_host(moments),
            now.num_draws,
            now.num_gradients,
            now.seconds,
            self.program.compile_seconds,
            interrupted,
            None if interrupted else now,
        )

    def _block(self, small: Pytree, kept: Pytree, start: int, length: int) -> Block:
        """What a chunk has left in its buffers, on the host.

        Whole buffers leave the device, for a slice of every length would be a program of its own;
        what is not of this chunk does not stay.
        """
        draws = jax.tree.map(lambda a: a[:, :length].copy(), to_host(small))
        stats = draws.pop("stats")
        finished = [d for d in range(start, start + length) if self.plan.is_kept(d)]
        if not finished:
            return Block(draws, stats, None, np.zeros(0, np.int64))
        first = start // self.plan.stride
        slots = np.asarray([d // self.plan.stride - first for d in finished])
        kept = jax.tree.map(lambda a: a[:, slots], to_host(kept))
        return Block(draws, stats, kept, np.asarray(finished, np.int64))

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

        return self.devices.map_chains(one_chain)(keys, (states, moments))

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
                total.non_finite + new.non_finite,
                total.n_steps + new.n_steps,
                new.step_size,
            )

        _, shapes = jax.eval_shape(step, key, state)
        zero = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
        return jax.lax.fori_loop(0, self.thin, body, (state, zero))


def fresh(posterior: Posterior, states: Any) -> SamplerState:
    """Nothing drawn yet from where the chains are."""
    num_chains = jax.tree.leaves(states)[0].shape[0]
    template = jax.eval_shape(posterior.prior_parameters, jax.random.key(0))
    # On the host, from where each device takes its chains' alone.
    mean, square = (
        jax.tree.map(lambda a: np.zeros((num_chains, *a.shape), a.dtype), template)
        for _ in range(2)
    )
    return SamplerState(states, {"mean": mean, "square": square})


def _info(stats: dict[str, np.ndarray]) -> dict[str, Any]:
    info: dict[str, Any] = {"acceptance": round(float(stats["acceptance_rate"].mean()), 3)}
    diverging = int(stats["diverging"].sum())
    return {**info, "divergent": diverging} if diverging else info


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
