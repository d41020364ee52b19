"""How good predictions are beside a deep ensemble and a chain in standard coordinates.

Regression with unknown noise on diabetes, labels on breast cancer (Bernoulli) and digits (softmax,
500 training points), random splits. Three ways to use one architecture, a network of one hidden
GELU layer. Its readout scale is 1, and unknown to the chains where numbers are predicted:

- ours: ``bnnsample.run`` as it is called by default;
- the same posterior in standard coordinates, under infinite HMC and under HMC, each adapting as it
  does by default, with no fewer gradients in all than ours, warm-up included;
- a deep ensemble of five (Lakshminarayanan et al. 2017), its learning rate, weight penalty and
  number of steps chosen by cross-validation and then trained on all training points.

Labels of curated data are surer than a softmax of prior functions expects (Wenzel et al. 2020,
Aitchison 2021), so the likelihood of labels has a temperature. Posteriors at a few temperatures,
and under two prior scales of the hidden weights, are mixed, as the ensemble mixes its members, by
weights from the ensemble's folds (``_stacking``); standard coordinates take the same mixture, with
no fewer gradients in each of its parts. Regression's unknown scales are in its place. Gradients are
those of the runs that are scored, the ensemble's of all it tried.

Scores are of the test points: mean negative log predictive density, root mean square error or
accuracy, expected calibration error of labels; numbers are standardised by the training points.

    python -m experiments.predictive_quality --quick
    python -m experiments.predictive_quality --splits 5 --width 512
    python -m experiments.predictive_quality --quick --skip-standard

Rows already in the CSV of ``--out`` are not measured again. Writes a CSV, a PNG and a JSON of
settings and versions.

We found no difference between ours and the ensemble that five splits could show: its NLL is above
ours by .009 +- .009 on diabetes, .001 +- .006 on breast cancer and -.002 +- .003 on digits, at
width 128. Standard coordinates come within .002 of ours, as they should with tens of thousands of
gradients: the posterior is one. ``predictive_budget`` asks how soon.
"""

import argparse
import functools
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import numpyro.distributions as dist
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

import bnnsample
from bnnsample.likelihoods import Bernoulli, Categorical, Gaussian, Likelihood
from bnnsample.results._score import calibration_error
from experiments import _ensemble, _tasks
from experiments._budget import gradients_of, run_of_budget
from experiments._options import folder, whole
from experiments._plot import save
from experiments._splits import mean_and_error, with_error
from experiments._stacking import bootstrap_stacked
from experiments._sweep import Sweep

Row = dict[str, Any]
COLUMNS = (
    "data", "split", "method", "nll", "error", "calibration", "gradients", "seconds", "setting",
)  # fmt: skip
LOADERS = {"diabetes": load_diabetes, "breast_cancer": load_breast_cancer, "digits": load_digits}
LIKELIHOODS: dict[str, type[Likelihood]] = {
    "diabetes": Gaussian,
    "breast_cancer": Bernoulli,
    "digits": Categorical,
}
TEST_SHARE, MOST_TRAINING = 0.2, 500
OURS, ENSEMBLE = "ours", "deep ensemble"
# Kernels in standard coordinates.
STANDARD = {
    "standard coordinates": "infinite_hmc",
    "standard coordinates, HMC": "hmc",
}
METHODS = (OURS, *STANDARD, ENSEMBLE)
# Of the scale of numbers' readout: a median of 3.4, and 95% between 0.2 and 11.
READOUT_PRIOR = dist.HalfNormal(5.0)


class Choice(NamedTuple):
    """What tells the posteriors of a mixture apart: the likelihood's temperature, hidden scale."""

    temperature: float = 1.0
    weight_std: float = 2.0**0.5


