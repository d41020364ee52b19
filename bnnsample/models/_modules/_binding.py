"""A module of a framework as functions of its parameters by path."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

Values = Mapping[str, Array]
# Examples of a trace; a number that no network has for its outputs.
NUM_EXAMPLES = 13


class Binding(ABC):
    """One module, its inputs of one shape and dtype.

    Paths are components with "/" between them: ``"encoder/Dense_0/kernel"``.

    Attributes:
        shapes: shapes of all parameters by path, layer by layer as they are defined.
        linear_layers: paths of the framework's own linear layers, ``x @ kernel + bias``.
        shape, dtype: of an example, and of all parameters.
    """

    shapes: dict[str, tuple[int, ...]]
    linear_layers: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: Any
    # Whether the module takes a batch, or one example at a time.
    batched: bool = True
    # Whether the kernels of the framework's own linear layers are [d, p].
    transposed: bool = False

    @abstractmethod
    def outputs(self, values: Values, x: Array, mark: Callable[[str, Any], Any]) -> Any:
        """What the module returns; ``mark(path, y)`` sees the output of every layer it asks for."""

    @abstractmethod
    def features(self, values: Values, x: Array, readout: str) -> Array:
        """The output, with the layer at ``readout`` passing its input on; it has no parameters."""

    @abstractmethod
    def layer(self, path: str, values: Values, z: Array) -> Array:
        """The layer at ``path`` alone, for ``z [n, p]``; ``values`` holds its parameters."""

    @abstractmethod
    def assemble(self, values: Values) -> Any:
        """The framework's own structure with all parameters."""

    @abstractmethod
    def take(self, structure: Any) -> dict[str, Any]:
        """Parameters by path of the framework's own structure."""

    def canonical(self, path: str, array: Array) -> Array:
        """A parameter ``[*window, in, out]``, whatever the framework's order of axes."""
        return array

    def native(self, path: str, array: Array) -> Array:
        """The inverse of ``canonical``."""
        return array

    def canonical_shape(self, path: str) -> tuple[int, ...]:
        array = jax.ShapeDtypeStruct(self.shapes[path], self.dtype)
        return jax.eval_shape(lambda a: self.canonical(path, a), array).shape

    def inputs(self) -> jax.ShapeDtypeStruct:
        """What the module is traced with."""
        batch = (NUM_EXAMPLES,) if self.batched else ()
        return jax.ShapeDtypeStruct((*batch, *self.shape), self.dtype)

    def structs(self, below: str | None = None) -> dict[str, jax.ShapeDtypeStruct]:
        """All parameters as shapes, or all but those of the layer ``below``."""
        return {
            path: jax.ShapeDtypeStruct(shape, self.dtype)
            for path, shape in self.shapes.items()
            if below is None or layer_of(path) != below
        }


def layer_of(path: str) -> str:
    """The layer that a parameter belongs to."""
    return path.rpartition("/")[0]


def name_of(path: str) -> str:
    """A parameter's name in its layer."""
    return path.rpartition("/")[2]


def joined(parts: Any) -> str:
    return "/".join(str(part) for part in parts)


def check_floating(shapes: Mapping[str, Any]) -> None:
    """Raise ``TypeError`` unless every parameter is floating point."""
    for path, leaf in shapes.items():
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise TypeError(f"parameter {path!r} must be floating point, got {leaf.dtype}")
        if math.prod(leaf.shape) == 0:
            raise ValueError(f"parameter {path!r} of shape {leaf.shape} is empty")


def check_fits(given: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ``ValueError`` unless parameters have the paths and shapes expected."""
    got = {path: jnp.shape(array) for path, array in given.items()}
    if got != dict(shapes):
        raise ValueError(f"expected parameters of shapes {dict(shapes)}, got {got}")
