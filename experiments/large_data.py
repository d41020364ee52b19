"""How many points are practical: seconds, memory and rounding of one gradient.

The gradient of ``bnnsample.run`` in its default coordinates: collapsed for Gaussian noise, through
a surrogate for labels. Friedman's regression (scikit-learn's ``make_friedman1``), whose median is
the label's threshold. Times are medians of repeated gradients; memory is XLA's own count of
temporary arrays; errors are against float64 at the same parameters. ``mixed`` has the network in
float32 and the readout's algebra in float64, as ``precision="mixed"`` of ``run``.

    python -m experiments.large_data --n 3000 10000 --width 512 2048
    python -m experiments.large_data --n 3000 --width 4096    # the algebra of n x n
"""

import argparse
import csv
import dataclasses
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from sklearn.datasets import make_friedman1

from bnnsample import models
from bnnsample._precision import DTYPES
from bnnsample.chains._mapping import quiet_blas
from bnnsample.coordinates import Collapsed, Posterior, SurrogateRepriorised
from bnnsample.likelihoods import Bernoulli, Gaussian
from experiments._options import folder, positive, whole

COLUMNS = ("likelihood", "n", "width", "precision", "seconds", "mebibytes", "gradient_error")


def main(arguments: list[str] | None = None) -> list[dict]:
    """Print a line for every setting, and write them to ``large_data.csv``; returns the rows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=whole(2), nargs="+", default=[1000, 3000, 10_000])
    parser.add_argument("--width", type=whole(1), nargs="+", default=[512, 2048])
    parser.add_argument("--noise", type=positive, default=0.1)
    parser.add_argument("--repeats", type=whole(1), default=3)
    parser.add_argument("--out", type=folder, default=None)
    options = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    rows = []
    print(f"{'':<10}{'n':>7}{'width':>7}  {'precision':<10}{'s':>9}{'MiB':>8}{'error':>10}")
    for likelihood in ("gaussian", "bernoulli"):
        for n in options.n:
            for width in options.width:
                for row in measured(likelihood, n, width, options.noise, options.repeats):
                    rows.append(row)
                    print(
                        f"{likelihood:<10}{n:>7}{width:>7}  {row['precision']:<10}"
                        f"{row['seconds']:>9.3g}{row['mebibytes']:>8.0f}"
                        f"{row['gradient_error']:>10.1e}",
                        flush=True,
                    )
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        with open(options.out / "large_data.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    return rows


def measured(likelihood: str, n: int, width: int, noise: float, repeats: int) -> list[dict]:
    """Rows of one setting, float64 first, whose gradient the others are held against."""
    rows, exact, surrogate = [], None, None
    for precision, (dtype, network_dtype) in DTYPES.items():
        posterior = dataclasses.replace(
            make_posterior(likelihood, n, width, noise, dtype), network_dtype=network_dtype
        )
        position = jax.tree.map(
            lambda a, t=dtype: a.astype(t),
            make_posterior(likelihood, n, width, noise, jnp.float64).prior_draw(jax.random.key(1)),
        )
        if isinstance(posterior, SurrogateRepriorised):
            if surrogate is None:
                stacked = jax.tree.map(lambda a: a[None], position)
                surrogate = jax.jit(lambda p, q: p.fitted(q))(posterior, stacked).surrogate
            cast = jax.tree.map(lambda a, t=dtype: a.astype(t), surrogate)
            posterior = dataclasses.replace(posterior, surrogate=cast)
        gradient, seconds, size = timed_gradient(posterior, position, repeats)
        exact = gradient if exact is None else exact
        error = np.linalg.norm(gradient - exact) / np.linalg.norm(exact)
        values = (likelihood, n, width, precision, seconds, size, error)
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def make_posterior(likelihood: str, n: int, width: int, noise: float, dtype) -> Posterior:
    """Two hidden layers of ReLU on Friedman's data, standardised."""
    x, y = make_friedman1(n, noise=1.0, random_state=0)
    x, y = (x - x.mean(0)) / x.std(0), ((y - y.mean()) / y.std())[:, None]
    model = models.mlp(2, "relu")
    if likelihood == "gaussian":
        return Collapsed(
            model, Gaussian(noise), width, jnp.asarray(x, dtype), jnp.asarray(y, dtype)
        )
    family, labels, _ = Bernoulli().prepared(y[:, 0] > np.median(y), n)
    return SurrogateRepriorised(
        model, family, width, jnp.asarray(x, dtype), jnp.asarray(labels, dtype)
    )


def timed_gradient(posterior: Posterior, position, repeats: int) -> tuple[np.ndarray, float, float]:
    """The gradient as one float64 vector, median seconds, and MiB of temporary arrays."""
    compiled = jax.jit(lambda p, q: jax.grad(p.potential)(q)).lower(posterior, position).compile()
    size = compiled.memory_analysis().temp_size_in_bytes / 2**20
    times = []
    with quiet_blas(jax.default_backend()):
        for _ in range(repeats):
            start = time.perf_counter()
            gradient = jax.block_until_ready(compiled(posterior, position))
            times.append(time.perf_counter() - start)
    flat = ravel_pytree(jax.tree.map(lambda a: a.astype(jnp.float64), gradient))[0]
    return np.asarray(flat), float(np.median(times)), size


if __name__ == "__main__":
    main()