DEFAULT = Choice()
# Of labels. A run to weigh one takes this share of the warm-up and of the draws, and one of less
# weight than the least is left out.
CHOICES = tuple(
    Choice(temperature, weight_std)
    for weight_std in (2.0**0.5, 2.0**1.5)
    for temperature in (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
)
TRIAL_SHARE, LEAST_WEIGHT = 0.5, 0.05
# What the rows of ours depend on beside the options.
MIXTURE = {
    "choices": [list(choice) for choice in CHOICES],
    "weights": "mean of stacking over the Bayesian bootstrap",
    "trial_share": TRIAL_SHARE,
    "least_weight": LEAST_WEIGHT,
}


class Part(NamedTuple):
    """Of a mixture of posteriors: a run and its weight."""

    choice: Choice
    weight: float
    result: bnnsample.Result


class Split(NamedTuple):
    """Standardised inputs; targets as the user has them, regression's standardised."""

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def main(arguments: list[str] | None = None) -> list[Row]:
    """Run the experiment from the command line; returns the table's rows."""
    options = parse(arguments)
    sweep = Sweep(
        "predictive_quality", options, columns=COLUMNS, whole=("split", "gradients"),
        cell=("data", "split"),
        cells=[(name, split) for name in options.data for split in range(options.splits)],
        settings=("width", "draws", "warmup", "members", "most_training", "max_steps", "mixture"),
    )  # fmt: skip
    for name, split in sweep.own():
        for row in measure(name, split, options, sweep.done((name, split))):
            sweep.keep(row, table_line(row))
    if sweep.is_whole:
        sweep.conclude(table(sweep.rows), plot)
    return sweep.rows


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Command-line options."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", choices=sorted(LOADERS), default=list(LOADERS))
    parser.add_argument("--splits", type=whole(1), default=None)
    parser.add_argument("--width", type=whole(1), default=None)
    parser.add_argument("--draws", type=whole(10), default=None, help="per chain")
    parser.add_argument("--warmup", type=whole(10), default=None, help="steps per chain")
    parser.add_argument("--members", type=whole(1), default=5)
    parser.add_argument("--most-training", type=whole(10), default=MOST_TRAINING)
    parser.add_argument("--max-steps", type=whole(_ensemble.CHECK_EVERY), default=2000)
    parser.add_argument("--out", type=folder, default="results/predictive_quality")
    parser.add_argument("--quick", action="store_true", help="a few minutes on 2 cores")
    parser.add_argument("--skip-standard", action="store_true", help="no standard coordinates")
    _tasks.add_options(parser)
    options = parser.parse_args(arguments)
    _tasks.check(parser, options)
    options.splits = options.splits or (2 if options.quick else 5)
    options.width = options.width or (128 if options.quick else 512)
    options.draws = options.draws or (100 if options.quick else 250)
    options.warmup = options.warmup or (100 if options.quick else 200)
    options.mixture = MIXTURE
    return options


def load(name: str, seed: int, most_training: int) -> Split:
    """A random split; inputs and numbers standardised by its training points."""
    x, y = LOADERS[name](return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(x))
    num_test = round(TEST_SHARE * len(x))
    test, train = order[:num_test], order[num_test : num_test + most_training]
    if name != "diabetes" and set(y[train]) != set(y):
        raise SystemExit(f"{name}: {len(train)} training points do not hold every class; take more")
    spread = x[train].std(axis=0)
    # Some pixels are never inked.
    x = ((x - x[train].mean(axis=0)) / np.where(spread > 0, spread, 1)).astype(np.float32)
    if name == "diabetes":
        y = ((y - y[train].mean()) / y[train].std()).astype(np.float32)
    return Split(x[train], y[train], x[test], y[test])


def runner(name: str, split: Split, seed: int, width: int) -> Callable[..., bnnsample.Result]:
    """``run(chosen, **settings)``: on the training points that are chosen, all by default."""
    readout = READOUT_PRIOR if name == "diabetes" else 1.0

    def run(
        chosen: slice | np.ndarray = slice(None), choice: Choice = DEFAULT, **settings: Any
    ) -> bnnsample.Result:
        scales = {"weight_std": choice.weight_std, "readout_weight_std": readout}
        return bnnsample.run(
            bnnsample.models.mlp(1, "gelu", **scales),
            (split.x[chosen], split.y[chosen]),
            width=width,
            likelihood=LIKELIHOODS[name](),
            temperature=choice.temperature,
            tempering="likelihood",
            seed=seed,
            x_eval=split.x_test[:16],
            progress=False,
            **settings,
        )

    return run


