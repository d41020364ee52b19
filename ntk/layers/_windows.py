"""Sums over windows of positions, of one axis or of a pair of axes at the same offsets."""

import math
from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array

PADDINGS = ("SAME", "VALID", "CIRCULAR")


def pads_of(padding: str, size: int, window: int, stride: int) -> tuple[int, int]:
    """What is added on both sides of an axis: XLA's rule for ``"SAME"``."""
    if padding == "VALID":
        return 0, 0
    total = max((math.ceil(size / stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def extended(array: Array, axes: Sequence[int], padding: str, window: int, stride: int) -> Array:
    """The array with its padding: zeros, or what is on the other side."""
    pads = [(0, 0)] * array.ndim
    for axis in axes:
        pads[axis] = pads_of(padding, array.shape[axis], window, stride)
    if not any(low or high for low, high in pads):
        return array
    return jnp.pad(array, pads, mode="wrap" if padding == "CIRCULAR" else "constant")


def sums_together(
    array: Array, axes: Sequence[int], padding: str, window: int, stride: int
) -> Array:
    """``sum_k array[..., stride p + k, stride p' + k, ...]`` over a window, for all of ``axes``."""
    array = extended(array, axes, padding, window, stride)
    return sum(_taken(array, axes, k, window, stride) for k in range(window))  # type: ignore[return-value]


def _taken(array: Array, axes: Sequence[int], start: int, window: int, stride: int) -> Array:
    cut = [slice(None)] * array.ndim
    for axis in axes:
        count = (array.shape[axis] - window) // stride + 1
        cut[axis] = slice(start, start + (count - 1) * stride + 1, stride)
    return array[tuple(cut)]
