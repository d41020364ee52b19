"""Layers one after the other, and side by side."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from ntk._duals._roots import inverse_root
from ntk.layers._checks import keep_scale
from ntk.layers._covariance import Covariances
from ntk.layers._layer import Layer, Shape


@dataclass(frozen=True, init=False)
class Serial(Layer):
    """``Serial(a, b, ...)``: one layer after the other. Without layers: what comes in."""

    layers: tuple[Layer, ...]
    values: ClassVar[tuple[str, ...]] = ("layers",)

    def __init__(self, *layers: Layer):
        for layer in layers:
            _require_layer(layer)
        object.__setattr__(self, "layers", tuple(layers))

    def init(
        self, key: Array, shape: Shape, widths: Iterator[int], dtype: Any
    ) -> tuple[Any, Shape]:
        """A list with the parameters of every layer; see :meth:`Layer.init`."""
        parameters = []
        for part, layer in zip(jax.random.split(key, len(self.layers)), self.layers, strict=True):
            drawn, shape = layer.init(part, shape, widths, dtype)
            parameters.append(drawn)
        return parameters, shape

    def apply(self, parameters: Any, x: Array) -> Array:
        for layer, own in zip(self.layers, parameters, strict=True):
            x = layer.apply(own, x)
        return x

    def spread(self, k: Covariances) -> Covariances:
        for layer in self.layers:
            k = layer.spread(k)
        return k

    @property
    def pairs_positions(self) -> bool:
        return any(layer.pairs_positions for layer in self.layers)

    @property
    def fresh(self) -> bool | None:  # type: ignore[override]
        known = [layer.fresh for layer in self.layers if layer.fresh is not None]
        return known[-1] if known else None


@dataclass(frozen=True, init=False)
class Parallel(Layer):
    """``Parallel(a, b, ...)``: the sum of branches that see the same input.

    At infinite width covariances add up where the branches are independent: at most one of them
    may do without weights of its own.
    """

    branches: tuple[Layer, ...]
    values: ClassVar[tuple[str, ...]] = ("branches",)

    def __init__(self, *branches: Layer):
        if len(branches) < 2:
            raise ValueError(f"Parallel needs at least two branches, got {len(branches)}")
        for branch in branches:
            _require_layer(branch)
        object.__setattr__(self, "branches", tuple(branches))

    def init(
        self, key: Array, shape: Shape, widths: Iterator[int], dtype: Any
    ) -> tuple[Any, Shape]:
        """A list with the parameters of every branch; see :meth:`Layer.init`."""
        keys = jax.random.split(key, len(self.branches))
        drawn = [
            branch.init(k, shape, widths, dtype)
            for k, branch in zip(keys, self.branches, strict=True)
        ]
        shapes = {output for _, output in drawn}
        if len(shapes) > 1:
            raise ValueError(f"the branches of {self!r} end in different shapes: {sorted(shapes)}")
        return [parameters for parameters, _ in drawn], shapes.pop()

    def apply(self, parameters: Any, x: Array) -> Array:
        outputs = (b.apply(p, x) for b, p in zip(self.branches, parameters, strict=True))
        return sum(outputs)  # type: ignore[return-value]

    def spread(self, k: Covariances) -> Covariances:
        found = [branch.spread(k) for branch in self.branches]
        if sum(not branch.fresh for branch in self.branches) > 1:
            raise ValueError(
                f"at most one branch of {self!r} may do without weights of its own: others are "
                "not independent of one another"
            )
        first = found[0]
        return dataclasses.replace(
            first,
            nngp=_total([b.nngp for b in found]),
            ntk=_total([b.ntk for b in found if b.ntk is not None]),
            own1=_total([b.own1 for b in found]),
            own2=_total([b.own2 for b in found]),
            gaussian=all(b.gaussian for b in found),
        )

    @property
    def pairs_positions(self) -> bool:
        return any(branch.pairs_positions for branch in self.branches)

    @property
    def fresh(self) -> bool | None:  # type: ignore[override]
        found = {branch.fresh for branch in self.branches}
        return False if False in found else None if None in found else True


def Residual(*layers: Layer, shortcut: Layer | None = None) -> Parallel:
    """``x + layers(x)``, or ``shortcut(x) + layers(x)``."""
    return Parallel(Serial() if shortcut is None else shortcut, Serial(*layers))


@dataclass(frozen=True)
class Scale(Layer):
    """Times a constant."""

    factor: float
    values: ClassVar[tuple[str, ...]] = ("factor",)

    def __post_init__(self):
        keep_scale(self, "factor", signed=True)

    def apply(self, parameters: tuple, x: Array) -> Array:
        return x * jnp.asarray(self.factor, x.dtype)

    def spread(self, k: Covariances) -> Covariances:
        return k.mapped(lambda array, _: self.factor**2 * array)


@dataclass(frozen=True)
class LayerNorm(Layer):
    """Mean zero and variance one over the channels of every position; no parameters.

    ``epsilon`` is added to the variance. Where both are zero, as for an input of zeros without
    biases, the output is zero.
    """

    epsilon: float = 0.0
    values: ClassVar[tuple[str, ...]] = ("epsilon",)

    def __post_init__(self):
        keep_scale(self, "epsilon")

    def apply(self, parameters: tuple, x: Array) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        variance = jnp.square(centred).mean(-1, keepdims=True)
        return centred * inverse_root(variance + jnp.asarray(self.epsilon, x.dtype))

    def spread(self, k: Covariances) -> Covariances:
        if not k.gaussian:
            raise ValueError(
                f"{self!r} must follow a layer with weights: at infinite width the mean over its "
                "channels has to vanish"
            )

        def normed(array: Array, one: Array, two: Array) -> Array:
            # A product of two variances may be no number.
            return array * inverse_root(one + self.epsilon) * inverse_root(two + self.epsilon)

        own1, own2 = (
            normed(own, *(k.own_pairs(variances) if k.full else (variances, variances)))
            for own, variances in zip((k.own1, k.own2), k.variances(), strict=True)
        )
        a, b = k.pair_of_variances()
        ntk = None if k.ntk is None else normed(k.ntk, a, b)
        return dataclasses.replace(k, nngp=normed(k.nngp, a, b), ntk=ntk, own1=own1, own2=own2)


def _require_layer(layer: Any) -> None:
    if not isinstance(layer, Layer):
        raise TypeError(f"expected a layer of ntk.layers, got {layer!r}")


def _total(arrays: list[Any]) -> Any:
    total = None
    for array in arrays:
        total = array if total is None else total + array
    return total
