"""Checks of model arguments."""

import math
from collections.abc import Sequence
from typing import SupportsIndex, TypeGuard

from bnnsample._arguments import checked_index, checked_number, shown
from bnnsample.models._model import Width


def check_standard_deviation(name: str, value: float, positive: bool = False) -> None:
    """Raise ``ValueError`` unless ``value`` is finite and non-negative (or positive)."""
    number = checked_number(name, value)
    if not math.isfinite(number) or number < 0 or (positive and number == 0):
        sign = "positive" if positive else "non-negative"
        raise ValueError(f"{name} must be a finite {sign} standard deviation, got {shown(value)}")


def checked_depth(depth: SupportsIndex) -> int:
    """``depth`` as an int of at least 1."""
    depth = checked_index("depth", depth)
    if depth < 1:
        raise ValueError(f"depth must be at least 1 hidden layer, got {shown(depth)}")
    return depth


def _is_per_layer(width: Width) -> TypeGuard[Sequence[int]]:
    return isinstance(width, Sequence) and not isinstance(width, (str, bytes, bytearray))


def checked_width(width: Width) -> int | tuple[int, ...]:
    """``width`` of a model whose depth is its own affair: an int, or as many as there are.

    Raises:
        TypeError, ValueError: as ``widths_of``, or a sequence of none.
    """
    if _is_per_layer(width):
        if not width:
            raise ValueError("width has 0 entries; expected an int or one int per layer")
        return widths_of(width, len(width))
    return widths_of(width, 1)[0]


def widths_of(width: Width, depth: int) -> tuple[int, ...]:
    """``width`` as one positive int per hidden layer.

    Raises:
        TypeError: not an int or a sequence of ints.
        ValueError: a width below 1 or beyond 2**31, or a sequence whose length is not ``depth``.
    """
    try:
        if _is_per_layer(width):
            widths = tuple(checked_index("width", w) for w in width)
        else:
            widths = (checked_index("width", width),) * depth
    except TypeError:
        raise TypeError(f"width must be an int or one int per layer, got {shown(width)}") from None
    if len(widths) != depth:
        raise ValueError(f"width has {len(widths)} entries, but the network has {depth} layers")
    if any(w < 1 for w in widths):
        raise ValueError(f"width must be at least 1, got {shown(width)}")
    if any(w >= 2**31 for w in widths):
        raise ValueError(f"width must be below 2**31, got {shown(width)}")
    return widths
