"""Which axes of a kernel are kept in full, taken on their diagonal, or traced over."""

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax import Array

FULL, DIAGONAL, TRACE = "full", "diagonal", "trace"


@dataclass(frozen=True)
class Reduction:
    """What becomes of the batch axis and of each output axis of a kernel.

    Attributes:
        modes: FULL (a pair of axes), DIAGONAL (one axis) or TRACE (none: the mean of the
            diagonal), the batch axis first.
    """

    modes: tuple[str, ...]

    def divisor(self, lengths: Mapping[Any, int]) -> int:
        """The number of values that the traces sum over; lengths by ``("first", axis)``."""
        return math.prod(lengths["first", k] for k, m in enumerate(self.modes) if m == TRACE)

    def exchanged(self, kernel: Array) -> Array:
        """A kernel with its first and second argument exchanged."""
        order: list[int] = []
        for mode in self.modes:
            at = len(order)
            order += {FULL: [at + 1, at], DIAGONAL: [at], TRACE: []}[mode]
        return jnp.transpose(kernel, order)


def reduction_of(trace_axes: Any, diagonal_axes: Any, ndim: int) -> Reduction:
    """The reduction of a function whose output has ``ndim`` axes, the batch axis included.

    Raises:
        TypeError: axes that are not ints.
        ValueError: an axis out of range, or one named twice.
    """
    modes = [FULL] * ndim
    for name, axes, mode in (
        ("trace_axes", trace_axes, TRACE),
        ("diagonal_axes", diagonal_axes, DIAGONAL),
    ):
        for axis in _as_axes(name, axes):
            if not -ndim <= axis < ndim:
                raise ValueError(
                    f"{name} has axis {axis}, but f returns an array with {ndim} axes (the batch "
                    f"axis is 0)"
                )
            if modes[axis % ndim] != FULL:
                raise ValueError(
                    f"{name} names axis {axis}, which trace_axes and diagonal_axes "
                    "have already named once"
                )
            modes[axis % ndim] = mode
    return Reduction(tuple(modes))


def _as_axes(name: str, axes: Any) -> Sequence[int]:
    try:
        given = tuple(axes) if isinstance(axes, Iterable) else (axes,)
        if any(isinstance(axis, bool) for axis in given):
            raise TypeError
        return [operator.index(axis) for axis in given]
    except TypeError:
        raise TypeError(f"{name} must be an int or a sequence of ints, got {axes!r}") from None
