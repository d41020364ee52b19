"""Sampled posteriors against the Gaussian process of infinite width, as the width grows.

    python -m experiments.function_space --quick
    python -m experiments.function_space --data diabetes --widths 512 1024 2048 8192 --check

At each width: a run, what ``will_it_help`` expected of it, and its ``compare_to_theory`` at
held-out points: Wasserstein-2 and joint KL of the function, the differences of means and variances
with their Monte-Carlo standard errors, and the distance of the empirical NNGP and NTK from their
limits at the prior and along the chain. ``--check`` asks whether means and variances at the largest
width agree with the theory within 4 standard errors plus C / width, with C fitted, point by point,
at the widths below.

Reproduces no single figure, but the claim of Lee et al. 2018 and Matthews et al. 2018, who found
that networks become Gaussian processes as they widen. We found that the joint KL of the sampled
posterior from the Gaussian process falls with width.

Writes a CSV, one of every evaluation point, a PNG over all widths, a page of the last comparison,
predictive bands of a one-dimensional example, and a JSON of settings and versions. Rows of the same
setting in the CSV of ``--out`` are not measured again; where the page of the last comparison is
missing, or was made with other options, the run at the last width is.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

import bnnsample
from bnnsample.likelihoods import Gaussian
from bnnsample.results._ess import MIN_DRAWS
from bnnsample.theory import TheoryComparison
from experiments import _tasks
from experiments._data import Data, load
from experiments._function_space_plot import plot_function_space
from experiments._options import folder, positive, settings_text, whole, write_settings
from experiments._plot import save
from experiments._rows import agrees, read_csv, write_csv
from experiments.width_scaling import N_TRAIN, NOISE

Row = dict[str, Any]
# What a row was measured in, beside data and width.
SETTINGS = ("depth", "n_train", "noise_scale", "samples", "seed")
COLUMNS = (
    "data", "width", *SETTINGS, "w2", "w2_noise", "mean_difference", "variance_difference",
    "largest_standard_error", "kl_function", "kl_function_error", "kl_observation",
    "kl_observation_error",
    *(
        f"{kernel}_{at}{suffix}"
        for kernel in ("nngp", "ntk")
        for at in ("prior", "posterior")
        for suffix in ("", "_alignment", "_centred_alignment")
    ),
    "regime", "potential_std", "effective_dimension", "step_size", "step_size_expected",
    "acceptance", "acceptance_expected", "draws", "ess_least", "seconds",
)  # fmt: skip
MOMENTS = (
    "eval_point", "output", "mean_error", "mean_standard_error", "variance_error",
    "variance_standard_error",
)  # fmt: skip
POINT_COLUMNS = ("data", "width", *SETTINGS, *MOMENTS)


class Agreement(NamedTuple):
    """Whether the largest width agrees: of ``num_points`` means and variances, ``num_outside``.

    ``worst`` is the largest ``(|difference| - |C| / width) / standard error``.
    """

    num_points: int
    num_outside: int
    worst: float


def main(arguments: list[str] | None = None) -> list[Row]:
    """Run the experiment from the command line; returns the rows of its setting."""
    options = parse(arguments)
    out = options.out
    start(out, options)
    path, points_path = (out / f"function_space{part}.csv" for part in ("", "_points"))
    rows, points = read(path, COLUMNS), read(points_path, POINT_COLUMNS)
    for name, width in _tasks.progress([(n, w) for n in options.data for w in options.widths]):
        where = {"data": name, "width": width, **setting(name, options)}
        # The page needs the run itself.
        page = out / f"{name}.png" if width == options.widths[-1] else None
        kept = all(any(agrees(row, where) for row in table) for table in (rows, points))
        if kept and (page is None or page.exists()):
            continue
        data = load(name, where["n_train"], options.seed)
        row, found = measure(data, width, where["noise_scale"], options)
        points = [p for p in points if not agrees(p, where)] + points_of(found, where)
        rows = [r for r in rows if not agrees(r, where)] + [{**where, **row}]
        write_csv(points_path, points, POINT_COLUMNS)
        write_csv(path, rows, COLUMNS)
        _tasks.say(table_line(rows[-1]))
        if page is not None:
            _tasks.say(f"\n{found.report()}\n")
            save(found.plot(), page)
    # Rows of other settings stay in the CSV, and out of the figure.
    shown = [row for row in rows if agrees(row, setting(row["data"], options))]
    for name in options.data if options.check else ():
        print(f"{name}: {agreement(kept_points(points, name, options))}\n")
    if not (out / "bands.png").exists():
        save(bands(options), out / "bands.png")
    shown = sorted(shown, key=lambda row: (row["data"], row["width"]))
    plot_function_space(shown, out / "function_space.png")
    print(f"wrote figures and function_space.* to {out}")
    return shown


def start(out: Path, options: argparse.Namespace) -> None:
    """Write the settings; pages that were made with others are made again."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "function_space.json"
    if path.exists() and path.read_text() == settings_text(options):
        return
    for name in (*options.data, "bands"):
        (out / f"{name}.png").unlink(missing_ok=True)
    write_settings(path, options)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Command-line options."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", choices=sorted(NOISE), default=None)
    parser.add_argument("--widths", nargs="+", type=whole(1), default=None)
    parser.add_argument("--depth", type=whole(1), default=1, help="hidden layers")
    parser.add_argument("--n-train", type=whole(1), default=None)
    parser.add_argument("--noise-scale", type=positive, default=None, help="standard deviation")
    parser.add_argument("--samples", type=whole(MIN_DRAWS), default=None, help="draws per chain")
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument("--out", type=folder, default="results/function_space")
    parser.add_argument("--quick", action="store_true", help="a few minutes on 2 cores")
    parser.add_argument("--check", action="store_true", help="4 standard errors + C / width")
    options = parser.parse_args(arguments)
    options.data = options.data or ["diabetes", "digits"]
    options.widths = options.widths or (
        [64, 512] if options.quick else [64, 128, 256, 512, 1024, 2048, 4096, 8192]
    )
    options.samples = options.samples or (150 if options.quick else 1000)
    if options.check and len(set(options.widths)) < 2:
        parser.error("--check fits C at the widths below the largest: give two --widths at least")
    return options


