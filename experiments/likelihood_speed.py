"""Effective samples per gradient of labels and of unknown noise, against width.

Softmax on digits (n = 128, ten classes), a Bernoulli likelihood on breast cancer (n = 128) and
regression with noise of unknown scale on diabetes (n = 64), one hidden GELU layer; labels at
readout scales 1 and 4. Ours is ``bnnsample.run`` as it is called by default: for labels the readout
through a Gaussian surrogate and ``kernel="alternating"``, for regression collapsed coordinates and
infinite HMC. Beside it HMC in standard coordinates at the best of a grid of step sizes and of
trajectory angles 0.5, 1 and pi/2, for each quantity on its own, started from draws of ours, so that
it is not charged for its burn-in; and, for regression, ours with the noise held at its posterior
mean, which says what not knowing it costs. Counted are class probabilities (or E[f | h]) at the
evaluation points and 20 hidden weights, as in ``width_scaling``.

    python -m experiments.likelihood_speed --quick
    python -m experiments.likelihood_speed --data digits --widths 128 512 2048

Rows already in the CSV of ``--out`` are not measured again. Writes a CSV, a PNG and a JSON of
settings and versions.
"""

import argparse
import csv
import json
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer, load_digits

import bnnsample
from bnnsample._settings import PACKAGES, _version
from bnnsample.likelihoods import Bernoulli, Categorical, Gaussian, Likelihood
from bnnsample.results import effective_sample_size, r_hat
from experiments._data import Data, load
from experiments._measure import Bench
from experiments._methods import BASELINES, best_of_grid, reference_step_size
from experiments._options import folder, whole
from experiments._plot import save
from experiments.width_scaling import write_csv

Row = dict[str, Any]
COLUMNS = (
    "data",
    "readout_scale",
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
CASES = {"digits": (1.0, 4.0), "breast_cancer": (1.0, 4.0), "diabetes": (1.0,)}
OURS, KNOWN, HMC = "ours", "ours, noise known", "standard + HMC"


def main(arguments: list[str] | None = None) -> list[Row]:
    """Run the experiment from the command line; returns the table's rows."""
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "likelihood_speed.csv"
    rows = read(path)
    started = time.perf_counter()
    for name in options.data:
        data, likelihood = problem(name, options)
        for scale in CASES[name]:
            for width in options.widths:
                done = {r["method"] for r in rows if _cell(r) == (name, scale, width)}
                if OURS in done and HMC in done:
                    continue
                rows = [r for r in rows if _cell(r) != (name, scale, width)]
                for row in measure(data, likelihood, scale, width, options):
                    rows.append(row)
                    print(table_line(row), flush=True)
                write_csv(path, rows, COLUMNS)
    print(f"\n{ratios(rows)}\n")
    plot(rows, options.out / "likelihood_speed.png")
    settings = {k: v for k, v in vars(options).items() if k != "out"}
    settings["versions"] = {package: _version(package) for package in PACKAGES}
    (options.out / "likelihood_speed.json").write_text(json.dumps(settings, indent=2) + "\n")
    print(f"{time.perf_counter() - started:.0f} s; wrote likelihood_speed.* to {options.out}")
    return rows


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Command-line options."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", choices=sorted(CASES), default=list(CASES))
    parser.add_argument("--widths", nargs="+", type=whole(1), default=None)
    parser.add_argument("--n-train", type=whole(2), default=None)
    parser.add_argument("--draws", type=whole(20), default=None, help="of ours, per chain")
    parser.add_argument(
        "--gradients", type=whole(100), default=None, help="of HMC, per chain and measurement"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=folder, default=Path("results/likelihood_speed"))
    parser.add_argument("--quick", action="store_true", help="a few minutes on 2 cores")
    options = parser.parse_args(arguments)
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
    order = np.random.default_rng(options.seed).permutation(len(x))
    train, held_out = order[:n], order[n : n + 32]
    family = Categorical() if name == "digits" else Bernoulli()
    likelihood, y, _ = family.prepared(labels[train], n)
    x = x.astype(np.float32)
    return Data(name, x[train], y.astype(np.float32), x[held_out]), likelihood


def measure(
    data: Data, likelihood: Likelihood, scale: float, width: int, options: argparse.Namespace
) -> list[Row]:
    """All methods in one cell of the table."""
    model = bnnsample.models.mlp(1, "gelu", readout_weight_std=scale)

    def run(likelihood: Likelihood):
        return bnnsample.run(
            model,
            (data.x, labels_of(likelihood, data)),
            width=width,
            likelihood=likelihood,
            x_eval=data.x_eval,
            num_samples=options.draws,
            seed=options.seed,
            progress=False,
        )

    cell = {"data": data.name, "readout_scale": scale, "width": width}
    result = run(likelihood)
    rows = [{**cell, **of_result(OURS, result)}]
    if data.name == "diabetes":
        noise = float(result.record.draws["noise_scale"].mean())
        rows.append({**cell, **of_result(KNOWN, run(Gaussian(noise)))})
    return [*rows, {**cell, **of_hmc(model, data, likelihood, width, result, options)}]


