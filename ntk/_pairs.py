"""The kernel of examples with themselves, from pairs of blocks of them: half the work."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntk._kernel_inputs import in_blocks

# At most so many blocks, of at least so many examples.
BLOCKS = 8
SMALLEST_BLOCK = 32


def by_pairs(kernel: Callable[[Array, Array], Any], alone: Callable[[Array], Any], x: Array) -> Any:
    """``kernel(x, x)``, exactly symmetric, from blocks on and above the diagonal.

    With 8 blocks nine sixteenths of it are computed, in a loop over the pairs of blocks: outside
    of one, XLA would compute every block again for its place below the diagonal.

    Args:
        kernel: ``kernel(x1, x2)``, a tree of ``[n1, n2]``, those of ``(x2, x1)`` transposed.
        alone: of one example, the same tree, of its kernels with itself ``[]``.
        x: examples ``[n, ...]``.
    """
    count = max(1, min(BLOCKS, len(x) // SMALLEST_BLOCK))
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

    # Computed again for derivatives, whose memory is then that of one pair of blocks.
    one = jax.checkpoint(lambda ends: kernel(blocks[ends[0]], blocks[ends[1]]))
    values = jax.lax.map(one, (first, second))
    return jax.tree.map(together, values, jax.vmap(alone)(blocks.reshape(-1, *x.shape[1:])))
