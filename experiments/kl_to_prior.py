"""The repriorised posterior's distance from its prior against width.

Measures the theorem of Hron et al. 2022 (arXiv:2206.07673, theorem 3.1): the divergence
KL(p(phi | D) || N(0, I)) vanishes as the network widens. The slope on log-log axes is fitted by
weighted least squares and printed with its standard error.

    python -m experiments.kl_to_prior --quick
    python -m experiments.kl_to_prior --data diabetes --depths 1 --widths 512 1024 2048 4096 8192
    python -m experiments.kl_to_prior --data digits --resnet

Each width has its own prior draws, so that the points of a line are independent. Writes a CSV and
a PNG.
"""

import argparse
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import bnnsample
from bnnsample._weights import MIN_WEIGHTS
from bnnsample.models import Model
from bnnsample.theory import evidence
from experiments._data import Data, load
from experiments._options import folder, positive, whole
from experiments._plot import save

Row = dict[str, Any]
DATA = ("diabetes", "digits")
# A pass through several hidden layers costs the square of the width.
WIDTHS = {1: (512, 1024, 2048, 4096, 8192), 2: (128, 256, 512, 1024), 3: (128, 256, 512, 1024)}
RESNET_DEPTH, RESNET_WIDTHS = 8, (8, 16, 32, 64)
COLOURS = ("#0b6e4f", "#1f6fb2", "#e08e45", "#b23a48")


class Slope(NamedTuple):
    """``log KL`` against ``log width``: slope and its standard error, and the value at width 1."""

    value: float
    standard_error: float
    intercept: float


def main(arguments: list[str] | None = None) -> pd.DataFrame:
    """Run the experiment from the command line; returns the table."""
    options = parse(arguments)
    out = options.out
    out.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for name in options.data:
        data = load(name, options.n_train, options.seed)
        for depth in options.depths:
            model = bnnsample.models.mlp(depth)
            widths = options.widths or WIDTHS.get(depth, WIDTHS[3])
            rows += measure(data, model, f"mlp, depth {depth}", widths, options)
        if options.resnet and name == "digits":
            images = data._replace(x=data.x.reshape(-1, 8, 8, 1))
            widths = options.widths or RESNET_WIDTHS
            model = bnnsample.models.resnet(RESNET_DEPTH)
            rows += measure(images, model, f"resnet, depth {RESNET_DEPTH}", widths, options)
    table = pd.DataFrame(rows)
    temporary = out / "kl_to_prior.csv.part"
    table.to_csv(temporary, index=False)
    temporary.replace(out / "kl_to_prior.csv")
    plot(table, out / "kl_to_prior.png")
    print(f"wrote kl_to_prior.csv and kl_to_prior.png to {out}")
    return table


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Command-line options; ``--quick`` takes a minute on 2 cores."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", choices=DATA, default=None)
    parser.add_argument("--depths", nargs="+", type=whole(1), default=None, help="hidden layers")
    parser.add_argument("--widths", nargs="+", type=whole(1), default=None)
    parser.add_argument("--resnet", action="store_true", help="also a ResNet-8, on digits")
    parser.add_argument("--n-train", type=whole(1), default=64)
    parser.add_argument("--noise-scale", type=positive, default=1.0, help="standard deviation")
    parser.add_argument("--num-particles", type=whole(MIN_WEIGHTS), help="per replicate")
    parser.add_argument("--num-replicates", type=whole(2), default=8)
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument("--out", type=folder, default="results/kl_to_prior")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(arguments)
    options.data = options.data or (DATA[:1] if options.quick else DATA)
    options.depths = options.depths or ([1] if options.quick else [1, 2, 3])
    options.num_particles = options.num_particles or (64 if options.quick else 256)
    if options.quick:
        options.widths = options.widths or [128, 512, 2048]
    if options.resnet and "digits" not in options.data:
        parser.error("--resnet takes the images of digits: add --data digits")
    return options


def measure(data: Data, model: Model, name: str, widths, options) -> list[Row]:
    """One line of the figure, printed as it comes, and its slope."""
    rows = []
    for width in widths:
        started = time.perf_counter()
        found = evidence(
            model,
            (data.x, data.y),
            width=width,
            likelihood=bnnsample.likelihoods.Gaussian(options.noise_scale),
            num_particles=options.num_particles,
            num_replicates=options.num_replicates,
            # Another seed for each width: independent points.
            seed=options.seed + width,
        )
        arrays = ("temperatures", "effective_sample_sizes", "acceptance_rates")
        numbers = {k: v for k, v in found._asdict().items() if k not in arrays}
        seconds = time.perf_counter() - started
        row = {"data": data.name, "model": name, "width": width}
        row["noise_scale"] = options.noise_scale
        rows.append({**row, **numbers, "seconds": seconds})
        print(
            f"{data.name:9s} {name:15s} width {width:5d}  KL {found.kl_to_prior:.5f} +- "
            f"{found.kl_to_prior_se:.5f}  log evidence {found.log_evidence:.3f} +- "
            f"{found.log_evidence_se:.3f}  k-hat {found.k_hat:5.2f}  {found.method}  "
            f"{seconds:.0f} s",
            flush=True,
        )
    slope = fit_slope(pd.DataFrame(rows))
    print(f"{data.name:9s} {name:15s} slope {slope.value:.3f} +- {slope.standard_error:.3f}\n")
    return rows


def fit_slope(line: pd.DataFrame) -> Slope:
    """Weighted least squares of ``log KL`` on ``log width``, errors by the delta method.

    An estimate that Monte-Carlo error has put at 0 or below has no logarithm and is left out; with
    fewer than two widths left the slope is NaN.
    """
    line = line[(line.kl_to_prior > 0) & (line.kl_to_prior_se > 0)]
    if line.width.nunique() < 2:
        return Slope(np.nan, np.nan, np.nan)
    weights = np.asarray(line.kl_to_prior / line.kl_to_prior_se)
    coefficients, covariance = np.polyfit(
        np.log(line.width), np.log(line.kl_to_prior), 1, w=weights, cov="unscaled"
    )
    return Slope(float(coefficients[0]), float(covariance[0, 0] ** 0.5), float(coefficients[1]))


def plot(table: pd.DataFrame, path: Path) -> None:
    """One panel per data set; points with two standard errors, and the fitted lines."""
    names = list(dict.fromkeys(table.data))
    figure = Figure(figsize=(5.5 * len(names), 4.4), layout="constrained")
    axes = figure.subplots(1, len(names), squeeze=False)[0]
    for axis, name in zip(axes, names, strict=True):
        panel = table[table.data == name]
        lines = panel.groupby("model", sort=False)
        for (model, line), colour in zip(lines, COLOURS, strict=False):
            slope = fit_slope(line)
            axis.errorbar(
                line.width,
                line.kl_to_prior,
                2 * line.kl_to_prior_se,
                fmt="o",
                ms=4,
                capsize=2,
                color=colour,
                label=f"{model}: slope {slope.value:.2f} ± {slope.standard_error:.2f}",
            )
            fitted = np.exp(slope.intercept) * line.width**slope.value
            axis.plot(line.width, fitted, lw=1, color=colour)
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xlabel("width")
        axis.set_ylabel("KL(posterior ‖ prior), nats")
        noise = panel.noise_scale.iloc[0]
        axis.set_title(f"{name}, noise scale {noise:g}", fontsize=10)
        axis.grid(True, which="both", alpha=0.2)
        axis.legend(fontsize=8, frameon=False)
    save(figure, path)


if __name__ == "__main__":
    main()