def setting(name: str, options: argparse.Namespace) -> Row:
    """What runs on these data are measured in."""
    return {
        "depth": options.depth,
        "n_train": options.n_train or N_TRAIN[name],
        "noise_scale": options.noise_scale or NOISE[name],
        "samples": options.samples,
        "seed": options.seed,
    }


def read(path: Path, columns: Sequence[str]) -> list[Row]:
    """Rows of an earlier run."""
    whole_columns = (
        "width", "depth", "n_train", "samples", "seed", "draws", "eval_point", "output",
    )  # fmt: skip
    return read_csv(path, columns, whole_columns, ("data", "regime"))


def points_of(found: TheoryComparison, where: Row) -> list[Row]:
    """A row for every evaluation point and output, of what ``agreement`` needs."""
    records = found.points.reset_index()[list(MOMENTS)].to_dict("records")
    return [{**where, **record} for record in records]


def kept_points(points: list[Row], name: str, options: argparse.Namespace) -> dict[int, Any]:
    """The comparisons' ``points`` at every width, as they were written."""
    found = {}
    for width in options.widths:
        where = {"data": name, "width": width, **setting(name, options)}
        of_width = pd.DataFrame([p for p in points if agrees(p, where)])
        found[width] = SimpleNamespace(points=of_width)
    return found


