"""The devices of a run: chains spread over them, and a chain's rows of data too."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from bnnsample._arguments import shown
from bnnsample._processes import are_several
from bnnsample.chains._mapping import map_chains
from bnnsample.coordinates import Posterior

CHAINS, DATA = "chains", "data"
Pytree = Any


@dataclasses.dataclass(frozen=True)
class Devices:
    """A mesh with the axes ``"chains"`` and ``"data"``.

    Chains are split over the first: each device moves its own, and they meet where the warm-up
    averages over them. Over the second the rows of x are split, and with them the features:
    products of them are sums and gathers over devices (XLA's partitioner), and what has no rows,
    the chain's state and the matrix that is factorised, is on every device.
    """

    mesh: Mesh

    @property
    def platform(self) -> str:
        return self.mesh.devices.flat[0].platform

    @property
    def is_one(self) -> bool:
        """Nothing is spread, and nothing placed."""
        return self.mesh.size == 1

    @property
    def own(self) -> list[jax.Device]:
        """Those of this process."""
        return [d for d in self.mesh.devices.flat if d.process_index == jax.process_index()]

    @property
    def local(self) -> jax.Device:
        """Where this process does what is not spread."""
        return self.own[0]

    def as_default(self) -> contextlib.AbstractContextManager:
        """What is not spread is done by ``local``."""
        if self.local == jax.local_devices()[0]:
            return contextlib.nullcontext()
        return jax.default_device(self.local)

    def describe(self) -> dict[str, int]:
        """Devices along each axis."""
        return dict(self.mesh.shape)

    def map_chains(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """``fn`` over the leading axis of its arguments, a device's chains together."""
        mapped = map_chains(fn, self.platform)
        if self.is_one:
            return mapped

        def spread(*args):
            sharded = jax.shard_map(
                mapped,
                mesh=self.mesh,
                in_specs=P(CHAINS),
                out_specs=P(CHAINS),
                axis_names={CHAINS},
                check_vma=False,
            )
            return self._constrained(sharded(*args), P(CHAINS))

        return spread

    def gathered(self, tree: Pytree) -> Pytree:
        """In a program: the same on every device, so that what follows is computed as on one."""
        return tree if self.is_one else self._constrained(tree, P())

    def rows_spread(self, args: Pytree) -> Pytree:
        """In a program: posteriors among its arguments with their rows spread."""
        if self.mesh.shape[DATA] == 1:
            return args

        def spread(arg):
            if not isinstance(arg, Posterior):
                return arg
            return dataclasses.replace(arg, **self._constrained({"x": arg.x, "y": arg.y}, P(DATA)))

        return jax.tree.map(spread, args, is_leaf=lambda arg: isinstance(arg, Posterior))

    def per_chain(self, tree: Pytree) -> Pytree:
        """Arrays ``[chain, ...]`` where their chains are."""
        return self._placed(tree, P(CHAINS))

    def everywhere(self, tree: Pytree) -> Pytree:
        """Arrays on every device."""
        return self._placed(tree, P())

    def _placed(self, tree: Pytree, spec: P) -> Pytree:
        if self.is_one:
            return tree
        return placed(tree, jax.tree.map(lambda _: NamedSharding(self.mesh, spec), tree))

    def _constrained(self, tree: Pytree, spec: P) -> Pytree:
        return jax.lax.with_sharding_constraint(tree, NamedSharding(self.mesh, spec))


def placed(tree: Pytree, shardings: Pytree) -> Pytree:
    """Arrays where their shardings say; every process has those that are not spread yet."""
    if not are_several():
        return jax.device_put(tree, shardings)
    return jax.tree.map(_put, tree, shardings)


def _put(leaf: Any, sharding: NamedSharding) -> jax.Array:
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        return jax.device_put(leaf, sharding)
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_put(jax.random.key_data(leaf), sharding))
    host = np.asarray(leaf)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


def one_device() -> Devices:
    """JAX's default device."""
    return Devices(_mesh(jax.local_devices()[:1]))


def resolve_devices(devices: Any, num_chains: int) -> Devices:
    """The devices of ``run``'s argument.

    None: as many devices as divide ``num_chains``, of all there are, the same number from every
    process.

    Raises:
        TypeError: not None, a sequence of devices or a mesh.
        ValueError: devices that chains cannot be spread over, a mesh with other axes, or a process
            without a device.
    """
    if devices is None:
        return Devices(_mesh(_automatic(num_chains)))
    if isinstance(devices, Mesh):
        mesh = _checked_mesh(devices)
    elif isinstance(devices, Sequence) and all(isinstance(d, jax.Device) for d in devices):
        if not devices or len(set(devices)) < len(devices):
            raise ValueError(f"devices must be one or more, each once, got {shown(devices)}")
        mesh = _mesh(devices)
    else:
        raise TypeError(
            "devices must be None, a list of JAX's devices or a jax.sharding.Mesh with axes "
            f"'chains' and 'data', got {shown(devices)}"
        )
    if num_chains % mesh.shape[CHAINS]:
        raise ValueError(
            f"devices: {num_chains} chains cannot be spread evenly over {mesh.shape[CHAINS]} "
            "devices; use another num_chains, or a mesh with axes 'chains' and 'data', whose "
            "second splits the rows of one chain's data"
        )
    processes = {device.process_index for device in mesh.devices.flat}
    if len(processes) < jax.process_count():
        raise ValueError(
            f"devices must have some of every process, got none of "
            f"{sorted(set(range(jax.process_count())) - processes)}"
        )
    return Devices(mesh)


def _automatic(num_chains: int) -> list[jax.Device]:
    count = jax.process_count()
    if num_chains % count:
        raise ValueError(
            f"num_chains must be a multiple of the number of processes, {count}, got {num_chains}"
        )
    of_each = [
        [device for device in jax.devices() if device.process_index == process]
        for process in range(count)
    ]
    chains = num_chains // count
    share = max(k for k in range(1, min(map(len, of_each)) + 1) if chains % k == 0)
    return [device for devices in of_each for device in devices[:share]]


def _checked_mesh(mesh: Mesh) -> Mesh:
    if not set(mesh.axis_names) <= {CHAINS, DATA}:
        raise ValueError(
            f"devices: a mesh may have the axes 'chains' and 'data', got {mesh.axis_names}"
        )
    order = [mesh.axis_names.index(name) for name in (CHAINS, DATA) if name in mesh.axis_names]
    if not mesh.size:
        raise ValueError(f"devices: a mesh needs a device, got one of shape {dict(mesh.shape)}")
    devices = mesh.devices.transpose(order)
    return Mesh(devices.reshape(mesh.shape.get(CHAINS, 1), mesh.shape.get(DATA, 1)), (CHAINS, DATA))


def _mesh(devices: Sequence[jax.Device]) -> Mesh:
    return Mesh(np.asarray(devices)[:, None], (CHAINS, DATA))