def labels_of(likelihood: Likelihood, data: Data) -> np.ndarray:
    """Targets as the user has them: codes are labels of their own."""
    return (
        data.y
        if likelihood.is_gaussian
        else np.asarray(likelihood.classes)[data.y[:, 0].astype(int)]
    )


def of_result(method: str, result) -> Row:
    """A row from a finished run."""
    draws, stats = result.record.draws, result.record.sample_stats
    function = draws["f_mean" if "f_mean" in draws else "y_mean"]
    ess = float(np.median(effective_sample_size(function)))
    weights = float(np.median(effective_sample_size(draws["hidden"])))
    return {
        "method": method,
        "ess_per_gradient_function": ess / result.num_gradients,
        "ess_per_gradient_weights": weights / result.num_gradients,
        "ess_per_second_function": ess / result.sampling_seconds,
        "r_hat_function": float(np.max(r_hat(function))),
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
        "method": HMC,
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


def read(path: Path) -> list[Row]:
    """Rows of an earlier run with numbers as numbers."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        found = list(csv.DictReader(file))
    kinds = {"width": int, "num_draws": int, "num_gradients": int}
    texts = {"data", "method", "setting"}
    return [
        {k: v if k in texts else kinds.get(k, float)(v) for k, v in row.items()} for row in found
    ]


def ratios(rows: list[Row]) -> str:
    """Ours over HMC, a Markdown row for every cell; HMC that did not mix is an upper bound."""
    lines = [
        "| data | readout scale | width | ours | standard + HMC | times |",
        "|---|---|---|---|---|---|",
    ]
    cells = {_cell(row): {} for row in rows}
    for row in rows:
        cells[_cell(row)][row["method"]] = row
    for (name, scale, width), found in cells.items():
        for method in (OURS, KNOWN):
            if method not in found:
                continue
            ours, hmc = found[method], found.get(HMC)
            label = name if method == OURS else f"{name}, noise known"
            line = f"| {label} | {scale:g} | {width} | {_pair(ours)} |"
            if hmc is not None and method == OURS:
                times = [
                    ours[f"ess_per_gradient_{q}"] / hmc[f"ess_per_gradient_{q}"]
                    for q in ("function", "weights")
                ]
                bound = "at most " if hmc["r_hat_function"] > 1.05 else ""
                line += f" {bound}{_pair(hmc)} | {times[0]:.1f} / {times[1]:.1f} |"
            else:
                line += " | |"
            lines.append(line)
    return "\n".join(lines)


def _pair(row: Row) -> str:
    return f"{row['ess_per_gradient_function']:.3f} / {row['ess_per_gradient_weights']:.3f}"


def _cell(row: Row) -> tuple[str, float, int]:
    return row["data"], row["readout_scale"], row["width"]


def table_line(row: Row) -> str:
    """One printed line."""
    return (
        f"{row['data']:13s} readout {row['readout_scale']:g} width {row['width']:5d}  "
        f"{row['method']:18s} ESS/gradient {row['ess_per_gradient_function']:.4f} (function) "
        f"{row['ess_per_gradient_weights']:.4f} (weights)  ESS/s "
        f"{row['ess_per_second_function']:7.1f}  R-hat {row['r_hat_function']:.3f}  "
        f"acceptance {row['acceptance']:.2f}  {row['setting']}"
    )


def plot(rows: list[Row], path: Path) -> None:
    """Effective samples per gradient against width, a panel for every data set and scale."""
    panels = list(dict.fromkeys((row["data"], row["readout_scale"]) for row in rows))
    figure = Figure(figsize=(3.3 * len(panels), 3.6), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    colours = {OURS: "#0b6e4f", KNOWN: "#6bbf59", HMC: "#b23a48"}
    for axis, panel in zip(axes, panels, strict=True):
        for method, colour in colours.items():
            points = [
                r
                for r in rows
                if (r["data"], r["readout_scale"]) == panel and r["method"] == method
            ]
            points.sort(key=lambda r: r["width"])
            for quantity, style in (("function", "-o"), ("weights", "--s")):
                if points:
                    axis.plot(
                        [r["width"] for r in points],
                        [r[f"ess_per_gradient_{quantity}"] for r in points],
                        style,
                        color=colour,
                        ms=4,
                        label=f"{method}, {quantity}",
                    )
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xlabel("width")
        axis.set_title(f"{panel[0]}, readout scale {panel[1]:g}", fontsize=10)
        axis.grid(True, which="both", alpha=0.2)
    axes[0].set_ylabel("effective samples per gradient")
    axes[-1].legend(fontsize=7, frameon=False)
    save(figure, path)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", False)
    main()
