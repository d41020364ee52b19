"""What collapsing the readout costs: one collapsed gradient against one standard gradient.

Both gradients are compiled for the same network and data and timed in turn in one process, so
that the ratio holds on a machine whose speed drifts; the operations are counted on the programs.

    python -m experiments.gradient_cost --width 2048 --depth 2 --n-train 64
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np

import bnnsample
from bnnsample.coordinates import COORDINATES
from experiments._data import load
from experiments._gradient_time import seconds_in_turn
from ntk import count_operations


def main(arguments: list[str] | None = None) -> float:
    """Print the median ratio of times and the operations; returns the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--n-train", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args(arguments)
    data = load("diabetes", options.n_train, seed=0)
    model = bnnsample.models.mlp(options.depth)
    gradients, operations = {}, {}
    for name in ("standard", "collapsed"):
        posterior = COORDINATES[name](
            model, bnnsample.likelihoods.Gaussian(0.3), options.width,
            jnp.asarray(data.x), jnp.asarray(data.y),
        )  # fmt: skip
        position = posterior.prior_draw(jax.random.key(0))
        gradients[name] = (jax.value_and_grad(posterior.potential), (position,))
        operations[name] = count_operations(gradients[name][0], position)
    seconds = seconds_in_turn(gradients, options.rounds, repeats=5)
    ratios = seconds["collapsed"] / seconds["standard"]
    low, median, high = np.percentile(ratios, [25, 50, 75])
    n, p = options.n_train, options.width
    extra = operations["collapsed"] - operations["standard"]
    print(f"width {p}, depth {options.depth}, n {n}, {jax.default_backend()}")
    print(f"time, collapsed / standard: {median:.3f} (quartiles {low:.3f} to {high:.3f})")
    print(f"operations: standard {operations['standard']:.4g}, collapsed adds {extra:.4g}, "
          f"{extra / (4 * n**2 * p + 3 * n**3):.3f} times 4 n^2 p + 3 n^3")  # fmt: skip
    return float(median)


if __name__ == "__main__":
    main()
