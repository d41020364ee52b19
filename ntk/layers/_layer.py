"""What a layer is: a finite initialiser and forward pass, and what its infinite width does."""

import abc
import dataclasses
import functools
from collections.abc import Iterator
from typing import Any, ClassVar

import jax
from jax import Array

from ntk.layers._covariance import Covariances

Shape = tuple[int, ...]


class Layer(abc.ABC):
    """One part of a network, described once. Subclasses are frozen dataclasses.

    Examples are ``[*positions, channels]``, with no positions for a vector. A layer is a pytree
    whose leaves are its scales, so that kernels can be differentiated by them.

    Attributes:
        values: names of the fields that are scales, layers or tuples of layers.
        fresh: whether fresh weights make the output's channels independent of the input's; None
            for a linear layer without weights, which leaves them as they were.
    """

    values: ClassVar[tuple[str, ...]] = ()
    fresh: ClassVar[bool | None] = None

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        jax.tree_util.register_pytree_node(cls, _flatten, functools.partial(_unflatten, cls))

    def init(
        self, key: Array, shape: Shape, widths: Iterator[int], dtype: Any
    ) -> tuple[Any, Shape]:
        """Parameters drawn from their prior, and the shape of the layer's output.

        Args:
            key: random key.
            shape: of one example, without the batch axis.
            widths: of the layers with weights, one after the other.
            dtype: of the parameters.
        """
        return (), self.output_shape(shape)

    @abc.abstractmethod
    def apply(self, parameters: Any, x: Array) -> Array:
        """The layer's output for ``x [n, *shape]``."""

    @abc.abstractmethod
    def spread(self, k: Covariances) -> Covariances:
        """The covariances of its output from those of its input, at infinite width."""

    def output_shape(self, shape: Shape) -> Shape:
        """Of one example, for a layer without weights."""
        return shape

    @property
    def pairs_positions(self) -> bool:
        """Whether covariances between different positions enter its output's."""
        return False


def _flatten(layer: Layer) -> tuple[tuple[Any, ...], tuple[tuple[str, Any], ...]]:
    rest = (f.name for f in dataclasses.fields(layer) if f.name not in layer.values)  # type: ignore[arg-type]
    described = tuple((name, getattr(layer, name)) for name in rest)
    return tuple(getattr(layer, name) for name in layer.values), described


def _unflatten(cls: type[Layer], described: Any, values: Any) -> Layer:
    # Not checked again: JAX puts values of its own into a pytree.
    layer = object.__new__(cls)
    for name, value in (*described, *zip(cls.values, values, strict=True)):
        object.__setattr__(layer, name, value)
    return layer
