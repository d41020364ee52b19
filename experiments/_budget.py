"""Runs of as many gradients as another took."""

import math
from collections.abc import Callable
from typing import Any

import bnnsample

FEWEST_STEPS, MOST_GROWTH = 30, 8.0
# More gradients than asked for, at which fewer steps are tried, and how often.
MUCH, HALVINGS = 1.3, 4


def run_of_budget(
    run: Callable[..., bnnsample.Result], budget: int, fewest: int = FEWEST_STEPS
) -> Any:
    """``run(num_warmup=, num_samples=)`` of ``budget`` gradients or little more, warm-up included.

    A third of its steps is warm-up. The ``fewest`` steps say how many gradients one takes; while
    fewer than asked for were taken, the run is made again with more, at most eight times as many: a
    short warm-up's steps are not yet what they will be. Where that takes over 1.3 times the budget,
    up to four runs halve the range between too few steps and too many, and the one of the fewest
    gradients that has the budget is returned.
    """

    def of(steps: int) -> bnnsample.Result:
        return run(num_warmup=steps // 3, num_samples=steps - steps // 3)

    below, steps = fewest - 1, fewest
    best = of(steps)
    while gradients_of(best) < budget:
        below, growth = steps, min(1.1 * budget / gradients_of(best), MOST_GROWTH)
        steps = math.ceil(steps * growth)
        best = of(steps)
    above = steps
    for _ in range(HALVINGS):
        if gradients_of(best) <= MUCH * budget or above - below <= 1:
            break
        steps = (below + above) // 2
        result = of(steps)
        if gradients_of(result) < budget:
            below = steps
        else:
            above, best = steps, min(best, result, key=gradients_of)
    return best


def gradients_of(result: Any) -> int:
    """All gradients that a run took."""
    return result.num_gradients + result.warmup_gradients
