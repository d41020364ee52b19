"""Whitened hidden parameters that know the network they belong to."""

from collections.abc import Sequence
from typing import Any

import jax


@jax.tree_util.register_pytree_with_keys_class
class Hidden:
    """A list with a dict of arrays for each layer, and what the module was built with.

    Attributes:
        layers: ``[{name: u}, ...]``, each N(0, 1) under the prior.
        width, shape: the width, and the shape of an example.
    """

    def __init__(self, layers: Sequence[Any], width: Any, shape: tuple[int, ...]):
        self.layers, self.width, self.shape = list(layers), width, shape

    def tree_flatten_with_keys(self):
        keyed = [(jax.tree_util.SequenceKey(i), layer) for i, layer in enumerate(self.layers)]
        return keyed, (self.width, self.shape)

    @classmethod
    def tree_unflatten(cls, built_with, layers):
        return cls(layers, *built_with)

    def __repr__(self) -> str:
        return f"Hidden({self.layers!r}, width={self.width!r}, shape={self.shape!r})"
