"""What a layer is: a finite initialiser and forward pass, and what its infinite width does."""

import abc
from collections.abc import Iterator
from typing import Any, ClassVar

from jax import Array

from ntk.layers._covariance import Covariances

Shape = tuple[int, ...]


class Layer(abc.ABC):
    """One part of a network, described once. Subclasses are frozen dataclasses.

    Examples are ``[*positions, channels]``, with no positions for a vector.

    Attributes:
        fresh: whether fresh weights make the output's channels independent of the input's; None
            for a linear layer without weights, which leaves them as they were.
    """

    fresh: ClassVar[bool | None] = None

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
