"""Effective samples per gradient and per second against width, for six ways to sample.

Reproduces figures 1 and 4 of Hron et al. 2022 (arXiv:2206.07673). The paper found that repriorised
Langevin mixes faster the wider the network, up to 50 times the effective samples without it; this
goes past that: with the readout integrated out and a kernel exact for the prior, each gradient
comes closer to an independent draw as the network widens.

We found, effective samples of the function per gradient on diabetes: repriorised Langevin .07 to
.12 at widths 64 to 4096, where HMC at its best has .03 to .04; at 64, 256, 1024 and 4096 collapsed
and infinite HMC .13, .16, .20 and .35, unit-wise .012, .41, .81 and .93. On digits at width 512
infinite HMC has at least 26 times those of HMC, 1.7 times those of repriorised Langevin and at
least 200 times those of standard Langevin, the paper's baseline.

    python -m experiments.width_scaling --quick
    python -m experiments.width_scaling --data diabetes --widths 512 2048 8192 32768
    python -m experiments.width_scaling --data cifar10 --data-dir cifar-10-batches-py

All methods start from draws of the same posterior, so that none is charged for its burn-in.
Standard HMC is the best of a grid of step sizes and of trajectory angles 0.5, 1 and pi/2, and
Langevin, repriorised and in standard coordinates (the paper's own and its baseline), of step sizes
and dampings, for each quantity on its own; the collapsed chains choose their settings by themselves
in their warm-up. ``--quick`` leaves standard Langevin out. pCN and unit-wise sampling take no
gradients: for
them a pass through the network counts as one. With ``--resume``, widths in the CSV of ``--out``
are not measured again. Writes a CSV, a PNG and a JSON of settings and versions, and figures of the
last run.
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import numpy as np

import bnnsample
from bnnsample.results import effective_sample_size, r_hat
from experiments import _tasks
from experiments._data import Data, load
from experiments._measure import MIXED, Bench
from experiments._methods import (
    BASELINES,
    STANDARD_LANGEVIN,
    Method,
    best_of_grid,
    reference_step_size,
)
from experiments._options import check_data_dir, folder, positive, whole
from experiments._plot import plot_width_scaling
from experiments._sweep import Sweep

Row = dict[str, Any]
COLUMNS = (
    "data",
    "width",
    "method",
    "ess_per_gradient_function",
    "ess_per_gradient_weights",
    "ess_per_second_function",
    "r_hat_function",
    "acceptance",
    "num_draws",
    "num_gradients",
    "seconds",
    "setting",
)
COLLAPSED = {
    "infinite_hmc": "collapsed + infinite HMC",
    "pcn": "collapsed + pCN",
    "unitwise": "collapsed + unit-wise",
}
NOISE = {"diabetes": 0.3, "digits": 0.1, "cifar10": 0.1}
# Standard Langevin, the last, is not worth the time of a quick run.
METHODS = (*BASELINES, STANDARD_LANGEVIN)
N_TRAIN = {"diabetes": 64, "digits": 128, "cifar10": 128}


def main(arguments: list[str] | None = None) -> list[Row]:
    """Run the experiment from the command line; returns the table's rows."""
    options = parse(arguments)
    sweep = Sweep(
        "width_scaling", options, columns=COLUMNS, whole=("width", "num_draws", "num_gradients"),
        cell=("data", "width"),
        cells=[(name, width) for name in options.data for width in options.widths],
        settings=("depth", "n_train", "noise_scale", "gradients", "seed"), resume=options.resume,
    )  # fmt: skip
    result, last = None, ""
    for name, width in sweep.own():
        if {*COLLAPSED.values(), *options.baselines} <= set(sweep.done((name, width))):
            continue
        n_train = options.n_train or N_TRAIN[name]
        data = load(name, n_train, options.seed, data_dir=options.data_dir)
        noise = options.noise_scale or NOISE[name]
        rows, result = measure_width(data, width, noise, options)
        last = name
        for row in rows:
            sweep.keep(row)
    if sweep.is_whole:
        if result is not None:
            print(f"\nThe last infinite HMC run, on {last}:\n\n{result.report()}")
            for kind in ("trace", "ess", "predictive"):
                result.plot(kind, path=options.out / f"{kind}.png")
        sweep.conclude(ratios(sweep.rows), plot_width_scaling)
    return sweep.rows


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Command-line options; ``--quick`` is the setting of ``make demo``."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", choices=sorted(NOISE), default=None)
    parser.add_argument("--widths", nargs="+", type=whole(1), default=None)
    parser.add_argument("--depth", type=whole(1), default=1, help="hidden layers")
    parser.add_argument("--data-dir", type=Path, help="cifar-10-batches-py, for --data cifar10")
    parser.add_argument("--n-train", type=whole(2), default=None)
    parser.add_argument("--noise-scale", type=positive, default=None, help="standard deviation")
    parser.add_argument("--gradients", type=whole(10), help="per chain and measurement")
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument("--out", type=folder, default="results/width_scaling")
    parser.add_argument("--quick", action="store_true", help="a few minutes on 2 cores")
    parser.add_argument(
        "--only-collapsed", action="store_true", help="leave the slow baselines out"
    )
    parser.add_argument("--resume", action="store_true", help="keep what is measured, by tasks too")
    _tasks.add_options(parser)
    options = parser.parse_args(arguments)
    _tasks.check(parser, options)
    check_data_dir(parser, options.data or (), options.data_dir)
    options.data = options.data or (["diabetes"] if options.quick else ["diabetes", "digits"])
    options.widths = options.widths or (
        [64, 256, 1024] if options.quick else [64, 128, 256, 512, 1024, 2048, 4096]
    )
    options.gradients = options.gradients or (1500 if options.quick else 8000)
    methods = METHODS[:-1] if options.quick else METHODS
    options.baselines = [] if options.only_collapsed else [method.name for method in methods]
    return options


