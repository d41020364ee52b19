"""Tiles computed one after another, or spread over the devices of a mesh, and put in place."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from tqdm import tqdm

from ntk._axes import DIAGONAL, FULL, TRACE
from ntk._kernel_inputs import Inputs, Signature
from ntk._methods import kernel_of
from ntk._tiles import Tile, Tiling, averaged, is_same, tile_program, tiles_of

# Seconds after which a bar is shown.
PATIENCE = 2.0


def tiled_kernel(inputs: Inputs, method: str, cut: Tiling, progress: bool) -> Any:
    """The kernel, one tile at a time; only a tile's examples are on the device."""
    tiles = tiles_of(inputs, cut)
    home = home_of(inputs)
    leaves, held = jax.device_put((inputs.leaves, inputs.held), home)
    kernel = None
    for tile in _bar(tiles, progress):
        compiled, same = tile_program(inputs, method, cut, tile)
        x1 = _rows(inputs.x1, tile.row, cut.rows, home)
        other = inputs.x1 if inputs.x2 is None else inputs.x2
        x2 = None if same else _rows(other, tile.column, cut.columns, home)
        starts = (
            None if cut.signature.block is None else (jnp.int32(tile.first), jnp.int32(tile.second))
        )
        value = compiled(leaves, held, x1, x2, starts)
        if len(tiles) == 1:
            kernel = value
            break
        if kernel is None:
            kernel = jax.tree.map(lambda _: _empty(inputs, cut), value)
        kernel = _placed(kernel, value, inputs, cut, tile)
        # One tile at a time in memory.
        jax.block_until_ready(kernel)
    return averaged(kernel, inputs.signature.reduction, cut.signature.reduction)


def spread_kernel(inputs: Inputs, method: str, cut: Tiling, mesh: Mesh, progress: bool) -> Any:
    """The kernel, as many tiles at a time as the mesh has devices, all of one program."""
    flat = Mesh(mesh.devices.reshape(-1), ("tiles",))
    size = flat.devices.size
    rounds = _rounds(inputs, cut, size)
    split, whole = NamedSharding(flat, P("tiles")), NamedSharding(flat, P())
    leaves, held = (jax.device_put(a, whole) for a in (inputs.leaves, inputs.held))
    other = inputs.x1 if inputs.x2 is None else inputs.x2
    kernel, home = None, jnp.zeros(()).sharding
    for round_ in _bar(rounds, progress):
        filled = [*round_, *[round_[-1]] * (size - len(round_))]
        x1 = _stacked(inputs.x1, [t.row for t in filled], cut.rows, split)
        x2 = None
        if not is_same(inputs, round_[0]):
            x2 = _stacked(other, [t.column for t in filled], cut.columns, split)
        starts = tuple(
            jax.device_put(np.array([getattr(t, side) for t in filled], np.int32), split)
            for side in ("first", "second")
        )
        values = _round(cut.signature, method, flat, leaves, held, x1, x2, starts)
        if kernel is None:
            kernel = jax.tree.map(lambda _: _empty(inputs, cut), values)
        for k, tile in enumerate(round_):
            value = jax.tree.map(lambda v, k=k: jax.device_put(v[k], home), values)
            kernel = _placed(kernel, value, inputs, cut, tile)
        jax.block_until_ready(kernel)
    return averaged(kernel, inputs.signature.reduction, cut.signature.reduction)


def _rounds(inputs: Inputs, cut: Tiling, size: int) -> list[list[Tile]]:
    """At most ``size`` tiles each: first those of examples with themselves, then the others."""
    tiles = tiles_of(inputs, cut)
    groups = ([t for t in tiles if is_same(inputs, t) is same] for same in (True, False))
    return [group[k : k + size] for group in groups for k in range(0, len(group), size)]


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _round(signature: Signature, method: str, mesh: Mesh, leaves, held, x1, x2, starts) -> Any:
    """One tile per device; ``x2`` None: of examples with themselves."""

    def one(leaves, held, x1, x2, starts):
        first = [a[0] for a in x1]
        second = None if x2 is None else [a[0] for a in x2]
        at = None if signature.block is None else (starts[0][0], starts[1][0])
        kernel = kernel_of(signature, method, leaves, held, first, second, at)
        return jax.tree.map(lambda a: a[None], kernel)

    specs = (P(), P(), P("tiles"), P("tiles"), P("tiles"))
    # Loops start from constants, which the check of replication takes for a mistake.
    return jax.shard_map(one, mesh=mesh, in_specs=specs, out_specs=P("tiles"), check_vma=False)(
        leaves, held, x1, x2, starts
    )


def home_of(inputs: Inputs) -> Any:
    """The device of the parameters; JAX's default one where they lie on several."""
    devices = inputs.leaves[0].devices() if inputs.leaves else ()
    return next(iter(devices)) if len(devices) == 1 else jnp.zeros(()).device


def _rows(arrays: list[Any], start: int, count: int, home: Any) -> list[Array]:
    return [jax.device_put(jnp.asarray(a[start : start + count]), home) for a in arrays]


def _stacked(arrays: list[Any], starts: list[int], count: int, sharding: Any) -> list[Array]:
    def stack(array: Any) -> Array:
        blocks = jnp.stack([jnp.asarray(array[s : s + count]) for s in starts])
        return jax.device_put(blocks, sharding)

    return [stack(a) for a in arrays]


def _empty(inputs: Inputs, cut: Tiling) -> Array:
    shape: list[int] = []
    lengths = zip(inputs.output_shape, inputs.output_shape, strict=True)
    for mode, (one, two) in zip(
        cut.signature.reduction.modes, (inputs.sizes, *lengths), strict=True
    ):
        shape += {FULL: [one, two], DIAGONAL: [one], TRACE: []}[mode]
    return jnp.zeros(shape, inputs.signature.dtype)


def _placed(kernel: Any, value: Any, inputs: Inputs, cut: Tiling, tile: Tile) -> Any:
    """The kernel with a tile in its place, and its mirror image if the kernel is symmetric."""
    modes = cut.signature.reduction.modes
    kernel = _put(kernel, value, _corner(modes, cut, tile))
    off_diagonal = (tile.row, tile.first) != (tile.column, tile.second)
    if inputs.x2 is None and modes[0] == FULL and off_diagonal:
        mirror = Tile(tile.column, tile.row, tile.second, tile.first)
        mirrored = jax.tree.map(cut.signature.reduction.exchanged, value)
        kernel = _put(kernel, mirrored, _corner(modes, cut, mirror))
    return kernel


def _corner(modes: tuple[str, ...], cut: Tiling, tile: Tile) -> tuple[Any, ...]:
    starts = {0: (tile.row, tile.column)}
    if cut.signature.block is not None:
        starts[cut.signature.block[0]] = tile.first, tile.second
    corner: list[int] = []
    for k, mode in enumerate(modes):
        one, two = starts.get(k, (0, 0))
        corner += {FULL: [one, two], DIAGONAL: [one], TRACE: []}[mode]
    return tuple(np.int32(c) for c in corner)


@functools.partial(jax.jit, donate_argnums=0)
def _put(kernel: Any, value: Any, corner: tuple[Any, ...]) -> Any:
    return jax.tree.map(lambda k, v: jax.lax.dynamic_update_slice(k, v, corner), kernel, value)


def _bar(items: Any, progress: bool) -> Any:
    """The items with a progress bar, shown once they have taken a while."""
    if not progress or len(items) < 4:
        return items
    return tqdm(items, desc="kernel", unit="tile", delay=PATIENCE)
