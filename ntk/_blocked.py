"""Kernels in blocks of examples that fit the processor's caches; symmetric ones at half the work.

A loop over blocks is also what keeps XLA from holding every layer of a network in memory at once,
for one sum at the end, and from computing a block again for its place below the diagonal.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntk._kernel_inputs import in_blocks

# Numbers in a block of covariances.
BLOCK = {"cpu": 2**18}
BLOCK_OF_OTHERS = 2**24
# Below that many examples, fewer numbers, so that a symmetric kernel has about 8 blocks a side.
SMALLEST_SIDE = 32

Kernel = Callable[[Array, Array], Any]


def by_rows_of(kernel: Kernel, x1: Array, x2: Array, each: int) -> Any:
    """``kernel(x1, x2)``, a tree of ``[n1, n2]``, some rows at a time.

    Args:
        kernel: of two sets of examples.
        x1, x2: ``[n1, ...]`` and ``[n2, ...]``.
        each: numbers that a pair of examples takes inside.
    """
    rows = max(8, _block() // (each * len(x2)))
    if rows >= len(x1):
        return kernel(x1, x2)
    found = _looped(lambda some: kernel(some, x2), in_blocks(x1, rows))
    return jax.tree.map(lambda k: k.reshape(-1, len(x2))[: len(x1)], found)


def by_pairs(kernel: Kernel, alone: Callable[[Array], Any], x: Array, each: int) -> Any:
    """``kernel(x, x)``, exactly symmetric, from blocks on and above the diagonal.

    Args:
        kernel: as above, that of ``(x2, x1)`` the transpose of that of ``(x1, x2)``.
        alone: of one example, the same tree, of its kernels with itself ``[]``.
        x: examples ``[n, ...]``.
        each: as above.
    """
    side = max(8, math.isqrt(_block() // each))
    count = max(1, -(-len(x) // side), min(8, len(x) // SMALLEST_SIDE))
    blocks = in_blocks(x, -(-len(x) // count))
    count, size = blocks.shape[:2]
    first, second = np.triu_indices(count)
    pair = np.zeros((count, count), np.int32)
    pair[first, second] = pair[second, first] = np.arange(len(first))

    def together(value: Array, own: Array) -> Array:
        place = jnp.arange(count * size).reshape(count, size)
        row, column = place[:, None, :, None], place[None, :, None, :]
        every = value[pair]
        every = jnp.where(row < column, every, jnp.swapaxes(every, 2, 3))
        every = jnp.where(row == column, own.reshape(count, 1, size, 1), every)
        return jnp.swapaxes(every, 1, 2).reshape(count * size, -1)[: len(x), : len(x)]

    values = _looped(lambda ends: kernel(blocks[ends[0]], blocks[ends[1]]), (first, second))
    own = _looped(jax.vmap(alone), blocks)
    return jax.tree.map(together, values, own)


def _block() -> int:
    return BLOCK.get(jax.default_backend(), BLOCK_OF_OTHERS)


def _looped(fn: Callable[..., Any], over: Any) -> Any:
    # Computed again for derivatives, whose memory is then that of one block.
    return jax.lax.map(jax.checkpoint(fn), over)
