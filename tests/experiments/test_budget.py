"""Runs of a budget of gradients: enough of them, and little more."""

from types import SimpleNamespace

import pytest

from experiments._budget import FEWEST_STEPS, gradients_of, run_of_budget


def taking(gradients):
    """A run that takes ``gradients(steps)``, and the list of steps that it was asked for."""
    asked = []

    def run(num_warmup, num_samples):
        steps = num_warmup + num_samples
        assert num_warmup == steps // 3
        asked.append(steps)
        taken = gradients(steps)
        return SimpleNamespace(num_gradients=taken - steps // 3, warmup_gradients=steps // 3)

    return run, asked


@pytest.mark.parametrize(
    ("gradients", "budget", "steps", "taken"),
    [
        # Seven gradients a step at first, five after a longer warm-up.
        (lambda s: (7 if s == FEWEST_STEPS else 5) * s, 1001, [30, 158, 221], 1105),
        (lambda s: s * s // 30, 100, [30, 111, 70, 50, 60], 120),
        # Longer trajectories from 40 steps on: the fewest gradients that have the budget.
        (lambda s: 20 * s if s >= 40 else s, 45, [30, 50, 40, 35, 37, 38], 800),
        (lambda s: 20 * s if s >= 31 else s, 45, [30, 50, 40, 35, 32, 31], 620),
        (lambda s: {30: 30, 50: 200, 40: 60}.get(s, 300), 45, [30, 50, 40, 35, 32, 31], 60),
        (lambda s: 100 * s, 45, [30], 3000),
    ],
    ids=["grows", "halves", "jumps", "jumps at once", "not monotone", "fewest"],
)
def test_budgets_are_met_with_little_more(gradients, budget, steps, taken):
    run, asked = taking(gradients)
    assert gradients_of(run_of_budget(run, budget)) == taken
    assert asked == steps


def test_fewest_steps():
    run, asked = taking(lambda s: 10 * s)
    run_of_budget(run, 20, fewest=6)
    assert asked == [6]