def measure(
    name: str, seed: int, options: argparse.Namespace, done: dict[str, Row]
) -> Iterator[Row]:
    """All methods on one split that have no row yet, ours first: it sets the others' budget."""
    split = load(name, seed, options.most_training)
    found = dict(done)
    cell = {"data": name, "split": seed}

    run = runner(name, split, seed, options.width)
    for method in METHODS:
        if method in found or (method in STANDARD and options.skip_standard):
            continue
        if method == OURS:
            length = {"num_warmup": options.warmup, "num_samples": options.draws}
            weights = {DEFAULT: 1.0} if name == "diabetes" else weigh(run, split, seed, length)
            parts = [Part(c, w, run(choice=c, **length)) for c, w in weights.items()]
            row = of_parts(method, parts, split)
        elif method == ENSEMBLE:
            row = of_ensemble(name, split, seed, options)
        else:
            parts = []
            for part in json.loads(found[OURS]["setting"]):
                choice = Choice(*(part[field] for field in Choice._fields))
                standard = functools.partial(
                    run, choice=choice, coordinates="standard", kernel=STANDARD[method]
                )
                result = run_of_budget(standard, part["gradients"])
                parts.append(Part(choice, part["weight"], result))
            row = of_parts(method, parts, split)
        found[method] = {**cell, **row}
        yield found[method]


def weigh(
    run: Callable[..., bnnsample.Result], split: Split, seed: int, length: dict[str, int]
) -> dict[Choice, float]:
    """Weights of posteriors, by short runs' probabilities of the labels of held-out points."""
    trial = {name: math.ceil(TRIAL_SHARE * steps) for name, steps in length.items()}
    density = np.empty((len(split.x), len(CHOICES)))
    folds = _ensemble.folds(len(split.x), seed)
    if any(set(split.y[rest]) != set(split.y) for _, rest in folds):
        raise SystemExit(
            f"without a fold that is held out, {len(split.x)} training points do not hold every "
            "class; take more"
        )
    for held, rest in folds:
        for column, choice in enumerate(CHOICES):
            result = run(rest, choice, **trial)
            p = probabilities(result.predict(split.x[held]).mean)
            density[held, column] = p[np.arange(len(held)), split.y[held]]
    # Of a point that no choice foretold, float32 has zeros.
    weights = bootstrap_stacked(np.maximum(density, np.finfo(np.float32).tiny), seed)
    weights[weights < LEAST_WEIGHT] = 0
    weights /= weights.sum()
    return {choice: float(w) for choice, w in zip(CHOICES, weights, strict=True) if w}


def of_parts(method: str, parts: list[Part], split: Split) -> Row:
    """A row from the mixture of finished runs."""
    if split.y.dtype.kind == "f":
        (part,) = parts
        found = part.result.score(split.x_test, split.y_test)
        scores = {"nll": found["nll"], "error": found["rmse"], "calibration": float("nan")}
    else:
        at_test = [p.weight * probabilities(p.result.predict(split.x_test).mean) for p in parts]
        scores = of_labels(np.sum(at_test, axis=0), split.y_test)
    settings = [
        {
            **part.choice._asdict(),
            "weight": part.weight,
            "gradients": gradients_of(part.result),
            **{name: v for name, v in part.result.adapted.items() if np.ndim(v) == 0},
        }
        for part in parts
    ]
    return {
        "method": method,
        **scores,
        "gradients": sum(setting["gradients"] for setting in settings),
        "seconds": sum(p.result.warmup_seconds + p.result.sampling_seconds for p in parts),
        "setting": json.dumps(settings),
    }


def probabilities(mean: np.ndarray) -> np.ndarray:
    """Of every class ``[m, k]``, from the means of 0/1 labels ``[m]`` or of classes."""
    return mean if mean.ndim == 2 else np.stack([1 - mean, mean], axis=1)


