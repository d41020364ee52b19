"""Effective samples per gradient of labels and of unknown noise, against width.

Softmax on digits (n = 128, ten classes), a Bernoulli likelihood on breast cancer (n = 128) and
regression with noise of unknown scale on diabetes (n = 64), one hidden GELU layer; labels at
readout scales 1 and 4. Ours is ``bnnsample.run`` as it is called by default: for labels the readout
through a Gaussian surrogate and ``kernel="alternating"``, for regression collapsed coordinates and
infinite HMC. Beside it HMC in standard coordinates at the best of a grid of step sizes and of
trajectory angles 0.5, 1 and pi/2, for each quantity on its own, started from draws of ours, so that
it is not charged for its burn-in; infinite HMC in standard coordinates, which says what the kernel
alone is worth; and, for regression, ours with the noise held at its posterior mean, which says
what not knowing it costs. Counted are class probabilities (or E[f | h]) at the
evaluation points and 20 hidden weights, as in ``width_scaling``.

We found, of the function at widths 128, 512 and 2048: softmax 3.3, 5.6 and 9.4 times those of HMC
at readout scale 1, and 2.5, 3.1 and 4.3 times at 4; Bernoulli 3.0, 4.3 and 11, and 2.2, 5.4 and
9.7; learned noise 6.6, 12 and 15.

    python -m experiments.likelihood_speed --quick
    python -m experiments.likelihood_speed --data digits --widths 128 512 2048

Methods already in the CSV of ``--out`` are not measured again. Writes a CSV, a PNG and a JSON of
settings and versions.
"""

import argparse
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits

import bnnsample
from bnnsample.likelihoods import Bernoulli, Categorical, Gaussian, Likelihood
from bnnsample.results import effective_sample_size, r_hat
from experiments import _tasks
from experiments._data import Data, load
from experiments._likelihood_table import (
    CELL,
    COLUMNS,
    HMC,
    INFINITE,
    KNOWN,
    OURS,
    WHOLE,
    Row,
    line,
    plot,
    ratios,
)
from experiments._measure import Bench
from experiments._methods import BASELINES, best_of_grid, reference_step_size
from experiments._options import folder, whole
from experiments._sweep import Sweep

NUM_HELD_OUT = 32
CASES = {"digits": (1.0, 4.0), "breast_cancer": (1.0, 4.0), "diabetes": (1.0,)}


def main(arguments: list[str] | None = None) -> list[Row]:
    """Run the experiment from the command line; returns the table's rows."""
    options = parse(arguments)
    sweep = sweep_of(options)
    for name, scale, width in sweep.own():
        data, likelihood = problem(name, options)
        done = set(sweep.done((name, scale, width)))
        for row in measure(data, likelihood, scale, width, options, done):
            sweep.keep(row, line(row))
    if sweep.is_whole:
        sweep.conclude(ratios(sweep.rows), plot)
    return sweep.rows


def sweep_of(options: argparse.Namespace) -> Sweep:
    """What is kept in ``options.out``."""
    return Sweep(
        "likelihood_speed", options, columns=COLUMNS, whole=WHOLE, cell=CELL,
        cells=[(d, s, w) for d in options.data for s in CASES[d] for w in options.widths],
        settings=("n_train", "draws", "warmup", "gradients", "seed"),
    )  # fmt: skip


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Command-line options."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", choices=sorted(CASES), default=list(CASES))
    parser.add_argument("--widths", nargs="+", type=whole(1), default=None)
    parser.add_argument("--n-train", type=whole(2), default=None)
    parser.add_argument("--draws", type=whole(20), default=None, help="of ours, per chain")
    parser.add_argument("--warmup", type=whole(20), default=500, help="of ours, per chain")
    parser.add_argument(
        "--gradients", type=whole(100), default=None, help="of HMC, per chain and measurement"
    )
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument("--out", type=folder, default="results/likelihood_speed")
    parser.add_argument("--quick", action="store_true", help="a few minutes on 2 cores")
    _tasks.add_options(parser)
    options = parser.parse_args(arguments)
    _tasks.check(parser, options)
    options.widths = options.widths or ([64, 256] if options.quick else [128, 512, 2048])
    options.draws = options.draws or (300 if options.quick else 800)
    options.gradients = options.gradients or (1500 if options.quick else 8000)
    return options


