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
    below, steps, halvings = fewest - 1, fewest, 0
    above, best = None, None
    while True:
        result = run(num_warmup=steps // 3, num_samples=steps - steps // 3)
        taken = gradients_of(result)
        if taken < budget:
            below = steps
        else:
            above = steps
            if best is None or taken < gradients_of(best):
                best = result
        if best is None:
            steps = math.ceil(steps * min(1.1 * budget / taken, MOST_GROWTH))
            continue
        close = gradients_of(best) <= MUCH * budget
        if close or above - below <= 1 or halvings == HALVINGS:
            return best
        steps, halvings = (below + above) // 2, halvings + 1


def gradients_of(result: Any) -> int:
    """All gradients that a run took."""
    return result.num_gradients + result.warmup_gradients
