"""Layers with weights: fully connected, and convolutions over any number of axes."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from ntk.layers._checks import check_scale, check_whole
from ntk.layers._convolution import convolve
from ntk.layers._covariance import Covariances
from ntk.layers._layer import Layer, Shape
from ntk.layers._windows import PADDINGS, extended, sums_together


@dataclass(frozen=True)
class Dense(Layer):
    """``y = weight_std / sqrt(fan_in) * x @ w + bias_std * b``, every parameter with prior N(0, 1).

    The scales live in the forward pass (Jacot et al. 2018, eq. 1 and 2), so that the prior of
    a parameter, and with it the reference measure of every sampler, does not depend on width.
    ``weight_std`` and ``bias_std`` are standard deviations. ``bias_std = 0`` leaves the bias out.
    ``times``: output channels for each unit of width.
    """

    weight_std: float = 1.0
    bias_std: float = 0.0
    times: float = 1.0
    fresh: ClassVar[bool | None] = True

    def __post_init__(self):
        check_scale("weight_std", self.weight_std, positive=True)
        check_scale("bias_std", self.bias_std)
        check_scale("times", self.times, positive=True)

    def init(
        self, key: Array, shape: Shape, widths: Iterator[int], dtype: Any
    ) -> tuple[Any, Shape]:
        """``{"weight": [fan_in, width], "bias": [width]}``; see :meth:`Layer.init`."""
        width = channels(widths, self.times)
        return draw(key, (shape[-1], width), self.bias_std, dtype), (*shape[:-1], width)

    def apply(self, parameters: dict[str, Array], x: Array) -> Array:
        # Scaling the inputs costs n * fan_in, scaling the weights fan_in * width.
        z = (x * jnp.asarray(self.weight_std / x.shape[-1] ** 0.5, x.dtype)) @ parameters["weight"]
        return biased(z, parameters, self.bias_std)

    def spread(self, k: Covariances) -> Covariances:
        return weighted(k, self.weight_std, self.bias_std)


@dataclass(frozen=True)
class Conv(Layer):
    """A convolution of ``[n, *positions, channels]`` in NTK parameterisation; see :class:`Dense`.

    Its fan-in is the window's size times the input's channels.

    Attributes:
        window: the kernel's sizes, one per spatial axis.
        strides: an int, or one per spatial axis.
        padding: ``"SAME"`` (zeros), ``"VALID"`` or ``"CIRCULAR"``.
        weight_std, bias_std: standard deviations.
        times: output channels for each unit of width.
    """

    window: tuple[int, ...] = (3, 3)
    strides: int | tuple[int, ...] = 1
    padding: str = "SAME"
    weight_std: float = 1.0
    bias_std: float = 0.0
    times: float = 1.0
    fresh: ClassVar[bool | None] = True

    def __post_init__(self):
        check_scale("weight_std", self.weight_std, positive=True)
        check_scale("bias_std", self.bias_std)
        check_scale("times", self.times, positive=True)
        object.__setattr__(self, "window", check_whole("window", self.window, None))
        object.__setattr__(self, "strides", check_whole("strides", self.strides, len(self.window)))
        if self.padding not in PADDINGS:
            raise ValueError(f"padding must be one of {', '.join(PADDINGS)}, got {self.padding!r}")

    def init(
        self, key: Array, shape: Shape, widths: Iterator[int], dtype: Any
    ) -> tuple[Any, Shape]:
        """``{"weight": [*window, channels, width], "bias": [width]}``; see :meth:`Layer.init`."""
        if len(shape) != len(self.window) + 1:
            raise ValueError(
                f"{self!r} takes examples of {len(self.window)} spatial axes and one of channels, "
                f"got shape {shape}"
            )
        width = channels(widths, self.times)
        parameters = draw(key, (*self.window, shape[-1], width), self.bias_std, dtype)
        output = jax.eval_shape(self.apply, parameters, jax.ShapeDtypeStruct((1, *shape), dtype))
        if 0 in output.shape:
            raise ValueError(f"{self!r} leaves nothing of examples of shape {shape}")
        return parameters, output.shape[1:]

    def apply(self, parameters: dict[str, Array], x: Array) -> Array:
        if len(self.window) > 3:
            raise ValueError("convolutions have at most three spatial axes")
        for k, (window, stride) in enumerate(zip(self.window, self._strides, strict=True)):
            x = extended(x, (k + 1,), self.padding, window, stride)
        fan_in = math.prod(self.window) * x.shape[-1]
        x = x * jnp.asarray(self.weight_std / fan_in**0.5, x.dtype)
        z = convolve(x, parameters["weight"], self._strides)
        return biased(z, parameters, self.bias_std)

    def spread(self, k: Covariances) -> Covariances:
        pairs = 2 if k.full else 1

        def windows(array: Array, lead: int) -> Array:
            for axis, (window, stride) in enumerate(zip(self.window, self._strides, strict=True)):
                at = lead + pairs * axis
                axes = tuple(range(at, at + pairs))
                array = sums_together(array, axes, self.padding, window, stride) / window
            return array

        return weighted(k.mapped(windows), self.weight_std, self.bias_std)

    @property
    def _strides(self) -> tuple[int, ...]:
        assert isinstance(self.strides, tuple)
        return self.strides


def weighted(k: Covariances, weight_std: float, bias_std: float) -> Covariances:
    """Fresh weights on channels: the prior's covariance, and what its own parameters add."""

    def prior(array: Array) -> Array:
        return weight_std**2 * array + bias_std**2

    nngp = prior(k.nngp)
    ntk = None
    if k.tangent:
        ntk = nngp if k.ntk is None else nngp + weight_std**2 * k.ntk
    return dataclasses.replace(
        k, nngp=nngp, ntk=ntk, own1=prior(k.own1), own2=prior(k.own2), gaussian=True
    )


def channels(widths: Iterator[int], times: float) -> int:
    """The next layer's."""
    return max(1, round(times * next(widths)))


def draw(key: Array, shape: Sequence[int], bias_std: float, dtype: Any) -> dict[str, Array]:
    """A draw from the prior of weights, and of a bias if there is one."""
    weight_key, bias_key = jax.random.split(key)
    # Drawn flat: the same numbers, and XLA compiles a network of them six times faster.
    weight = jax.random.normal(weight_key, (math.prod(shape),), dtype)
    parameters = {"weight": weight.reshape(shape)}
    if bias_std > 0:
        parameters["bias"] = jax.random.normal(bias_key, shape[-1:], dtype)
    return parameters


def biased(z: Array, parameters: dict[str, Array], bias_std: float) -> Array:
    """With the scaled bias on the last axis, if there is one."""
    if bias_std == 0:
        return z
    bias = jnp.asarray(bias_std, z.dtype) * parameters["bias"]
    return z + bias.reshape((1,) * (z.ndim - 1) + (-1,))