def problem(name: str, options: argparse.Namespace) -> tuple[Data, Likelihood]:
    """Training and evaluation points as the sampler sees them, and the likelihood they complete."""
    if name == "diabetes":
        return load(name, options.n_train or 64, options.seed), Gaussian()
    x, labels = {"digits": load_digits, "breast_cancer": load_breast_cancer}[name](return_X_y=True)
    x = (x - x.mean()) / x.std() if name == "digits" else (x - x.mean(0)) / x.std(0)
    n = options.n_train or 128
    if n > len(x) - NUM_HELD_OUT:
        raise SystemExit(f"--n-train: {name} has {len(x)} points, {NUM_HELD_OUT} of them held out")
    order = np.random.default_rng(options.seed).permutation(len(x))
    train, held_out = order[:n], order[n : n + NUM_HELD_OUT]
    family = Categorical() if name == "digits" else Bernoulli()
    likelihood, y, _ = family.prepared(labels[train], n)
    x = x.astype(np.float32)
    return Data(name, x[train], y.astype(np.float32), x[held_out]), likelihood


def methods_of(data: Data) -> tuple[str, ...]:
    """Rows of one cell, in the order in which they are measured."""
    return (OURS, KNOWN, INFINITE, HMC) if data.name == "diabetes" else (OURS, INFINITE, HMC)


def measure(
    data: Data,
    likelihood: Likelihood,
    scale: float,
    width: int,
    options: argparse.Namespace,
    done: set[str],
) -> Iterator[Row]:
    """The methods of one cell that are not ``done``, as they end."""
    wanted = [method for method in methods_of(data) if method not in done]
    if not wanted:
        return
    model = bnnsample.models.mlp(1, "gelu", readout_weight_std=scale)
    where = {"data": data.name, "readout_scale": scale, "width": width}

    def run(likelihood: Likelihood, **settings: Any):
        return bnnsample.run(
            model,
            (data.x, labels_of(likelihood, data)),
            width=width,
            likelihood=likelihood,
            x_eval=data.x_eval,
            num_samples=options.draws,
            num_warmup=options.warmup,
            seed=options.seed,
            progress=False,
            **settings,
        )

    # Where HMC starts, and what the noise is held at.
    result = run(likelihood) if set(wanted) - {INFINITE} else None
    for method in wanted:
        if method == OURS:
            row = of_result(result)
        elif method == KNOWN:
            row = of_result(run(Gaussian(float(result.record.draws["noise_scale"].mean()))))
        elif method == INFINITE:
            row = of_result(run(likelihood, coordinates="standard", kernel="infinite_hmc"))
        else:
            row = of_hmc(model, data, likelihood, width, result, options)
        yield {**where, "method": method, **row}


def labels_of(likelihood: Likelihood, data: Data) -> np.ndarray:
    """Targets as the user has them: codes are labels of their own."""
    return (
        data.y
        if likelihood.is_gaussian
        else np.asarray(likelihood.classes)[data.y[:, 0].astype(int)]
    )


def of_result(result) -> Row:
    """A row from a finished run."""
    draws, stats = result.record.draws, result.record.sample_stats
    function = draws["f_mean" if "f_mean" in draws else "y_mean"]
    ess = float(np.median(effective_sample_size(function)))
    weights = float(np.median(effective_sample_size(draws["hidden"])))
    return {
        "ess_per_gradient_function": ess / result.num_gradients,
        "ess_per_gradient_weights": weights / result.num_gradients,
        "ess_per_second_function": ess / result.sampling_seconds,
        "r_hat_function": float(np.max(r_hat(function))),
        "r_hat_weights": float(np.max(r_hat(draws["hidden"]))),
        "acceptance": float(stats["acceptance_rate"].mean()),
        "num_draws": int(stats["n_steps"].size),
        "num_gradients": result.num_gradients,
        "seconds": result.sampling_seconds,
        "setting": {k: v for k, v in result.adapted.items() if np.ndim(v) == 0},
    }


def of_hmc(model, data: Data, likelihood, width: int, result, options) -> Row:
    """A row from the best of the grid, started where ours ended."""
    method = next(m for m in BASELINES if m.name == HMC)
    bench = Bench(model, data, width, likelihood, method.coordinates, method.kernel)
    last = int(result.record.kept.draws[-1])
    starts = []
    for chain in range(result.settings["num_chains"]):
        values = {k: result.record.draws[k][chain, last] for k in likelihood.unknowns}
        starts.append({**result.parameters(chain, last), **values})
    states = bench.start(starts)
    settings = method.settings(reference_step_size(bench, states, options.seed))
    best = best_of_grid(bench, settings, states, options.gradients, options.seed)
    function, weights = best["function"], best["weights"]
    return {
        "ess_per_gradient_function": function.function_per_gradient,
        "ess_per_gradient_weights": weights.weights_per_gradient,
        "ess_per_second_function": function.function_per_second,
        "r_hat_function": function.r_hat_function,
        "r_hat_weights": weights.r_hat_weights,
        "acceptance": function.acceptance,
        "num_draws": function.num_draws,
        "num_gradients": function.num_gradients,
        "seconds": function.seconds,
        "setting": dict(function.setting),
    }


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", False)
    main()
