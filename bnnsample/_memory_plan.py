"""What a run will keep and need, in bytes: said, and refused, before anything is compiled."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from bnnsample._arguments import shown
from bnnsample._gradient_memory import gradient_bytes, surrogate_bytes
from bnnsample.chains import _keep
from bnnsample.chains._devices import CHAINS, Devices
from bnnsample.chains._keep import DEVICE_BUFFER_BYTES, KeepPlan, tree_bytes
from bnnsample.chains._quantities import NUM_HIDDEN_WEIGHTS, Watch, quantities
from bnnsample.chains._start import NUM_FITTED
from bnnsample.coordinates import Posterior, Standard
from bnnsample.kernels._registry import ALL_DATA
from bnnsample.results._stream import BUFFER_BYTES

NUM_PRIOR_DRAWS = 200
# Copies of a position that one step moves, of a state beside it, and of the moments in a chunk.
MOVED, STATE, MOMENTS = 5, 2, 4
# Of a draw's statistics: so many floating point numbers, and bytes of two counts and a flag.
STATISTICS, COUNTERS = 3, 9
AT_X_EVAL = ("f", "f_mean", "y_mean", "y")
MOST_PARAMETERS = 2**31


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes by what they are for.

    Attributes:
        draws: of each recorded quantity over all chains and draws, wherever it is kept.
        kept: of whole parameter draws.
        host: on the host: ``draws`` (of a stream its buffers), ``parameters``, ``prior``,
            ``moments``.
        device: on the device at most, over all chains: ``gradient`` and ``surrogate``, its fit
            (estimated), ``states``, ``moments``, ``buffers``, ``prior``, ``data``.
        shared: device and host are one: CPU.
        own_share: of ``device``, what is on this process's devices.
    """

    draws: dict[str, int]
    kept: int
    host: dict[str, int]
    device: dict[str, int]
    shared: bool
    own_share: float = 1.0

    @property
    def host_bytes(self) -> int:
        return sum(self.host.values())

    @property
    def device_bytes(self) -> int:
        return sum(self.device.values())

    def statement(self) -> str:
        """What is kept and needed, in one line."""
        place = "on disk" if self.host["draws"] < sum(self.draws.values()) else "on the host"
        text = f"keeps {shown_bytes(sum(self.draws.values()))} of draws {place}"
        if self.kept:
            text += f" and {shown_bytes(self.kept)} of parameters"
        largest = max(self.device, key=self.device.__getitem__)
        return (
            f"{text}; needs about {shown_bytes(self.host_bytes)} on the host and "
            f"{shown_bytes(self.device_bytes)} on the device "
            f"({largest}: {shown_bytes(self.device[largest])})"
        )

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {"draws": self.draws, "kept": self.kept, "host": self.host, "device": self.device}