def measure(data: Data, width: int, noise: float, options) -> tuple[Row, TheoryComparison]:
    """A run at one width, what was expected of it, and its comparison with theory."""
    model, pair = bnnsample.models.mlp(options.depth), (data.x, data.y)
    expected = bnnsample.will_it_help(model, pair, width, Gaussian(noise), seed=options.seed)
    start = time.perf_counter()
    result = bnnsample.run(
        model,
        pair,
        width=width,
        x_eval=data.x_eval,
        likelihood=Gaussian(noise),
        num_samples=options.samples,
        seed=options.seed,
        progress=False,
    )
    seconds = time.perf_counter() - start
    found = result.compare_to_theory(seed=options.seed)
    points, stats = found.points, result.record.sample_stats
    row = {
        "data": data.name,
        "width": width,
        "w2": float((points.wasserstein2 / points.theory_std).median()),
        "w2_noise": float((points.wasserstein2_noise / points.theory_std).median()),
        **{f"{q}_difference": rms(points, q) for q in ("mean", "variance")},
        "largest_standard_error": float(
            points[["mean_error", "variance_error"]].abs().max(axis=None)
        ),
        "kl_function": found.kl_function.value,
        "kl_function_error": found.kl_function.standard_error,
        "kl_observation": found.kl_observation.value,
        "kl_observation_error": found.kl_observation.standard_error,
        "regime": expected.regime,
        "potential_std": expected.potential_std,
        "effective_dimension": expected.effective_dimension,
        "step_size": result.adapted["step_size"],
        "step_size_expected": expected.step_size,
        "acceptance": float(stats["acceptance_rate"].mean()),
        "acceptance_expected": expected.acceptance_rate,
        "draws": found.num_draws,
        "ess_least": float(points.ess.min()),
        "seconds": seconds,
    }
    for (kernel, at), distances in found.kernels.iterrows():
        row[f"{kernel}_{at}"] = distances.relative_frobenius
        row[f"{kernel}_{at}_alignment"] = distances.alignment
        row[f"{kernel}_{at}_centred_alignment"] = distances.centred_alignment
    return row, found


def rms(points, quantity: str) -> float:
    """Of the differences sampled minus theory."""
    differences = points[f"{quantity}_error"] * points[f"{quantity}_standard_error"]
    return float(np.sqrt(np.mean(differences**2)))


def agreement(found: Mapping[int, Any]) -> Agreement:
    """The largest width against 4 standard errors plus ``C / width``, C from the widths below.

    ``difference = C / width`` is fitted by weighted least squares for each mean and variance.
    """
    *fitted, last = sorted(found)
    worst: list[np.ndarray] = []
    for quantity in ("mean", "variance"):
        z, error = f"{quantity}_error", f"{quantity}_standard_error"
        tables = [found[width].points for width in fitted]
        errors = np.stack([table[error] for table in tables])
        differences = np.stack([table[z] for table in tables]) * errors
        inverse = 1 / np.asarray(fitted, float)[:, None]
        weights = errors**-2.0
        C = np.sum(weights * inverse * differences, 0) / np.sum(weights * inverse**2, 0)
        at_last = found[last].points
        allowed = np.abs(C) / last
        worst.append((np.abs(at_last[z] * at_last[error]) - allowed) / at_last[error])
    excess = np.concatenate(worst)
    return Agreement(excess.size, int(np.sum(excess > 4)), float(excess.max()))


def bands(options):
    """Predictive bands of a small one-dimensional example, BNN over Gaussian process."""
    rng = np.random.default_rng(options.seed)
    x = np.sort(rng.uniform(-2, 2, 12)).astype(np.float32)
    y = (np.sin(2 * x) + 0.1 * rng.normal(size=12)).astype(np.float32)
    result = bnnsample.run(
        bnnsample.models.mlp(1, bias_std=1.0),
        (x, y),
        width=64,
        likelihood=Gaussian(0.1),
        x_eval=np.linspace(-3, 3, 121, dtype=np.float32),
        num_samples=options.samples,
        seed=options.seed,
        progress=False,
    )
    return result.compare_to_theory(num_kernel_draws=0).plot()


def table_line(row: Row) -> str:
    """One printed line."""
    kl = "none" if row["kl_function"] is None else f"{row['kl_function']:.2g}"
    return (
        f"{row['data']:9s} width {row['width']:6d}  W2 {row['w2']:.4f} "
        f"(noise {row['w2_noise']:.4f})  KL {kl}  "
        f"NNGP {row['nngp_prior']:.3f} -> {row['nngp_posterior']:.3f}  "
        f"NTK {row['ntk_prior']:.3f} -> {row['ntk_posterior']:.3f}  step {row['step_size']:.3f} "
        f"(expected {row['step_size_expected']:.3f})  {row['regime']}"
    )


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", False)
    main()
