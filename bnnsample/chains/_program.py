"""Ahead-of-time compilation, timed, and run in chunks of a length set at run time."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from bnnsample._processes import agreed
from bnnsample.chains._devices import Devices, placed

TARGET_CHUNK_SECONDS = 0.5


class Program:
    """A function compiled once for the shapes of its first call, and where its arguments are then.

    Its time is the first process's, so that all make the same chunks of it.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        devices: Devices | None = None,
        donate: tuple[int, ...] = (),
    ):
        self._spread_over = None if devices is None or devices.is_one else devices

        def program(*args):
            return fn(*args) if devices is None else fn(*devices.rows_spread(args))

        # Arguments are placed one by one, so that none may be dropped.
        keeps = self._spread_over is not None
        self._jitted = jax.jit(program, donate_argnums=donate, keep_unused=keeps)
        self._compiled: Any = None
        self.compile_seconds = 0.0
        self.run_seconds = 0.0

    def as_text(self) -> str:
        """The compiled program, once it has run."""
        return self._compiled.as_text()

    def __call__(self, *args: Any) -> Any:
        if self._compiled is None:
            start = time.perf_counter()
            self._compiled = self._jitted.lower(*args).compile()
            self.compile_seconds = time.perf_counter() - start
        if self._spread_over is not None:
            args = placed(args, self._compiled.input_shardings[0])
        start = time.perf_counter()
        result = jax.block_until_ready(self._compiled(*args))
        self.run_seconds += agreed(time.perf_counter() - start)
        return result


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
