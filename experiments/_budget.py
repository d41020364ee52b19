"""Runs of no fewer gradients than another took."""

import math
from collections.abc import Callable
from typing import Any

import bnnsample

PILOT_WARMUP, PILOT_DRAWS = 200, 5


def run_of_budget(run: Callable[..., bnnsample.Result], budget: int, **pilot: int) -> Any:
    """``run(num_warmup=, num_samples=)`` of no fewer than ``budget`` gradients, warm-up included.

    A third of its steps is warm-up. A short run says how many gradients a step takes; while fewer
    than asked for were taken, it is made again with more steps.
    """
    length = {"num_warmup": PILOT_WARMUP, "num_samples": PILOT_DRAWS, **pilot}
    found = run(**length)
    steps = max(30, math.ceil(budget * length["num_samples"] / found.num_gradients))
    while True:
        result = run(num_warmup=steps // 3, num_samples=steps - steps // 3)
        if gradients_of(result) >= budget:
            return result
        steps = math.ceil(1.1 * steps * budget / gradients_of(result))


def gradients_of(result: Any) -> int:
    """All gradients that a run took."""
    return result.num_gradients + result.warmup_gradients
