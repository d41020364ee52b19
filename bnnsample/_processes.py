"""Several processes of JAX's distributed runtime that make one run together.

All of them call the same functions in the same order; the first writes and shows what there is.
"""

import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

Pytree = Any


def is_first() -> bool:
    """Whether this process writes and shows; a process by itself does."""
    return jax.process_index() == 0


def are_several() -> bool:
    """Whether there are others."""
    return jax.process_count() > 1


def to_host(tree: Pytree) -> Pytree:
    """Whole arrays in every process, on the host."""
    return jax.tree.map(_leaf_to_host, tree)


def agreed(value: float) -> float:
    """The first process's number."""
    if not are_several():
        return value
    return float(multihost_utils.broadcast_one_to_all(np.float64(value)))


def from_first(fn: Callable[[], Any]) -> Any:
    """``fn()`` of the first process, a JSON value, everywhere.

    What it raises there is raised by the others as a ``RuntimeError`` that says so.
    """
    if not are_several():
        return fn()
    error, answer = None, {}
    if is_first():
        try:
            answer = {"value": fn()}
        except Exception as raised:
            error, answer = raised, {"error": f"{type(raised).__name__}: {raised}"}
    answer = _broadcast_json(answer)
    if error is not None:
        raise error
    if "error" in answer:
        raise RuntimeError(f"process 0 raised {answer['error']}")
    return answer["value"]


def arrays_from_first(fn: Callable[[], Pytree], shapes: Pytree) -> Pytree:
    """Arrays that ``fn`` returns in the first process, everywhere; ``shapes`` are theirs."""
    if not are_several():
        return fn()
    found = fn() if is_first() else jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), shapes)
    return multihost_utils.broadcast_one_to_all(jax.tree.map(np.asarray, found))


def all_see(is_seen: bool) -> bool:
    """Whether it is so in every process."""
    if not are_several():
        return is_seen
    return bool(np.all(multihost_utils.process_allgather(np.asarray(is_seen))))


def _leaf_to_host(leaf: Any) -> Any:
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))
    return np.asarray(leaf)


def _broadcast_json(value: Any) -> Any:
    """Length first, for arrays have one shape everywhere."""
    text = np.frombuffer(json.dumps(value).encode(), np.uint8)
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    padded = np.zeros(length, np.uint8)
    if is_first():
        padded[:] = text
    return json.loads(np.asarray(multihost_utils.broadcast_one_to_all(padded)).tobytes())
