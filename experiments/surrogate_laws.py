"""Gaussian surrogates of a softmax compared, at one width.

    python -m experiments.surrogate_laws --width 512 --readout-scale 4

Digits, n = 128, ten classes, one hidden GELU layer, ``kernel="alternating"`` as ``bnnsample.run``
calls it by default. The posterior is the same under every surrogate, and what they differ in is how
fast chains move in it: effective samples per gradient of class probabilities and hidden weights.

- fitted: the library's own, a variational Gaussian of one precision per point, refitted to the
  chains in their warm-up;
- Laplace: the mode under the kernel of the network's prior, and the curvature there, averaged over
  the outputs of a point;
- Dirichlet: log-normal matching of the labels alone (Milios et al. 2018, arXiv:1805.10915, eq. 6 to
  8), one precision per point, for several concentrations ``alpha``.

Prints a line for each. What was found is in ``experiments/README.md``.
"""

import argparse
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import bnnsample
from bnnsample._mean_kernel import mean_kernel
from bnnsample.likelihoods import from_log_prob
from bnnsample.surrogates import KernelPrior
from experiments._options import positive, whole
from experiments.likelihood_speed import Row, of_result, problem

NUM_CLASSES = 10
ALPHAS = (0.01, 0.1, 1.0)
NUM_NETWORKS, NEWTON_STEPS, DAMPING = 64, 100, 0.4


def main(arguments: list[str] | None = None) -> dict[str, Row]:
    """Run the comparison from the command line; returns the measurements by surrogate."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--width", type=whole(1), default=512)
    parser.add_argument("--readout-scale", type=positive, default=1.0, help="standard deviation")
    parser.add_argument("--n-train", type=whole(2), default=128)
    parser.add_argument("--draws", type=whole(20), default=800, help="per chain")
    parser.add_argument("--warmup", type=whole(20), default=500, help="per chain")
    parser.add_argument("--seed", type=whole(0), default=0)
    options = parser.parse_args(arguments)
    data, softmax = problem("digits", options)
    model = bnnsample.models.mlp(1, "gelu", readout_weight_std=options.readout_scale)
    measured = {}
    for name, surrogate in surrogates(model, data.x, data.y, options.width).items():
        result = bnnsample.run(
            model,
            (data.x, data.y),
            width=options.width,
            likelihood=from_log_prob(
                lambda y, f: softmax.log_prob(y, f, {}),
                NUM_CLASSES,
                mean=lambda f: softmax.mean(f, {}),
                surrogate=surrogate,
            ),
            x_eval=data.x_eval,
            num_samples=options.draws,
            num_warmup=options.warmup,
            seed=options.seed,
            progress=False,
        )
        measured[name] = of_result(result)
        print(line(name, measured[name]), flush=True)
    return measured


def surrogates(model: Any, x: np.ndarray, y: np.ndarray, width: int) -> dict[str, Any]:
    """Functions of the targets by name; None: the library fits its own."""
    matched = {
        f"Dirichlet, alpha {alpha:g}": lambda y, alpha=alpha: dirichlet(one_hot(y), alpha)
        for alpha in ALPHAS
    }
    kernel = prior_kernel(model, jnp.asarray(x), width)
    return {"fitted": None, "Laplace": lambda y: laplace(one_hot(y), kernel), **matched}


def one_hot(y: Array) -> Array:
    """Codes ``[n, 1]`` as ``[n, d]``."""
    return jax.nn.one_hot(y[:, 0].astype(int), NUM_CLASSES, dtype=y.dtype)


def prior_kernel(model: Any, x: Array, width: int) -> Array:
    """``Psi Psi^T``, the mean over prior draws."""

    def features(key: Array) -> Array:
        return model.features(model.init(key, x, width)["hidden"], x)

    return mean_kernel(features, jax.random.split(jax.random.key(1), NUM_NETWORKS))


def laplace(labels: Array, kernel: Array) -> tuple[Array, Array]:
    """Targets and scales of the quadratic at the mode, one curvature per point.

    Each step solves the regression that the last one's quadratic is; where nothing changes,
    ``f = K (labels - softmax(f))``, the mode, whatever the curvatures.
    """
    prior = KernelPrior(kernel)

    def quadratic(f):
        p = jax.nn.softmax(f)
        curvature = jnp.maximum(jnp.mean(p * (1 - p), axis=1), 1e-4)
        return curvature, f + (labels - p) / curvature[:, None]

    def step(_, f):
        curvature, target = quadratic(f)
        mean, _ = prior.posterior(curvature, curvature[:, None] * target)
        return f + DAMPING * (mean - f)

    f = jax.lax.fori_loop(0, NEWTON_STEPS, step, jnp.zeros_like(labels))
    curvature, target = quadratic(f)
    return target, curvature**-0.5


def dirichlet(labels: Array, alpha: float) -> tuple[Array, Array]:
    """Log-normals of the moments of gammas with concentrations ``labels + alpha``.

    Their variances are averaged over the outputs of a point as precisions.
    """
    concentration = labels + alpha
    variance = jnp.log1p(1 / concentration)
    target = jnp.log(concentration) - variance / 2
    return target, jnp.mean(1 / variance, axis=1) ** -0.5


def line(name: str, row: Row) -> str:
    """One printed line."""
    return (
        f"{name:22s} ESS/gradient {row['ess_per_gradient_function']:.4f} (probabilities) "
        f"{row['ess_per_gradient_weights']:.4f} (weights)  acceptance {row['acceptance']:.2f}  "
        f"R-hat {row['r_hat_function']:.3f}  {row['num_gradients']:,} gradients, "
        f"{row['seconds']:.0f} s"
    )


if __name__ == "__main__":
    main()
