"""Checks of layers' arguments, made when a network is described."""

import math
import operator
from typing import Any

import jax


def keep_scale(layer: Any, name: str, positive: bool = False, signed: bool = False) -> None:
    """Make a field of a layer a float, or leave it if it is being traced.

    Raises:
        TypeError: not a number.
        ValueError: not finite, or negative unless ``signed`` (or zero, where it must be positive).
    """
    value = getattr(layer, name)
    if isinstance(value, jax.core.Tracer):
        return
    try:
        if isinstance(value, (str, bytes)):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {value!r}")
    if (number < 0 and not signed) or (positive and number == 0):
        raise ValueError(
            f"{name} must be {'positive' if positive else 'at least 0'}, got {value!r}"
        )
    object.__setattr__(layer, name, number)


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


def is_zero(value: Any) -> bool:
    """Whether a scale is known to be zero; a traced one never is."""
    return not isinstance(value, jax.core.Tracer) and float(value) == 0
