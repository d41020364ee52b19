"""Ahead-of-time compilation, timed, and run in chunks of a length set at run time."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from bnnsample._processes import agreed
from bnnsample.chains._devices import Devices, placed
from bnnsample.chains._executables import compiled

TARGET_CHUNK_SECONDS = 0.5


class Program:
    """A function compiled once for the shapes of its first call, and where its arguments are then.

    Where it is spread over devices its time is the first process's, so that all make the same
    chunks of it.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        devices: Devices | None = None,
        donate: tuple[int, ...] = (),
        options: Mapping[str, Any] | None = None,
    ):
        self._spread_over = None if devices is None or devices.is_one else devices

        self._fn = fn if devices is None else lambda *args: fn(*devices.rows_spread(args))
        self._donated, self._options = donate, options
        self._compiled: Any = None
        self._result_structure: Any = None
        self.compile_seconds = 0.0
        self.run_seconds = 0.0

    def as_text(self) -> str:
        """The compiled program, once it has run."""
        return self._compiled.as_text()

    def __call__(self, *args: Any) -> Any:
        leaves, structure = jax.tree.flatten(args)
        if self._compiled is None:
            start = time.perf_counter()
            self._compile(args, leaves, structure)
            self.compile_seconds = time.perf_counter() - start
        if self._spread_over is not None:
            leaves = placed(leaves, list(self._compiled.input_shardings[0]))
        start = time.perf_counter()
        result = jax.block_until_ready(self._compiled(*leaves))
        seconds = time.perf_counter() - start
        self.run_seconds += seconds if self._spread_over is None else agreed(seconds)
        return jax.tree.unflatten(self._result_structure, result)

    def _compile(self, args: tuple[Any, ...], leaves: list[Any], structure: Any) -> None:
        """As a program of arrays alone, which another model's may be the same as."""

        def program(*leaves):
            result = self._fn(*jax.tree.unflatten(structure, leaves))
            found, self._result_structure = jax.tree.flatten(result)
            return found

        owners = [i for i, arg in enumerate(args) for _ in jax.tree.leaves(arg)]
        donated = tuple(leaf for leaf, owner in enumerate(owners) if owner in self._donated)
        lowered = jax.jit(program, donate_argnums=donated, keep_unused=True).lower(*leaves)
        placement = (
            self._spread_over,
            tuple(leaf.sharding if isinstance(leaf, jax.Array) else None for leaf in leaves),
        )
        self._compiled = compiled(lowered, placement, self._options)


def chunk_lengths(total: int, capacity: int, program: Program) -> Iterator[tuple[int, int]]:
    """``(start, length)`` of chunks that take about half a second each, ``capacity`` at most.

    Lengths follow the measured rate, so that progress and Ctrl-C are prompt for slow draws and
    host calls are rare for fast ones; the draws do not depend on them.
    """
    start, length = 0, 1
    while start < total:
        length = max(1, min(length, capacity, total - start))
        before = program.run_seconds
        yield start, length
        start += length
        seconds = max((program.run_seconds - before) / length, 1e-9)
        length = int(np.clip(TARGET_CHUNK_SECONDS / seconds, 1, 8 * length))