def of_labels(p: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Scores of probabilities ``[m, k]`` of classes."""
    correct = p.argmax(axis=1) == labels
    return {
        "nll": float(-np.log(p[np.arange(len(p)), labels]).mean()),
        "error": float(1 - correct.mean()),
        "calibration": calibration_error(p.max(axis=1), correct),
    }


def of_ensemble(name: str, split: Split, seed: int, options: argparse.Namespace) -> Row:
    """A row from a deep ensemble."""
    started = time.perf_counter()
    model = bnnsample.models.mlp(1, "gelu")
    likelihood, y, _ = LIKELIHOODS[name]().prepared(split.y, len(split.y))
    _, y_test, _ = likelihood.prepared(split.y_test, len(split.y_test))
    y, y_test = y.astype(np.float32), y_test.astype(np.float32)
    ensemble = _ensemble.train(
        model, likelihood, options.width, (split.x, y), options.members, options.max_steps, seed
    )
    seconds = time.perf_counter() - started
    mean = _ensemble.mean(ensemble, model, likelihood, split.x_test)
    if name == "diabetes":
        density = _ensemble.log_density(ensemble, model, likelihood, split.x_test, y_test)
        error = float(np.sqrt(np.mean((mean - y_test) ** 2)))
        scores = {"nll": float(-density.mean()), "error": error, "calibration": float("nan")}
    else:
        scores = of_labels(probabilities(mean if name == "digits" else mean[:, 0]), split.y_test)
    chosen = ("learning_rate", "penalty", "num_steps")
    return {
        "method": ENSEMBLE,
        **scores,
        "gradients": ensemble.num_gradients,
        "seconds": seconds,
        "setting": json.dumps({key: getattr(ensemble, key) for key in chosen}),
    }


def table(rows: list[Row]) -> str:
    """Means over splits and their standard errors; differences from ours in pairs."""
    lines = [
        "| data | method | NLL | NLL above ours | RMSE or error rate | calibration error |",
        "|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(row["data"] for row in rows):
        ours = _column(rows, name, OURS, "nll")
        for method in _methods(rows, name):
            nll, error, calibration = (
                _column(rows, name, method, c) for c in ("nll", "error", "calibration")
            )
            above = "" if method == OURS else _with_error(nll - ours)
            shown = "" if np.isnan(calibration).any() else _with_error(calibration)
            lines.append(
                f"| {name} | {method} | {_with_error(nll)} | {above} | {_with_error(error)} | "
                f"{shown} |"
            )
    return "\n".join(lines)


def _methods(rows: list[Row], name: str) -> list[str]:
    """Those measured on every split of a data set: ``--skip-standard`` leaves some out."""
    splits = {
        m: [r["split"] for r in rows if (r["data"], r["method"]) == (name, m)] for m in METHODS
    }
    return [method for method in METHODS if set(splits[method]) == set(splits[OURS])]


def _column(rows: list[Row], name: str, method: str, column: str) -> np.ndarray:
    own = [r for r in rows if r["data"] == name and r["method"] == method]
    return np.asarray([r[column] for r in sorted(own, key=lambda r: r["split"])])


def _with_error(values: np.ndarray) -> str:
    return with_error(*mean_and_error(values), ".3f")


def table_line(row: Row) -> str:
    """One printed line."""
    return (
        f"{row['data']:13s} split {row['split']}  {row['method']:21s} NLL {row['nll']:.4f}  "
        f"error {row['error']:.4f}  calibration {row['calibration']:.4f}  "
        f"{row['gradients']:,} gradients, {row['seconds']:.0f} s"
    )


def plot(rows: list[Row], path: Path) -> None:
    """Negative log predictive densities, a panel for every data set, a point for every split."""
    names = list(dict.fromkeys(row["data"] for row in rows))
    figure = Figure(figsize=(3.6 * len(names), 3.2), layout="constrained")
    for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        methods = _methods(rows, name)
        values = np.stack([_column(rows, name, method, "nll") for method in methods])
        axis.plot(range(len(methods)), values, color="grey", lw=0.7, alpha=0.6)
        axis.plot(range(len(methods)), values, "o", color="#0b6e4f", ms=4)
        names_of = [method.replace(" ", "\n") for method in methods]
        axis.set_xticks(range(len(methods)), names_of, fontsize=8)
        axis.set_title(name, fontsize=10)
        axis.grid(True, axis="y", alpha=0.2)
    figure.axes[0].set_ylabel("negative log predictive density")
    save(figure, path)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", False)
    main()
