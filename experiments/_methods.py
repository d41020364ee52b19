"""The baselines of the experiments, each at the best of its grid."""

import math
import operator
from typing import Any, NamedTuple

from experiments._measure import Bench, Measurement

ANGLES = (0.5, 1.0, math.pi / 2)
DAMPINGS = (0.5, 1.0, 2.0)


class Method(NamedTuple):
    """Coordinates and kernel, and the kernel's settings to try around a reference step size.

    ``factors`` multiply the step size accepted with probability 0.8.
    """

    name: str
    coordinates: str
    kernel: str
    thin: int
    factors: tuple[float, ...]
    others: dict[str, tuple[float, ...]]

    def settings(self, step_size: float) -> list[dict[str, Any]]:
        """The grid: every step size factor with every value of the other option."""
        result = [{"step_size": factor * step_size} for factor in self.factors]
        for option, values in self.others.items():
            result = [{**setting, option: value} for setting in result for value in values]
        return result


LANGEVIN = Method(
    "repriorised + Langevin", "repriorised", "ghmc", 4, (0.5, 1.0, 1.5, 2.0), {"damping": DAMPINGS}
)
BASELINES = (
    Method(
        "standard + HMC", "standard", "hmc", 1, (0.5, 0.7, 1.0, 1.4), {"trajectory_angle": ANGLES}
    ),
    LANGEVIN,
)
# The paper's own sampler where it is not repriorised.
STANDARD_LANGEVIN = LANGEVIN._replace(name="standard + Langevin", coordinates="standard")


def best_of_grid(
    bench: Bench, settings: list[dict[str, Any]], states: Any, gradients: int, seed: int
) -> dict[str, Measurement]:
    """The best setting for the function and for the weights, each measured again.

    Every setting is screened with an eighth of the gradients; the winner of each quantity is
    measured with fresh noise and all of them, so that the best is not merely the luckiest. Where
    the other quantity's winner turns out to be better, it is the best.
    """
    screened = []
    for setting in settings:
        steps = gradients_per_draw(bench, setting)
        draws = max(12, int(gradients / 8 / steps))
        screened.append(bench.measure(setting, states, draws, seed))
    rates = {q: operator.attrgetter(f"{q}_per_gradient") for q in ("function", "weights")}
    measured: list[Measurement] = []
    for rate in rates.values():
        setting = max(screened, key=rate).setting
        if setting not in [m.setting for m in measured]:
            draws = max(50, int(gradients / gradients_per_draw(bench, setting)))
            measured.append(bench.measure(setting, states, draws, seed + 1))
    return {quantity: max(measured, key=rate) for quantity, rate in rates.items()}


def reference_step_size(bench: Bench, states: Any, seed: int) -> float:
    """A step size accepted with probability about 0.8, by halving and bisection."""
    short = {"trajectory_angle": 0.5} if "trajectory_angle" in bench.defaults else {}
    accepted, rejected = 0.0, 1.0
    step_size = rejected
    for _ in range(12):
        step_size = math.sqrt(accepted * rejected) if accepted else rejected / 2
        acceptance = bench.measure({"step_size": step_size, **short}, states, 12, seed).acceptance
        if abs(acceptance - 0.8) < 0.07:
            break
        if acceptance > 0.8:
            accepted = step_size
        else:
            rejected = step_size
    return step_size


def gradients_per_draw(bench: Bench, setting: dict[str, Any]) -> float:
    """Gradients of one recorded draw."""
    if "trajectory_angle" in setting:
        return max(1.0, setting["trajectory_angle"] / setting["step_size"])
    return float(bench.thin)
