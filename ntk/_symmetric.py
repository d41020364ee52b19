"""The kernel of examples with themselves: what lies below the diagonal is not computed."""

import itertools
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array

from ntk._axes import Reduction

# No blocks of fewer examples: their products would be too small.
SMALLEST_BLOCK = 8


def by_rows(
    block: Callable[[int, int], Array], size: int, reduction: Reduction, most: int
) -> Array:
    """The symmetric kernel ``[size, size, ...]`` from its rows, in at most ``most`` blocks.

    With 8 blocks nine sixteenths of the kernel are computed. The rest is the transpose.

    Args:
        block: ``block(start, stop)``: rows ``start : stop``, columns from ``start`` on.
        size: of the batch axis, which is kept in full.
        reduction: of the kernel.
        most: blocks; each is a program of its own.
    """
    count = max(1, min(most, size // SMALLEST_BLOCK))
    if count == 1:
        return block(0, size)
    edges = [round(size * k / count) for k in range(count + 1)]
    rows = []
    for start, stop in itertools.pairwise(edges):
        row = block(start, stop)
        rows.append(jnp.pad(row, [(0, 0), (start, 0), *[(0, 0)] * (row.ndim - 2)]))
    upper = jnp.concatenate(rows)
    block_of = jnp.asarray(np.repeat(np.arange(count, dtype=np.int32), np.diff(edges)))
    above = block_of[:, None] <= block_of[None, :]
    mask = above.reshape(size, size, *[1] * (upper.ndim - 2))
    return jnp.where(mask, upper, reduction.exchanged(upper))
