"""A kernel in tiles that fit a memory budget: which tiles, and a compiled program for them."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ntk._axes import DIAGONAL, FULL, TRACE, Reduction
from ntk._cost import method_cost, shapes_of
from ntk._kernel_inputs import Inputs, Signature, in_blocks
from ntk._memory import compiler_options
from ntk._methods import kernel_of

# A program is not compiled when its estimate, made without fusion, is so many times the budget.
PESSIMISM = 4


class Tile(NamedTuple):
    """Where a tile begins: examples of x1 and x2, outputs on both sides."""

    row: int
    column: int
    first: int = 0
    second: int = 0

    @property
    def is_diagonal(self) -> bool:
        """Of a symmetric kernel: examples, and outputs, with themselves."""
        return self.row == self.column and self.first == self.second


@dataclasses.dataclass(frozen=True)
class Tiling:
    """How a kernel is cut. The last tile of a row begins early enough to be a whole one.

    Attributes:
        rows, columns: examples of x1 and of x2 in a tile.
        signature: of the program of one tile, with its block of outputs; a trace is a diagonal
            there, averaged afterwards.
    """

    rows: int
    columns: int
    signature: Signature


def tiling(inputs: Inputs, rows: int, outputs: int | None) -> Tiling:
    """The tiling with so many examples and outputs in a tile."""
    n1, n2 = inputs.sizes
    modes, block = list(inputs.signature.reduction.modes), None
    if modes[0] == TRACE:
        modes[0] = DIAGONAL
    if outputs is not None:
        axis = 1 + max(range(len(inputs.output_shape)), key=lambda k: inputs.output_shape[k])
        if modes[axis] == TRACE:
            modes[axis] = DIAGONAL
        block = axis, outputs
    reduction = Reduction(tuple(modes))
    signature = dataclasses.replace(inputs.signature, reduction=reduction, block=block)
    return Tiling(min(rows, n1), min(rows, n2), signature)


def tiles_of(inputs: Inputs, cut: Tiling) -> list[Tile]:
    """The tiles that are computed: of a symmetric kernel, those above its diagonal."""
    n1, n2 = inputs.sizes
    modes = cut.signature.reduction.modes
    rows, columns = _starts(n1, cut.rows), _starts(n2, cut.columns)
    pairs_of_outputs = [(0, 0)]
    if cut.signature.block is not None:
        axis, size = cut.signature.block
        outputs = _starts(inputs.output_shape[axis - 1], size)
        paired = modes[axis] != FULL
        pairs_of_outputs = [
            (a, b) for a, b in itertools.product(outputs, outputs) if not paired or a == b
        ]
    if modes[0] != FULL:
        return [Tile(r, r, a, b) for r in rows for a, b in pairs_of_outputs]
    symmetric = inputs.x2 is None
    return [
        Tile(r, c, a, b)
        for r, c in itertools.product(rows, columns)
        for a, b in pairs_of_outputs
        if not symmetric or (r, a) <= (c, b)
    ]


def _starts(length: int, size: int) -> list[int]:
    """Where tiles of one size begin that cover a length."""
    count = math.ceil(length / size)
    return [min(k * size, length - size) for k in range(count)]


def choose_tiling(inputs: Inputs, method: str, budget: int, exact: bool, pieces: int) -> Tiling:
    """The largest tiles whose program needs no more temporary memory than the budget.

    Args:
        inputs, method: of the kernel.
        budget: bytes.
        exact: whether the compiled program's own analysis decides; otherwise an estimate does.
        pieces: at least so many tiles, for as many devices.

    Raises:
        ValueError: one example with one other and one output needs more.
    """
    candidates = list(_candidates(inputs, pieces))
    need = 0
    for cut in candidates:
        need = _estimate(inputs, method, cut)
        hopeless = need > PESSIMISM * budget and cut is not candidates[-1]
        if not hopeless and (exact or need > budget / 2):
            need = measured_bytes(inputs, method, cut)
        if need <= budget:
            return cut
    raise ValueError(
        f"memory_budget of {budget} bytes is too small: the smallest tile of {method}, one "
        f"example with one other and one output, needs {need} bytes"
    )


def _candidates(inputs: Inputs, pieces: int) -> Iterator[Tiling]:
    """Tilings from one piece down to a single example, then down to a single output."""
    n = max(inputs.sizes)
    full = inputs.signature.reduction.modes[0] == FULL
    count = 1
    while pieces > (count * (count + 1) // 2 if full else count) and count < n:
        count += 1
    rows = math.ceil(n / count)
    while True:
        yield tiling(inputs, rows, None)
        if rows == 1:
            break
        rows = math.ceil(rows / 2) if rows < 16 else math.ceil(rows / 1.5)
    if inputs.output_shape:
        outputs = max(inputs.output_shape)
        while outputs > 1:
            outputs = math.ceil(outputs / 2)
            yield tiling(inputs, 1, outputs)


def _tile_shapes(inputs: Inputs, cut: Tiling, same: bool) -> Any:
    leaves, held, x1, x2 = shapes_of(inputs)

    def part(shapes: Any, count: int) -> Any:
        return tuple(jax.ShapeDtypeStruct((count, *s.shape[1:]), s.dtype) for s in shapes)

    other = None if same else part(x1 if x2 is None else x2, cut.columns)
    return leaves, held, part(x1, cut.rows), other


def _is_same(inputs: Inputs, cut: Tiling) -> bool:
    """Whether the only program is that of examples with themselves."""
    one = cut.rows >= inputs.sizes[0] or cut.signature.reduction.modes[0] != FULL
    return inputs.x2 is None and one and cut.signature.block is None


def _estimate(inputs: Inputs, method: str, cut: Tiling) -> int:
    shapes = _tile_shapes(inputs, cut, _is_same(inputs, cut))
    # A block of the outputs does not change what is alive by much: that of all outputs.
    signature = dataclasses.replace(cut.signature, block=None)
    return method_cost(signature, method, shapes, jax.default_backend()).temporary_bytes


def measured_bytes(inputs: Inputs, method: str, cut: Tiling) -> int:
    """Temporary bytes of a tile's compiled programs, by XLA's own analysis."""
    sides = {is_same(inputs, tile) for tile in tiles_of(inputs, cut)}
    programs = [_program(inputs, method, cut, side) for side in sides]
    return max(p.memory_analysis().temp_size_in_bytes for p in programs)


def is_same(inputs: Inputs, tile: Tile) -> bool:
    """Whether a tile is of examples with themselves: half the work, and zero angles exact."""
    return inputs.x2 is None and tile.is_diagonal


def tile_program(inputs: Inputs, method: str, cut: Tiling, tile: Tile) -> Any:
    """The compiled program of a tile, and whether it is that of examples with themselves."""
    same = is_same(inputs, tile)
    return _program(inputs, method, cut, same), same


def _program(inputs: Inputs, method: str, cut: Tiling, same: bool) -> Any:
    options = compiler_options(_estimate(inputs, method, cut))
    shapes = _tile_shapes(inputs, cut, same)
    return _compiled(cut.signature, method, shapes, tuple(options.items()), _settings())


def _settings() -> tuple[Any, ...]:
    """Settings of JAX that a compiled program depends on."""
    config: Any = jax.config
    return (
        config.jax_default_matmul_precision,
        config.jax_default_device,
        config.jax_enable_x64,
        config.jax_debug_nans,
    )


@functools.lru_cache(maxsize=256)
def _compiled(signature: Signature, method: str, shapes: Any, options: Any, settings: Any) -> Any:
    """Compiled ahead of time for these shapes, under these settings."""
    leaves, held, x1, x2 = shapes
    start = jax.ShapeDtypeStruct((), jnp.int32)
    starts = None if signature.block is None else (start, start)
    fn = functools.partial(kernel_of, signature, method)
    other = None if x2 is None else list(x2)
    lowered = jax.jit(fn).lower(list(leaves), list(held), list(x1), other, starts)
    return lowered.compile(compiler_options=dict(options))


def mapped_kernel(inputs: Inputs, method: str, cut: Tiling) -> Any:
    """The kernel by a loop over its tiles inside one program, for use under transformations.

    Every tile is computed again for its derivative, so that memory stays that of one tile.
    Arguments of ``cut`` in outputs are not used.
    """
    signature = dataclasses.replace(cut.signature, block=None)
    (n1, n2), x2 = inputs.sizes, inputs.x1 if inputs.x2 is None else inputs.x2
    first, second = (
        [in_blocks(jnp.asarray(a), size) for a in x]
        for x, size in ((inputs.x1, cut.rows), (x2, cut.columns))
    )
    leaves, held = inputs.leaves, inputs.held

    @jax.checkpoint
    def tile(a: list[Array], b: list[Array]) -> Any:
        return kernel_of(signature, method, leaves, held, a, b)

    def rows_together(kernel: Array) -> Array:
        return kernel.reshape(-1, *kernel.shape[2:])[:n1]

    def tiles_together(kernel: Array) -> Array:
        kernel = jnp.moveaxis(kernel, 2, 1)
        r, s = kernel.shape[:2], kernel.shape[2:4]
        return kernel.reshape(r[0] * r[1], s[0] * s[1], *kernel.shape[4:])[:n1, :n2]

    if signature.reduction.modes[0] != FULL:
        kernel = jax.lax.map(lambda pair: tile(*pair), (first, second))
        kernel = jax.tree.map(rows_together, kernel)
    else:
        kernel = jax.lax.map(lambda a: jax.lax.map(lambda b: tile(a, b), second), first)
        kernel = jax.tree.map(tiles_together, kernel)
    return averaged(kernel, inputs.signature.reduction, signature.reduction)


def averaged(kernel: Any, wanted: Reduction, have: Reduction) -> Any:
    """Means over axes that were kept as a diagonal and are to be traced."""
    at, axes = 0, []
    for want, mode in zip(wanted.modes, have.modes, strict=True):
        if mode == DIAGONAL and want == TRACE:
            axes.append(at)
        at += {FULL: 2, DIAGONAL: 1, TRACE: 0}[mode]
    return jax.tree.map(lambda k: jnp.mean(k, axis=tuple(axes)), kernel) if axes else kernel
