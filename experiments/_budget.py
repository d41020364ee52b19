"""Runs of no fewer gradients than another took."""

import math
from collections.abc import Callable
from typing import Any

import bnnsample

FEWEST_STEPS, MOST_GROWTH = 30, 8.0


def run_of_budget(
    run: Callable[..., bnnsample.Result], budget: int, fewest: int = FEWEST_STEPS
) -> Any:
    """``run(num_warmup=, num_samples=)`` of no fewer than ``budget`` gradients, warm-up included.

    A third of its steps is warm-up. The ``fewest`` steps say how many gradients one takes; while
    fewer than asked for were taken, the run is made again with more, at most eight times as many: a
    short warm-up's steps are not yet what they will be.
    """
    steps = fewest
    while True:
        result = run(num_warmup=steps // 3, num_samples=steps - steps // 3)
        taken = gradients_of(result)
        if taken >= budget:
            return result
        steps = math.ceil(steps * min(1.1 * budget / taken, MOST_GROWTH))


def gradients_of(result: Any) -> int:
    """All gradients that a run took."""
    return result.num_gradients + result.warmup_gradients
