"""Averages and sums over positions, and the end of positions."""

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from ntk.layers._checks import check_whole
from ntk.layers._covariance import Covariances
from ntk.layers._layer import Layer, Shape
from ntk.layers._windows import sums_together


@dataclass(frozen=True)
class _Pool(Layer):
    """Over windows that do not reach beyond the image.

    Attributes:
        window: its sizes, one per spatial axis.
        strides: an int, or one per spatial axis; None: the window's sizes.
    """

    window: tuple[int, ...]
    strides: int | tuple[int, ...] | None = None

    def __post_init__(self):
        window = check_whole("window", self.window, None)
        strides = window if self.strides is None else self.strides
        object.__setattr__(self, "window", window)
        object.__setattr__(self, "strides", check_whole("strides", strides, len(window)))

    @property
    def weight(self) -> float:
        """Of each position in the sum."""
        raise NotImplementedError

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != len(self.window) + 1:
            raise ValueError(
                f"{self!r} takes examples of {len(self.window)} spatial axes and one of channels, "
                f"got shape {shape}"
            )
        sizes = zip(shape[:-1], self.window, self.strides, strict=True)  # type: ignore[arg-type]
        positions = tuple((size - window) // stride + 1 for size, window, stride in sizes)
        if any(count < 1 for count in positions):
            raise ValueError(f"{self!r} leaves nothing of examples of shape {shape}")
        return (*positions, shape[-1])

    def apply(self, parameters: tuple, x: Array) -> Array:
        for k, (window, stride) in enumerate(zip(self.window, self.strides, strict=True)):  # type: ignore[arg-type]
            x = sums_together(x, (k + 1,), "VALID", window, stride)
        return x * jnp.asarray(self.weight, x.dtype)

    def spread(self, k: Covariances) -> Covariances:
        def pooled(array: Array, lead: int) -> Array:
            for axis, (window, stride) in enumerate(zip(self.window, self.strides, strict=True)):  # type: ignore[arg-type]
                for side in (0, 1):
                    at = (lead + 2 * axis + side,)
                    array = sums_together(array, at, "VALID", window, stride)
            return self.weight**2 * array

        return k.mapped(pooled)

    @property
    def pairs_positions(self) -> bool:
        return True


@dataclass(frozen=True)
class AvgPool(_Pool):
    """The mean over windows; see ``window`` and ``strides`` of any pooling here."""

    @property
    def weight(self) -> float:
        return 1 / math.prod(self.window)


@dataclass(frozen=True)
class SumPool(_Pool):
    """The sum over windows."""

    @property
    def weight(self) -> float:
        return 1.0


@dataclass(frozen=True)
class MaxPool(_Pool):
    """The largest value in every window. Its infinite width has no closed form."""

    fresh: ClassVar[bool | None] = False

    def apply(self, parameters: tuple, x: Array) -> Array:
        window, strides = (1, *self.window, 1), (1, *self.strides, 1)  # type: ignore[misc]
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, strides, "VALID")

    def spread(self, k: Covariances) -> Covariances:
        raise NotImplementedError(
            "max pooling has no closed form at infinite width: use ntk.monte_carlo_kernel"
        )


@dataclass(frozen=True)
class _GlobalPool(Layer):
    """Over all positions: what is left are channels."""

    def output_shape(self, shape: Shape) -> Shape:
        return shape[-1:]

    @property
    def mean(self) -> bool:
        """Whether the sum is divided by the number of positions."""
        raise NotImplementedError

    def apply(self, parameters: tuple, x: Array) -> Array:
        axes = tuple(range(1, x.ndim - 1))
        return x.mean(axes) if self.mean else x.sum(axes)

    def spread(self, k: Covariances) -> Covariances:
        def pooled(array: Array, lead: int) -> Array:
            axes = tuple(range(lead, array.ndim))
            return array.mean(axes) if self.mean else array.sum(axes)

        return k.mapped(pooled, spatial=0, full=False)

    @property
    def pairs_positions(self) -> bool:
        return True


@dataclass(frozen=True)
class GlobalAvgPool(_GlobalPool):
    """The mean over all positions."""

    @property
    def mean(self) -> bool:
        return True


@dataclass(frozen=True)
class GlobalSumPool(_GlobalPool):
    """The sum over all positions."""

    @property
    def mean(self) -> bool:
        return False


@dataclass(frozen=True)
class Flatten(Layer):
    """``[n, *positions, channels]`` as ``[n, features]``."""

    def output_shape(self, shape: Shape) -> Shape:
        return (math.prod(shape),)

    def apply(self, parameters: tuple, x: Array) -> Array:
        return x.reshape(len(x), -1)

    def spread(self, k: Covariances) -> Covariances:
        # A channel of a flat layer is one of all positions' channels.
        same = k.at_equal_positions()
        flat = same.mapped(lambda array, lead: array.mean(tuple(range(lead, array.ndim))))
        return dataclasses.replace(flat, spatial=0, gaussian=k.gaussian and k.spatial == 0)
