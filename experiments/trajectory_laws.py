"""Trajectories of infinite HMC compared: steps, kicks, angles and jitter, at one width.

    python -m experiments.trajectory_laws --width 2048

Every setting starts from the same stationary draws, found by a default run. A trajectory is
``steps`` rotations by ``angle / steps`` with kicks between, each ``kick`` times the Hamiltonian
one; its step size is jittered by a factor uniform in ``1 +- jitter``. Prints effective samples
per gradient, the best last. Found for diabetes at width 2048: no law is far from the default.
"""

import argparse
import math
from typing import Any

import bnnsample
from bnnsample.likelihoods import Gaussian
from experiments._data import Data, load
from experiments._measure import Bench, Measurement
from experiments._options import positive, whole

QUARTER_TURN = math.pi / 2
# (steps, kick): plain splitting, and one step with a gentler kick.
PLANS = ((1, 0.0), (1, 0.125), (1, 0.25), (2, 1.0), (3, 1.0), (4, 1.0))
JITTERS = (0.0, 0.1, 0.3)
ANGLES = (0.8, 0.9, 1.0, 1.1)


def main(arguments: list[str] | None = None) -> list[Measurement]:
    """Run the comparison from the command line; returns the measurements, the best last."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", choices=("diabetes", "digits"), default="diabetes")
    parser.add_argument("--width", type=whole(1), default=2048)
    parser.add_argument("--n-train", type=whole(1), default=64)
    parser.add_argument("--noise-scale", type=positive, default=0.3, help="standard deviation")
    parser.add_argument("--gradients", type=whole(10), default=3000, help="per chain and setting")
    parser.add_argument("--seed", type=whole(0), default=0)
    options = parser.parse_args(arguments)
    data = load(options.data, options.n_train, options.seed)
    measured = compare(data, options.width, options.noise_scale, options.gradients, options.seed)
    measured.sort(key=lambda m: min(m.function_per_gradient, m.weights_per_gradient))
    print(f"\n{options.data}, width {options.width}: the best last")
    for measurement in measured:
        print(line(measurement))
    return measured


def settings() -> list[dict[str, Any]]:
    """Every plan at a quarter turn with every jitter, and every plan's angles unjittered."""
    laws = [(1.0, jitter) for jitter in JITTERS] + [(a, 0.0) for a in ANGLES if a != 1.0]
    return [
        {
            "step_size": min(angle * QUARTER_TURN / steps, QUARTER_TURN),
            "num_integration_steps": steps,
            "kick_scale": kick,
            "jitter": jitter,
        }
        for steps, kick in PLANS
        for angle, jitter in laws
        if not (steps == 1 and angle > 1)
    ]


def compare(
    data: Data, width: int, noise_scale: float, gradients: int, seed: int
) -> list[Measurement]:
    """Every setting measured from the last draws of one default run."""
    model = bnnsample.models.mlp(1, "gelu")
    found = bnnsample.run(
        model,
        (data.x, data.y),
        width=width,
        likelihood=Gaussian(noise_scale),
        num_samples=20,
        seed=seed,
        progress=False,
    )
    last = int(found.record.kept.draws[-1])
    starts = [found.parameters(c, last) for c in range(found.settings["num_chains"])]
    bench = Bench(model, data, width, Gaussian(noise_scale), "collapsed", "infinite_hmc")
    states = bench.start(starts)
    measured = []
    for setting in settings():
        draws = gradients // setting["num_integration_steps"]
        measured.append(bench.measure(setting, states, draws, seed + 1))
        print(line(measured[-1]), flush=True)
    return measured


def line(m: Measurement) -> str:
    """One printed line."""
    s = m.setting
    angle = s["num_integration_steps"] * s["step_size"] / QUARTER_TURN
    return (
        f"steps {s['num_integration_steps']}  kick {s['kick_scale']:.3f}  "
        f"angle {angle:.2f} of a quarter turn  jitter {s['jitter']:.1f}  "
        f"acceptance {m.acceptance:.3f}  ESS/gradient {m.function_per_gradient:.3f} (function) "
        f"{m.weights_per_gradient:.3f} (weights)"
    )


if __name__ == "__main__":
    main()
