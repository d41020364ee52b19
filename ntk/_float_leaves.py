"""The leaves of a parameter tree that derivatives are taken with respect to."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


class Layout(NamedTuple):
    """Where every leaf of a parameter tree goes; hashable, so that it can be static under jit.

    ``kinds`` names one kind per leaf: ``"float"`` (differentiated), ``"held"`` (an array of
    integers, booleans or keys) or ``"static"`` (not an array at all; kept in ``static``).
    """

    treedef: Any
    kinds: tuple[str, ...]
    static: tuple[Any, ...]

    def join(self, floats: list[Array], held: list[Array]) -> Any:
        """The parameter tree with these leaves: the inverse of :func:`split_floats`."""
        sources = {"float": iter(floats), "held": iter(held), "static": iter(self.static)}
        return jax.tree.unflatten(self.treedef, [next(sources[kind]) for kind in self.kinds])


def split_floats(params: Any) -> tuple[list[Array], list[Array], Layout]:
    """Split ``params`` into its floating point leaves, its other arrays, and a layout.

    A Python float counts as a floating point leaf; a Python integer, a string or a function
    is static. ``layout.join(floats, held)`` puts the tree together again.
    """
    leaves, treedef = jax.tree.flatten(params)
    kinds = tuple(_kind(leaf) for leaf in leaves)
    floats = [jnp.asarray(v) for v, kind in zip(leaves, kinds, strict=True) if kind == "float"]
    held = [jnp.asarray(v) for v, kind in zip(leaves, kinds, strict=True) if kind == "held"]
    static = tuple(v for v, kind in zip(leaves, kinds, strict=True) if kind == "static")
    return floats, held, Layout(treedef, kinds, static)


def path_name(path: Any) -> str:
    """How messages name a leaf: ``['hidden']['weight']``, or ``(the tree itself)`` at the root."""
    return jax.tree_util.keystr(path) or "(the tree itself)"


def _kind(leaf: Any) -> str:
    if isinstance(leaf, float):
        return "float"
    if not isinstance(leaf, (jax.Array, np.ndarray, np.generic)):
        return "static"
    return "float" if jnp.issubdtype(leaf.dtype, jnp.inexact) else "held"
