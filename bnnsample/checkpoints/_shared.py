"""The first process's checkpoints, for all processes of a run."""

from typing import Any

import jax

from bnnsample._processes import agreed, arrays_from_first, from_first, to_host
from bnnsample.checkpoints._saver import Checkpoints, Notes, like, without_key

Pytree = Any


class SharedCheckpoints:
    """What the first process decides, writes and reads; the others send it their chains.

    Args:
        own: the first process's checkpoints; None in the others.
    """

    def __init__(self, own: Checkpoints | None):
        self._own = own

    def is_due(self) -> bool:
        return bool(agreed(self._own is not None and self._own.is_due()))

    def save(self, phase: str, notes: Notes, state: Pytree) -> None:
        state = to_host(jax.tree.map(without_key, state))
        if self._own is not None:
            self._own.save(phase, notes, state)

    def notes(self, phase: str) -> Notes | None:
        return from_first(lambda: self._first().notes(phase))

    def restore(self, template: Pytree) -> Pytree:
        plain = jax.eval_shape(lambda tree: jax.tree.map(without_key, tree), template)
        found = arrays_from_first(lambda: self._first().restore(plain), plain)
        return jax.tree.map(like, found, template)

    def _first(self) -> Checkpoints:
        assert self._own is not None
        return self._own

    def close(self) -> None:
        if self._own is not None:
            self._own.close()
