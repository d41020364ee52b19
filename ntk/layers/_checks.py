"""Checks of layers' arguments, made when a network is described."""

import math
import operator
from typing import Any


def check_scale(name: str, value: Any, positive: bool = False) -> None:
    """Raise unless ``value`` is a finite number, not negative (or positive)."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    if not math.isfinite(number) or number < 0 or (positive and number == 0):
        sign = "positive" if positive else "at least 0"
        raise ValueError(f"{name} must be finite and {sign}, got {value!r}")


def check_whole(name: str, value: Any, count: int | None) -> tuple[int, ...]:
    """Positive ints, one per spatial axis; a single one stands for ``count`` of them."""
    given = value if isinstance(value, (tuple, list)) else (value,) * (count or 1)
    try:
        if any(isinstance(v, bool) for v in given):
            raise TypeError
        whole = tuple(operator.index(v) for v in given)
    except TypeError:
        raise TypeError(f"{name} must be an int, or one per spatial axis, got {value!r}") from None
    if not whole or any(v < 1 for v in whole) or (count is not None and len(whole) != count):
        axes = "" if count is None else f"{count} "
        raise ValueError(f"{name} must be {axes}positive, one per spatial axis, got {value!r}")
    return whole
