"""The repriorised posterior's distance from its prior against width.

Measures theorem 3.1 of Hron et al. 2022 (arXiv:2206.07673), of which the paper has no figure. The
paper found that the divergence KL(p(phi | D) || N(0, I)) vanishes as 1 / width. The slope on
log-log axes is fitted by weighted least squares and printed with its standard error.

We found, on diabetes at noise scale 1: slope -1.005 +- .015 at widths 512 to 8192, and at 128 to
1024 -1.001 +- .024 for depth 2 and -1.031 +- .022 for depth 3. ResNet-8 on digits: 2.67 and 2.14
nats at widths 8 and 16, not yet the wide regime.

    python -m experiments.kl_to_prior --quick
    python -m experiments.kl_to_prior --data diabetes --depths 1 --widths 512 1024 2048 4096 8192
    python -m experiments.kl_to_prior --data digits --resnet

Each width has its own prior draws, so that the points of a line are independent. Rows of the same
setting in the CSV of ``--out`` are not measured again. Writes a CSV, a PNG and a JSON of settings
and versions.
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
from bnnsample.theory import evidence
from experiments import _tasks
from experiments._data import as_images, load
from experiments._options import folder, positive, whole, write_settings
from experiments._plot import save
from experiments._rows import agrees, read_csv, write_csv

Row = dict[str, Any]
DATA = ("diabetes", "digits")
# What a row was measured in, beside its cell.
SETTINGS = ("noise_scale", "n_train", "num_particles", "num_replicates", "seed")
COLUMNS = (
    "data", "model", "width", *SETTINGS, "log_evidence", "log_evidence_se", "kl_to_prior",
    "kl_to_prior_se", "method", "k_hat", "importance_ess", "num_draws", "num_not_finite",
    "num_gradients", "seconds",
)  # fmt: skip
# A pass through several hidden layers costs the square of the width.
WIDTHS = {1: (512, 1024, 2048, 4096, 8192), 2: (128, 256, 512, 1024), 3: (128, 256, 512, 1024)}
RESNET_DEPTH, RESNET_WIDTHS = 8, (8, 16, 32, 64)
COLOURS = ("#0b6e4f", "#1f6fb2", "#e08e45", "#b23a48")


class Cell(NamedTuple):
    """One point of the figure; ``kind`` is mlp or resnet."""

    data: str
    kind: str
    depth: int
    width: int

    @property
    def model(self) -> str:
        return f"{self.kind}, depth {self.depth}"


class Slope(NamedTuple):
    """``log KL`` against ``log width``: slope and its standard error, and the value at width 1."""

    value: float
    standard_error: float
    intercept: float


def main(arguments: list[str] | None = None) -> pd.DataFrame:
    """Run the experiment from the command line; returns the table of its setting."""
    options = parse(arguments)
    path = _tasks.path_of(options.out, "kl_to_prior.csv", options)
    rows = _tasks.earlier(options.out, path.name, read, path)
    setting = {name: getattr(options, name) for name in SETTINGS}
    for cell in _tasks.own(cells(options), options):
        where = {"data": cell.data, "model": cell.model, "width": cell.width, **setting}
        if any(agrees(row, where) for row in rows):
            continue
        rows.append({**where, **measure(cell, options)})
        write_csv(path, rows, COLUMNS)
        _tasks.say(line(rows[-1]))
    # Rows of other settings stay in the CSV, and out of the figure.
    shown = [row for row in rows if agrees(row, setting)]
    table = pd.DataFrame(shown, columns=list(COLUMNS))
    if not _tasks.is_whole(options):
        return table
    for (name, model), points in table.groupby(["data", "model"], sort=False):
        slope = fit_slope(points)
        print(f"{name:9s} {model:15s} slope {slope.value:.3f} +- {slope.standard_error:.3f}")
    write_csv(path, rows, COLUMNS)
    plot(table, options.out / "kl_to_prior.png")
    write_settings(options.out / "kl_to_prior.json", options)
    print(f"wrote kl_to_prior.* to {options.out}")
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
    parser.add_argument("--quick", action="store_true", help="a minute on 2 cores")
    _tasks.add_options(parser)
    options = parser.parse_args(arguments)
    _tasks.check(parser, options)
    options.data = options.data or (DATA[:1] if options.quick else DATA)
    options.depths = options.depths or ([1] if options.quick else [1, 2, 3])
    options.num_particles = options.num_particles or (64 if options.quick else 256)
    if options.quick:
        options.widths = options.widths or [128, 512, 2048]
    if options.resnet and "digits" not in options.data:
        parser.error("--resnet takes the images of digits: add --data digits")
    return options


def cells(options: argparse.Namespace) -> list[Cell]:
    """Every width of every line of the figure."""
    found = []
    for name in options.data:
        for depth in options.depths:
            widths = options.widths or WIDTHS.get(depth, WIDTHS[3])
            found += [Cell(name, "mlp", depth, width) for width in widths]
        if options.resnet and name == "digits":
            widths = options.widths or RESNET_WIDTHS
            found += [Cell(name, "resnet", RESNET_DEPTH, width) for width in widths]
    return found


def measure(cell: Cell, options: argparse.Namespace) -> Row:
    """One point of the figure: the estimates, and the seconds they took."""
    started = time.perf_counter()
    data = load(cell.data, options.n_train, options.seed)
    is_resnet = cell.kind == "resnet"
    data = as_images(data) if is_resnet else data
    model = (bnnsample.models.resnet if is_resnet else bnnsample.models.mlp)(cell.depth)
    found = evidence(
        model,
        (data.x, data.y),
        width=cell.width,
        likelihood=bnnsample.likelihoods.Gaussian(options.noise_scale),
        num_particles=options.num_particles,
        num_replicates=options.num_replicates,
        # Another seed for each width: independent points.
        seed=options.seed + cell.width,
    )
    numbers = {name: value for name, value in found._asdict().items() if name in COLUMNS}
    return {**numbers, "seconds": time.perf_counter() - started}


def read(path: Path) -> list[Row]:
    """Rows of an earlier run."""
    whole_columns = (
        "width", "n_train", "num_particles", "num_replicates", "seed", "num_draws",
        "num_not_finite", "num_gradients",
    )  # fmt: skip
    return read_csv(path, COLUMNS, whole_columns, ("data", "model", "method"))


def line(row: Row) -> str:
    """One printed line."""
    return (
        f"{row['data']:9s} {row['model']:15s} width {row['width']:5d}  KL "
        f"{row['kl_to_prior']:.5f} +- {row['kl_to_prior_se']:.5f}  log evidence "
        f"{row['log_evidence']:.3f} +- {row['log_evidence_se']:.3f}  k-hat {row['k_hat']:5.2f}  "
        f"{row['method']}  {row['seconds']:.0f} s"
    )


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
