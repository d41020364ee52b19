"""How many rows of data and how many vectors go through the network together."""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import Array

# Bytes that a product may hold, half of it in parameter-sized arrays and half in activations.
BUDGET = 2**30
# Beyond a few vectors at a time the matrices of a product are large enough for full speed.
MOST_VECTORS = 8


def num_vectors(leaves: list[Array]) -> int:
    """Vectors at a time: each holds its ``J^T v``, and a sum over batches of the same size."""
    return max(1, min(MOST_VECTORS, BUDGET // 2 // max(1, 2 * num_bytes(leaves))))


def num_rows(bytes_per_row: int, vectors: int) -> int:
    """Rows at a time: their activations, and at worst as much again for every vector."""
    return max(1, BUDGET // 2 // max(1, bytes_per_row * (1 + vectors)))


def activation_bytes(
    forward: Callable[[list[Array], list[Array]], Array], leaves: list[Array], x: list[Array]
) -> int:
    """Bytes per row of what ``forward(leaves, batch)`` keeps for its derivative; nothing is run."""

    def kept(rows: int) -> int:
        batch = [jax.ShapeDtypeStruct((rows, *a.shape[1:]), a.dtype) for a in x]
        pull = jax.eval_shape(
            lambda leaves, batch: jax.vjp(lambda p: forward(p, batch), leaves), leaves, batch
        )
        return num_bytes(jax.tree.leaves(pull))

    return max(1, kept(2) - kept(1))


def num_bytes(arrays: Any) -> int:
    """Bytes of arrays or of their shapes."""
    return sum(math.prod(a.shape) * _item_size(a.dtype) for a in arrays)


def _item_size(dtype: Any) -> int:
    return 8 if jax.dtypes.issubdtype(dtype, jax.dtypes.extended) else np.dtype(dtype).itemsize
