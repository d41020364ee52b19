"""Programs timed in turn, so that their ratio holds on a machine whose speed drifts."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from bnnsample.chains._mapping import quiet_blas

Programs = Mapping[str, tuple[Callable[..., Any], tuple[Any, ...]]]


def seconds_in_turn(programs: Programs, rounds: int = 30, repeats: int = 1) -> dict[str, Any]:
    """Seconds ``[rounds]`` of one call of each ``{name: (function, arguments)}``, compiled before.

    Every round runs all of them, each ``repeats`` times.
    """
    compiled = {
        name: (jax.jit(function).lower(*arguments).compile(), arguments)
        for name, (function, arguments) in programs.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    with quiet_blas(jax.default_backend()):
        for _ in range(rounds + 1):
            for name, (program, arguments) in compiled.items():
                start = time.perf_counter()
                for _ in range(repeats):
                    result = program(*arguments)
                jax.block_until_ready(result)
                seconds[name].append((time.perf_counter() - start) / repeats)
    # The first round warms up.
    return {name: np.array(times[1:]) for name, times in seconds.items()}


def milliseconds_in_turn(programs: Programs, rounds: int = 30) -> dict[str, float]:
    """The median milliseconds of each."""
    return {
        name: float(1000 * np.median(seconds))
        for name, seconds in seconds_in_turn(programs, rounds).items()
    }
