"""Factors kept smaller than what they stand for: rows of a table, and patches of an image."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from ntk._structured._network import Factor, Implicit, Index


@dataclass(frozen=True, eq=False)
class Lookup(Implicit):
    """One where ``target`` is the integer in ``array``, zero elsewhere: a row of a table.

    A negative integer is no row. Two lookups in one table contract to the equality of their
    integers, whatever the length of the table.
    """

    target: Index

    @property
    def touched(self) -> tuple[Index, ...]:
        return (*self.indices, self.target)

    @property
    def implied(self) -> tuple[Index, ...]:
        return (self.target,)

    def explicit(self, dtype: Any) -> Factor:
        """Zeros and ones, with an axis along the table."""
        rows = jnp.arange(self.target.size, dtype=self.array.dtype)
        rows = rows.reshape((1,) * self.array.ndim + (-1,))
        array = (self.array[..., None] == rows).astype(dtype)
        return Factor(array, self.touched, self.batched)


@dataclass(frozen=True)
class Window:
    """One spatial axis of an image over which a kernel moves.

    Attributes:
        taps: the indices of the kernel's axis, none where it has length 1.
        size: of the kernel's axis.
        positions: the indices of the output's axis.
        count: of positions.
        stride, dilation: of the window.
    """

    taps: tuple[Index, ...]
    size: int
    positions: tuple[Index, ...]
    count: int
    stride: int
    dilation: int


@dataclass(frozen=True, eq=False)
class Patches(Implicit):
    """``image[..., stride * position + dilation * tap, ...]``: what a kernel sees of an image.

    The image is padded and dilated already. In full it is as many times larger as the kernel has
    taps; one tap after the other, it is a slice.

    Attributes:
        axes: of the image, in order, without the axis over examples: a window, or the indices
            that it stands for.
    """

    axes: tuple[Window | tuple[Index, ...], ...]

    @property
    def windows(self) -> list[int]:
        """The positions of axes with a window."""
        return [k for k, axis in enumerate(self.axes) if isinstance(axis, Window)]

    @property
    def touched(self) -> tuple[Index, ...]:
        found: list[Index] = []
        for axis in self.axes:
            found += (*axis.taps, *axis.positions) if isinstance(axis, Window) else axis
        return tuple(found)

    @property
    def implied(self) -> tuple[Index, ...]:
        return self.touched

    def at_tap(self, along: int, tap: int) -> "Patches":
        """With one tap of the window of an axis, which is a window no more."""
        window = self.axes[along]
        assert isinstance(window, Window)
        start = tap * window.dilation
        stop = start + (window.count - 1) * window.stride + 1
        at = self.array.ndim - len(self.axes) + along
        array = jax.lax.slice_in_dim(self.array, start, stop, window.stride, axis=at)
        axes = (*self.axes[:along], window.positions, *self.axes[along + 1 :])
        return replace(self, array=array, axes=axes)

    def explicit(self, dtype: Any = None) -> Factor:
        """Every tap beside the others, in front of the channels."""
        taps = [index for k in self.windows for index in self.axes[k].taps]  # type: ignore[union-attr]
        slices = list(self._slices())
        first = slices[0]
        if len(slices) == 1:
            return first
        others = [axis for k, axis in enumerate(self.axes) if k not in self.windows and axis]
        at = first.indices.index(others[-1][-1]) if others else len(first.indices)  # type: ignore[index]
        lead = first.array.ndim - len(first.indices)
        array = jnp.stack([part.array for part in slices], axis=lead + at)
        indices = (*first.indices[:at], *taps, *first.indices[at:])
        array = array.reshape(array.shape[:lead] + tuple(index.size for index in indices))
        return Factor(array, indices, self.batched)

    def _slices(self) -> Iterator[Factor]:
        windows = self.windows
        sizes = [range(self.axes[k].size) for k in windows]  # type: ignore[union-attr]
        for offsets in itertools.product(*sizes):
            part = self
            for along, tap in zip(windows, offsets, strict=True):
                part = part.at_tap(along, tap)
            yield part.plain()

    def plain(self) -> Factor:
        """As a factor, where no window is left."""
        indices = self.touched
        lead = self.array.shape[: self.array.ndim - len(self.axes)]
        array = self.array.reshape(lead + tuple(index.size for index in indices))
        return Factor(array, indices, self.batched)