def plan_memory(
    posterior: Posterior,
    plan: KeepPlan,
    counts: Mapping[str, int],
    x_eval: Array | None,
    devices: Devices,
    streams: bool,
) -> MemoryPlan:
    """The plan of a run, from shapes alone.

    Raises:
        ValueError: a network of more parameters than are counted.
    """
    chains, samples = counts["num_chains"], counts["num_samples"]
    small, network, position = _shapes(posterior, x_eval)
    itemsize = posterior.y.dtype.itemsize
    per_draw = {name: tree_bytes(shape) * chains for name, shape in small.items()}
    per_draw["sample_stats"] = (STATISTICS * itemsize + COUNTERS) * chains
    draws = {name: size * samples for name, size in per_draw.items()}
    kept = plan.bytes_per_draw * chains * (samples // plan.stride) if plan.stride else 0
    parameters = tree_bytes(network) * chains
    prior = NUM_PRIOR_DRAWS * sum(tree_bytes(small[name]) for name in ("f", "y") if name in small)
    recorded, one = sum(draws.values()), sum(per_draw.values())
    slots = min(DEVICE_BUFFER_BYTES, recorded + kept) + (2 * parameters if plan.stride else 0)
    buffers = max(one, slots)
    data = sum(a.size * a.dtype.itemsize for a in (posterior.x, posterior.y))
    data += 0 if x_eval is None else x_eval.size * x_eval.dtype.itemsize
    moved = tree_bytes(position)
    shared = devices.platform == "cpu"
    at_once = min(chains, devices.mesh.shape[CHAINS]) if shared else chains
    return MemoryPlan(
        draws,
        kept,
        host={
            # Blocks are joined before they are written.
            "draws": min(recorded, 2 * (BUFFER_BYTES + buffers)) if streams else recorded,
            "parameters": kept,
            "moments": 2 * parameters,
            "prior": prior,
        },
        device={
            "gradient": (gradient_bytes(posterior, position) + MOVED * moved) * at_once,
            "surrogate": surrogate_bytes(posterior, position, chains),
            "states": STATE * moved * chains,
            "moments": MOMENTS * parameters,
            "buffers": buffers,
            "prior": prior,
            "data": data + parameters // (chains * itemsize),
        },
        shared=shared,
        own_share=len(devices.own) / devices.mesh.size,
    )


def check_memory(
    memory: MemoryPlan,
    posterior: Posterior,
    keep: str,
    counts: Mapping[str, int],
    devices: Devices,
    streams: bool,
) -> None:
    """Raise ``ValueError`` where a run is beyond the machine's memory, with what is cheaper."""
    available, on_device = _keep.available_bytes(), device_available_bytes(devices)
    parts = dict(memory.host)
    if memory.shared:
        for name, size in memory.device.items():
            parts[name] = parts.get(name, 0) + math.ceil(memory.own_share * size)
    host = sum(parts.values())
    if host > available:
        needed, limit, where = host, available, "memory"
    elif not memory.shared and on_device is not None and memory.device_bytes > on_device:
        parts, needed, limit = memory.device, memory.device_bytes, on_device
        where = "memory on the device"
    else:
        return
    order = sorted(parts, key=parts.__getitem__, reverse=True)
    said = [_said(part, parts[part], memory, posterior, keep, counts) for part in order[:3]]
    cheaper = [
        option
        for part in order
        if parts[part] > 0.1 * needed
        for option in _cheaper(part, memory, keep, streams)
    ]
    if posterior.y.dtype.itemsize == 8:
        cheaper.append("float32 data")
    raise ValueError(
        f"the run needs about {shown_bytes(needed)} of {where}, more than the "
        f"{shown_bytes(limit)} available: {'; '.join(said)}. Cheaper: "
        f"{'; '.join(dict.fromkeys(cheaper))}"
    )


def device_available_bytes(devices: Devices) -> int | None:
    """Free memory of all devices together, which are loaded alike; None where they do not say."""
    stats = [device.memory_stats() or {} for device in devices.own]
    if any("bytes_limit" not in found for found in stats):
        return None
    free = [found["bytes_limit"] - found.get("bytes_in_use", 0) for found in stats]
    return min(free) * devices.mesh.size


def shown_bytes(size: float) -> str:
    """In GiB, or MiB or KiB below one."""
    if size >= 2**30:
        return f"{size / 2**30:,.2f} GiB"
    return f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{size / 2**10:.1f} KiB"


def _shapes(posterior: Posterior, x_eval: Array | None) -> tuple[dict[str, Any], Any, Any]:
    """What is recorded of a draw, whole parameters, and a position of the chain."""
    key = jax.random.key(0)
    position = jax.eval_shape(posterior.prior_draw, key)
    if posterior.is_fitted:
        # The same is recorded in any coordinates, and these need nothing fitted.
        posterior = Standard(
            posterior.model, posterior.likelihood, posterior.width, posterior.x, posterior.y
        )
    start = jax.eval_shape(posterior.prior_draw, key)
    template = jax.eval_shape(posterior.prior_parameters, key)
    size = sum(leaf.size for leaf in jax.tree.leaves(template["hidden"]))
    total = size + template["readout"].size
    if total >= MOST_PARAMETERS:
        raise ValueError(
            f"the network of width={shown(posterior.width)} has {total:,} parameters; they are "
            f"numbered in 32 bits, and must be below 2**31 = {MOST_PARAMETERS:,}"
        )
    shapes: Any = (
        x_eval,
        [jax.ShapeDtypeStruct((leaf.size,), jnp.int8) for leaf in jax.tree.leaves(template)],
        jax.ShapeDtypeStruct((min(NUM_HIDDEN_WEIGHTS, size),), jnp.int32),
    )

    def recorded(*arguments):
        # JAX keeps what it has traced as long as the function lives: not one of a module's, then.
        return quantities(*arguments)

    small, network = jax.eval_shape(recorded, posterior, Watch(*shapes), key, start)
    return small, network, position


def _said(
    part: str,
    size: int,
    memory: MemoryPlan,
    posterior: Posterior,
    keep: str,
    counts: Mapping[str, int],
) -> str:
    chains, samples = counts["num_chains"], counts["num_samples"]
    if part == "draws":
        largest = sorted(memory.draws, key=memory.draws.__getitem__, reverse=True)[:3]
        of = ", ".join(f"{name} {shown_bytes(memory.draws[name])}" for name in largest)
        return (
            f"draws of num_chains={chains} times num_samples={samples} need "
            f"{shown_bytes(size)} ({of})"
        )
    if part == "parameters":
        return f"keep={keep!r} needs {shown_bytes(size)} for whole parameter draws"
    if part in ("gradient", "surrogate"):
        position = jax.eval_shape(posterior.prior_draw, jax.random.key(0))
        n, p = jax.eval_shape(posterior.features, position, posterior.x).shape
        what = {
            "gradient": "one gradient of every chain that moves at once",
            "surrogate": f"a Gaussian surrogate's fit, to {max(chains, NUM_FITTED)} networks",
        }[part]
        return (
            f"data of {n:,} points and {p:,} features (width={shown(posterior.width)}) need about "
            f"{shown_bytes(size)} for {what}"
        )
    what = {
        "states": "the states",
        "moments": "moments of all parameters",
        "buffers": "buffers of draws",
        "prior": f"{NUM_PRIOR_DRAWS} prior draws",
        "data": "the data",
    }[part]
    return f"{what} of num_chains={chains} need {shown_bytes(size)}"


def _cheaper(part: str, memory: MemoryPlan, keep: str, streams: bool) -> list[str]:
    if part in ("draws", "buffers", "prior"):
        at_x_eval = sum(memory.draws.get(name, 0) for name in AT_X_EVAL)
        large = at_x_eval > 0.2 * sum(memory.draws.values())
        options = ["x_eval= with fewer points"] if large else []
        if part == "draws":
            options += ["fewer num_samples, thin= to space them out, or fewer num_chains"]
            options += [] if streams else ["checkpoint_dir=, which streams draws to disk"]
        return options
    if part == "parameters":
        return ["keep='auto', which thins to 256 MiB" if keep == "all" else "keep='none'"]
    if part in ("gradient", "surrogate"):
        return [ALL_DATA]
    return ["fewer num_chains or a smaller width"]
