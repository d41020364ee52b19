"""Layers with weights: fully connected, and convolutions over any number of axes."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from ntk.layers._checks import check_whole, is_zero, keep_scale
from ntk.layers._convolution import convolve
from ntk.layers._covariance import Covariances
from ntk.layers._layer import Layer, Shape
from ntk.layers._windows import PADDINGS, extended, sums_together

PARAMETERIZATIONS = ("ntk", "standard")


class Weighted(Layer):
    """Weights between the channels of the input and those of the output, and a bias.

    With ``fan_in``, the number of inputs that an output is a sum over:

    - ``parameterization="ntk"``: ``y = weight_std / sqrt(fan_in) * x @ w + bias_std * b``, every
      parameter with prior N(0, 1). The scales live in the forward pass (Jacot et al. 2018, eq. 1
      and 2), so that the prior of a parameter, and with it the reference measure of every sampler,
      does not depend on width.
    - ``"standard"``: ``y = x @ w + b`` with priors ``N(0, weight_std^2 / fan_in)`` and
      ``N(0, bias_std^2)``, up to one constant: for the tangent kernel to have a limit, inputs
      are divided by ``sqrt(width)`` and weights multiplied by it (Sohl-Dickstein et al. 2020,
      arXiv:2001.07301, eq. 5). The tangent kernel then weighs a layer by its number of inputs.

    Attributes:
        weight_std, bias_std: standard deviations. ``bias_std = 0`` leaves the bias out.
        times: output channels for each unit of width.
        parameterization: ``"ntk"`` or ``"standard"``.
        input_times: of ``"standard"``: input channels for each unit of width, ``times`` of the
            layer before; for the layer that sees the data, their number of channels.
    """

    weight_std: float
    bias_std: float
    times: float
    parameterization: str
    input_times: float
    values: ClassVar[tuple[str, ...]] = ("weight_std", "bias_std")
    fresh: ClassVar[bool | None] = True

    def __post_init__(self):
        keep_scale(self, "weight_std", positive=True)
        keep_scale(self, "bias_std")
        keep_scale(self, "times", positive=True)
        keep_scale(self, "input_times", positive=True)
        if self.parameterization not in PARAMETERIZATIONS:
            raise ValueError(
                f"parameterization must be one of {', '.join(PARAMETERIZATIONS)}, got "
                f"{self.parameterization!r}"
            )

    @property
    def window_size(self) -> int:
        """Positions that an output sums over."""
        return 1

    def drawn(self, key: Array, shape: Sequence[int], dtype: Any) -> dict[str, Array]:
        """A draw from the prior of weights, and of a bias if there is one."""
        weight_key, bias_key = jax.random.split(key)
        weight_scale, bias_scale = self._prior_scales()
        # Drawn flat: the same numbers, and XLA compiles a network of them six times faster.
        weight = jax.random.normal(weight_key, (math.prod(shape),), dtype).reshape(shape)
        parameters = {"weight": scaled(weight, weight_scale)}
        if not is_zero(self.bias_std):
            bias = jax.random.normal(bias_key, shape[-1:], dtype)
            parameters["bias"] = scaled(bias, bias_scale)
        return parameters

    def scaled_input(self, x: Array) -> Array:
        """What the weights are multiplied with. Scaling weights themselves would cost more."""
        if self.parameterization == "standard":
            return scaled(x, (self.input_times / x.shape[-1]) ** 0.5)
        return scaled(x, self.weight_std / (self.window_size * x.shape[-1]) ** 0.5)

    def biased(self, z: Array, parameters: dict[str, Array]) -> Array:
        """With the bias on the last axis, if there is one."""
        if "bias" not in parameters:
            return z
        scale = self.bias_std if self.parameterization == "ntk" else 1.0
        return z + scaled(parameters["bias"], scale).reshape((1,) * (z.ndim - 1) + (-1,))

    def weighted(self, k: Covariances) -> Covariances:
        """Fresh weights on means over windows: the prior's covariance, and its parameters' own."""

        def prior(array: Array) -> Array:
            return self.weight_std**2 * array + self.bias_std**2

        nngp = prior(k.nngp)
        ntk = None
        if k.tangent:
            ntk = nngp
            if self.parameterization == "standard":
                has_bias = jnp.asarray(self.bias_std != 0, k.nngp.dtype)
                ntk = self.input_times * self.window_size * k.nngp + has_bias
            if k.ntk is not None:
                ntk = ntk + self.weight_std**2 * k.ntk
        return dataclasses.replace(
            k, nngp=nngp, ntk=ntk, own1=prior(k.own1), own2=prior(k.own2), gaussian=True
        )

    def _prior_scales(self) -> tuple[Any, Any]:
        if self.parameterization == "ntk":
            return 1.0, 1.0
        fan_in = self.input_times * self.window_size
        return self.weight_std / fan_in**0.5, self.bias_std


@dataclass(frozen=True)
class Dense(Weighted):
    """Fully connected, on the last axis; see :class:`Weighted` for its arguments."""

    weight_std: float = 1.0
    bias_std: float = 0.0
    times: float = 1.0
    parameterization: str = "ntk"
    input_times: float = 1.0

    def init(
        self, key: Array, shape: Shape, widths: Iterator[int], dtype: Any
    ) -> tuple[Any, Shape]:
        """``{"weight": [fan_in, width], "bias": [width]}``; see :meth:`Layer.init`."""
        width = channels(widths, self.times)
        return self.drawn(key, (shape[-1], width), dtype), (*shape[:-1], width)

    def apply(self, parameters: dict[str, Array], x: Array) -> Array:
        return self.biased(self.scaled_input(x) @ parameters["weight"], parameters)

    def spread(self, k: Covariances) -> Covariances:
        return self.weighted(k)


@dataclass(frozen=True)
class Conv(Weighted):
    """A convolution of ``[n, *positions, channels]``; see :class:`Weighted`.

    Its fan-in is the window's size times the input's channels.

    Attributes:
        window: the kernel's sizes, one per spatial axis.
        strides: an int, or one per spatial axis.
        padding: ``"SAME"`` (zeros), ``"VALID"`` or ``"CIRCULAR"``.
    """

    window: tuple[int, ...] = (3, 3)
    strides: int | tuple[int, ...] = 1
    padding: str = "SAME"
    weight_std: float = 1.0
    bias_std: float = 0.0
    times: float = 1.0
    parameterization: str = "ntk"
    input_times: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "window", check_whole("window", self.window, None))
        object.__setattr__(self, "strides", check_whole("strides", self.strides, len(self.window)))
        if len(self.window) > 3:
            raise ValueError(f"window must have at most three spatial axes, got {self.window}")
        if not isinstance(self.padding, str):
            raise TypeError(f"padding must be a name, got {type(self.padding).__name__}")
        if self.padding not in PADDINGS:
            raise ValueError(f"padding must be one of {', '.join(PADDINGS)}, got {self.padding!r}")

    @property
    def window_size(self) -> int:
        return math.prod(self.window)

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
        parameters = self.drawn(key, (*self.window, shape[-1], width), dtype)
        output = jax.eval_shape(self.apply, parameters, jax.ShapeDtypeStruct((1, *shape), dtype))
        if 0 in output.shape:
            raise ValueError(f"{self!r} leaves nothing of examples of shape {shape}")
        return parameters, output.shape[1:]

    def apply(self, parameters: dict[str, Array], x: Array) -> Array:
        for k, (window, stride) in enumerate(zip(self.window, self._strides, strict=True)):
            x = extended(x, (k + 1,), self.padding, window, stride)
        z = convolve(self.scaled_input(x), parameters["weight"], self._strides)
        return self.biased(z, parameters)

    def spread(self, k: Covariances) -> Covariances:
        pairs = 2 if k.full else 1

        def windows(array: Array, lead: int) -> Array:
            for axis, (window, stride) in enumerate(zip(self.window, self._strides, strict=True)):
                at = lead + pairs * axis
                axes = tuple(range(at, at + pairs))
                array = sums_together(array, axes, self.padding, window, stride) / window
            return array

        return self.weighted(k.mapped(windows))

    @property
    def _strides(self) -> tuple[int, ...]:
        assert isinstance(self.strides, tuple)
        return self.strides


def channels(widths: Iterator[int], times: float) -> int:
    """The next layer's."""
    return max(1, round(times * next(widths)))


def scaled(array: Array, factor: Any) -> Array:
    return array * jnp.asarray(factor, array.dtype)