def measure_width(data: Data, width: int, noise: float, options) -> tuple[list[Row], Any]:
    """All methods at one width, printed as they end, and the result of infinite HMC.

    The collapsed chains go first: their last draws are where the others start.
    """
    model = bnnsample.models.mlp(options.depth, "gelu")
    rows: list[Row] = []
    results: dict[str, Any] = {}
    for kernel, name in COLLAPSED.items():
        results[kernel] = bnnsample.run(
            model,
            (data.x, data.y),
            width=width,
            x_eval=data.x_eval,
            kernel=kernel,
            likelihood=bnnsample.likelihoods.Gaussian(noise),
            seed=options.seed,
            progress=False,
            num_samples=max(100, options.gradients // 4),
        )
        rows.append(collapsed_row(data.name, width, name, results[kernel]))
        _tasks.say(table_line(rows[-1]))
    result = results["infinite_hmc"]
    last = int(result.record.kept.draws[-1])
    starts = [result.parameters(c, last) for c in range(result.settings["num_chains"])]
    for method in METHODS:
        if method.name in options.baselines:
            rows.append(baseline_row(method, data, width, noise, starts, options))
            _tasks.say(table_line(rows[-1]))
    return rows, result


def collapsed_row(data: str, width: int, name: str, result) -> Row:
    """A row from a finished run."""
    draws = result.record.draws
    per_gradient = {
        q: float(np.median(effective_sample_size(draws[v]))) / result.num_gradients
        for q, v in (("function", "f_mean"), ("weights", "hidden"))
    }
    stats = result.record.sample_stats
    return {
        "data": data,
        "width": width,
        "method": name,
        "ess_per_gradient_function": per_gradient["function"],
        "ess_per_gradient_weights": per_gradient["weights"],
        "ess_per_second_function": per_gradient["function"]
        * result.num_gradients
        / result.sampling_seconds,
        "r_hat_function": float(np.max(r_hat(draws["f_mean"]))),
        "acceptance": float(stats["acceptance_rate"].mean()),
        "num_draws": int(stats["n_steps"].size),
        "num_gradients": result.num_gradients,
        "seconds": result.sampling_seconds,
        "setting": {k: v for k, v in result.record.adapted.items() if np.ndim(v) == 0},
    }


def baseline_row(
    method: Method, data: Data, width: int, noise: float, starts: list[Any], options
) -> Row:
    """A row from the best of the method's grid around an adapted step size."""
    model = bnnsample.models.mlp(options.depth, "gelu")
    likelihood = bnnsample.likelihoods.Gaussian(noise)
    bench = Bench(model, data, width, likelihood, method.coordinates, method.kernel, method.thin)
    states = bench.start(starts)
    settings = method.settings(reference_step_size(bench, states, options.seed))
    best = best_of_grid(bench, settings, states, options.gradients, options.seed)
    function, weights = best["function"], best["weights"]
    return {
        "data": data.name,
        "width": width,
        "method": method.name,
        "ess_per_gradient_function": function.function_per_gradient,
        "ess_per_gradient_weights": weights.weights_per_gradient,
        "ess_per_second_function": function.function_per_second,
        "r_hat_function": function.r_hat_function,
        "acceptance": function.acceptance,
        "num_draws": function.num_draws,
        "num_gradients": function.num_gradients,
        "seconds": function.seconds,
        "setting": dict(function.setting),
    }


def ratios(rows: list[Row]) -> str:
    """How many times the effective samples per gradient of each baseline infinite HMC has.

    A baseline whose R-hat is above 1.05 has not mixed: its effective samples are an upper bound.
    """
    lines = []
    for name, width in dict.fromkeys((row["data"], row["width"]) for row in rows):
        own = {r["method"]: r for r in rows if (r["data"], r["width"]) == (name, width)}
        ours = own.get(COLLAPSED["infinite_hmc"])
        for method, row in own.items():
            if ours is None or method in COLLAPSED.values():
                continue
            function, weights = (
                ours[f"ess_per_gradient_{q}"] / row[f"ess_per_gradient_{q}"]
                for q in ("function", "weights")
            )
            bound = "at least " if row["r_hat_function"] > MIXED else ""
            lines.append(
                f"{name}, width {width}: {COLLAPSED['infinite_hmc']} over {method}: "
                f"{bound}{function:.1f} (function), {weights:.1f} (weights)"
            )
    return "\n".join(lines)


def table_line(row: Row) -> str:
    """One printed line."""
    return (
        f"{row['data']:9s} width {row['width']:6d}  {row['method']:25s} "
        f"ESS/gradient {row['ess_per_gradient_function']:.4f} (function) "
        f"{row['ess_per_gradient_weights']:.4f} (weights)  "
        f"ESS/s {row['ess_per_second_function']:8.1f}  R-hat {row['r_hat_function']:.3f}  "
        f"acceptance {row['acceptance']:.2f}"
    )


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", False)
    main()
