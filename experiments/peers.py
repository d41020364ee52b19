"""One network, one likelihood, one gradient budget: every peer in one run.

A network with a hidden GELU layer as regression with known noise (digits and breast cancer as
shifted one-hot regression), sampled or fitted by

- ours: collapsed coordinates and infinite HMC, all defaults. Its gradients, warm-up included, are
  the budget of the chains below;
- ours under the unit-wise kernel, of whose passes through the network each counts as a gradient;
- HMC, NUTS and MCLMC (with its tuner) of BlackJAX in standard coordinates, NUTS of NumPyro. MCLMC
  takes every proposal, so its draws are of the posterior up to the error of its step size;
- the repriorisation paper's own (Hron et al. 2022): underdamped Langevin in repriorised
  coordinates;
- preconditioned Crank-Nicolson in repriorised coordinates (Pezzetti et al. 2024, arXiv:2408.14325),
  of whose steps each counts as a gradient, though it takes none;
- a deep ensemble of five, the last-layer Laplace of its first member, and the NNGP: no samplers of
  this posterior, their predictions are compared;
- with ``--peer-python``, for each interpreter given: sklearn-contrib-bde where it has that (chains
  of microcanonical Langevin after training, of a model of its own with learned noise, one output
  only), or the NNGP of neural-tangents.

We found, at widths 256 to 2048 on three data sets, ours first per gradient and per second in eleven
of twelve cells, 1.2 to 13 times the next sampler of the same posterior per gradient; on diabetes at
width 2048 repriorised preconditioned Crank-Nicolson is ahead of ours as it is called by default.

    python -m experiments.peers --quick
    python -m experiments.peers --widths 256 512 1024 2048
    python -m experiments.peers --quick --widths 256 1024 --chains-only
    python -m experiments.peers --quick --peer-python BDE/bin/python --peer-python NT/bin/python

``--quick`` cuts the trees of NUTS, BlackJAX's and NumPyro's, at 2^8 gradients.

Effective samples are min(bulk ESS of q, bulk ESS of (q - mean)^2) of the posterior-mean function
E[f | h] at 32 held-out points, the median over points, of the recorded draws; R-hat is the largest.
Time to R-hat < 1.01 is warm-up and sampling up to the first draw from which on it stays there.
Predictions are scored on the same points: negative log predictive density, RMSE, and the share of
targets within central intervals of 90%. A data set and width of which the CSV of ``--out`` has all
rows is not measured again. Writes a CSV, a PNG and a JSON of settings and versions.
"""

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from scipy.special import logsumexp

from bnnsample.results import effective_sample_size, r_hat
from experiments import _foreign, _peers, _tasks
from experiments._data import load
from experiments._options import folder, whole
from experiments._peers import Found, Task
from experiments._plot import save
from experiments._sweep import Sweep

Row = dict[str, Any]
COLUMNS = (
    "data", "width", "method", "ess_per_gradient", "ess_per_second", "r_hat", "time_to_r_hat",
    "nll", "rmse", "coverage", "gradients", "seconds",
)  # fmt: skip
NOISE = {"diabetes": 0.3, "digits": 0.1, "breast_cancer": 0.1}
N_TRAIN = {"diabetes": 64, "digits": 128, "breast_cancer": 128}
OURS = "ours"
UNITWISE = "ours, unit-wise"
# Of the library's own run: coordinates and kernels.
CHAINS = {
    UNITWISE: {"coordinates": "collapsed", "kernel": "unitwise"},
    "BlackJAX HMC": {"coordinates": "standard", "kernel": "hmc"},
    "BlackJAX NUTS": {"coordinates": "standard", "kernel": "nuts"},
    "BlackJAX MCLMC (not exact)": {"coordinates": "standard", "kernel": "mclmc"},
    "repriorised Langevin": {"coordinates": "repriorised", "kernel": "ghmc"},
    "repriorised pCN": {"coordinates": "repriorised", "kernel": "pcn"},
}
NUMPYRO = "NumPyro NUTS"
ENSEMBLE, LAPLACE, NNGP = "deep ensemble", "last-layer Laplace", "NNGP"
# The peer of another environment that has chains, and predicts one target alone.
ONE_OUTPUT = "sklearn-contrib-bde"
SAMPLERS = (OURS, *CHAINS, NUMPYRO)
METHODS = (*SAMPLERS, ENSEMBLE, LAPLACE, NNGP)
CONVERGED, FEWEST_DRAWS, NUM_PREFIXES = 1.01, 20, 40
INTERVAL = 0.9


def main(arguments: list[str] | None = None) -> list[Row]:
    """Run the experiment from the command line; returns the table's rows."""
    options = parse(arguments)
    sweep = sweep_of(options)
    asked = set(SAMPLERS if options.chains_only else METHODS)
    for cell in sweep.own():
        done = sweep.done(cell)
        if asked - set(done):
            # Those of one cell are measured side by side, in one run.
            sweep.forget(cell)
            done = {}
        for row in measure(*cell, options, done):
            sweep.keep(row, line(row))
    if sweep.is_whole:
        sweep.conclude(f"{table(sweep.rows)}\n\n{verdict(sweep.rows)}", plot)
    return sweep.rows


def sweep_of(options: argparse.Namespace) -> Sweep:
    """What is kept in ``options.out``."""
    return Sweep(
        "peers", options, columns=COLUMNS, whole=("width", "gradients"), cell=("data", "width"),
        cells=[(name, width) for name in options.data for width in options.widths],
        settings=("n_train", "warmup", "draws", "max_steps", "tree_depth", "seed"),
    )  # fmt: skip


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Command-line options."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", choices=sorted(NOISE), default=list(NOISE))
    parser.add_argument("--widths", nargs="+", type=whole(1), default=None)
    parser.add_argument("--n-train", type=whole(1), default=None)
    parser.add_argument("--warmup", type=whole(10), default=None, help="steps of ours per chain")
    parser.add_argument("--draws", type=whole(20), default=None, help="of ours per chain")
    parser.add_argument("--max-steps", type=whole(20), default=None, help="of the ensemble")
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument("--out", type=folder, default="results/peers")
    parser.add_argument("--quick", action="store_true", help="20 minutes on 2 cores")
    parser.add_argument(
        "--chains-only", action="store_true", help="leave out what is no sampler of the posterior"
    )
    parser.add_argument(
        "--peer-python", action="append", default=[], metavar="PYTHON",
        help="an interpreter with sklearn-contrib-bde or neural-tangents; may be repeated",
    )  # fmt: skip
    _tasks.add_options(parser)
    options = parser.parse_args(arguments)
    _tasks.check(parser, options)
    try:
        options.peer_python = {python: _foreign.name(python) for python in options.peer_python}
    except _foreign.PeerError as error:
        parser.error(str(error))
    others = [p for p in options.peer_python.values() if not p.startswith(ONE_OUTPUT)]
    if options.chains_only and others:
        parser.error(f"--chains-only leaves out {', '.join(others)}, no sampler of the posterior")
    options.widths = options.widths or ([512] if options.quick else [256, 512, 1024, 2048])
    options.warmup = options.warmup or (60 if options.quick else 500)
    options.draws = options.draws or (120 if options.quick else 1000)
    options.tree_depth = 8 if options.quick else 10
    options.max_steps = options.max_steps or (200 if options.quick else 2000)
    return options


def measure(
    name: str, width: int, options: argparse.Namespace, done: dict[str, Row]
) -> Iterator[Row]:
    """A row for every peer that is not done: none of them, or only those of other environments."""
    data = load(name, options.n_train or N_TRAIN[name], options.seed)
    task = Task(
        data, width, NOISE[name], options.warmup, options.draws, options.seed, options.tree_depth
    )
    if not done:
        for row in measure_own(task, options):
            done = {**done, row["method"]: row}
            yield row
    for python, peer in options.peer_python.items():
        if peer in done or (peer.startswith(ONE_OUTPUT) and data.y.shape[1] > 1):
            continue
        yield row_of(peer, task, _foreign.find(python, task, done[OURS]["gradients"]))


def measure_own(task: Task, options: argparse.Namespace) -> Iterator[Row]:
    """A row for every one asked for of this environment, ours first: it sets the budget."""
    found = _peers.ours(task)
    budget = found.gradients
    yield row_of(OURS, task, found)
    for method, settings in CHAINS.items():
        nuts = settings["kernel"] == "nuts"
        trees = {"kernel_options": {"max_num_doublings": task.tree_depth}} if nuts else {}
        found = _peers.chains(task, budget, **settings, **trees)
        if nuts:
            per_draw = found.sampling_gradients / len(found.f)
        yield row_of(method, task, found)
    yield row_of(NUMPYRO, task, _peers.numpyro_nuts(task, budget, per_draw))
    if options.chains_only:
        return
    ensemble, networks = _peers.deep_ensemble(task, options.max_steps)
    yield row_of(ENSEMBLE, task, ensemble)
    yield row_of(LAPLACE, task, _peers.last_layer_laplace(task, ensemble, networks))
    yield row_of(NNGP, task, _peers.nngp(task))


def row_of(method: str, task: Task, found: Found) -> Row:
    """Effective samples, convergence and scores of what a peer found."""
    mixing = dict.fromkeys(
        ("ess_per_gradient", "ess_per_second", "r_hat", "time_to_r_hat"), math.nan
    )
    if found.f_mean is not None:
        ess = float(np.median(effective_sample_size(found.f_mean)))
        mixing = {
            "ess_per_gradient": ess / found.sampling_gradients,
            "ess_per_second": ess / found.seconds,
            "r_hat": float(np.max(r_hat(found.f_mean))),
            "time_to_r_hat": time_to_r_hat(found),
        }
    return {
        "data": task.data.name,
        "width": task.width,
        "method": method,
        **mixing,
        **scores(
            found.f, task.data.y_eval, task.noise if found.noise is None else found.noise, task.seed
        ),
        "gradients": found.gradients,
        "seconds": found.warmup_seconds + found.seconds,
    }


def time_to_r_hat(found: Found) -> float:
    """Seconds to the first of growing shares of the draws from which on R-hat stays below 1.01.

    Infinite: it is above it with all of them.
    """
    assert found.f_mean is not None
    total = found.f_mean.shape[1]
    first = min(FEWEST_DRAWS, total)
    counts = np.unique(np.geomspace(first, total, NUM_PREFIXES).round().astype(int))
    reached = math.inf
    for count in counts[::-1]:
        if np.max(r_hat(found.f_mean[:, :count])) >= CONVERGED:
            break
        reached = found.warmup_seconds + found.seconds * count / total
    return float(reached)


def scores(f: np.ndarray, y: np.ndarray, noise: float | np.ndarray, seed: int) -> dict[str, float]:
    """Of the mixture of N(f, noise^2) over draws ``[s, m, d]``: means over targets ``[m, d]``."""
    f = f.astype(np.float64)
    noise = np.broadcast_to(noise, f.shape)
    log_density = -(((y - f) / noise) ** 2) / 2 - np.log(noise * math.sqrt(2 * math.pi))
    nll = math.log(len(f)) - logsumexp(log_density, axis=0)
    # As many observations of each draw as make some thousands.
    repeats = -(-4000 // len(f))
    repeated, spread = np.repeat(f, repeats, axis=0), np.repeat(noise, repeats, axis=0)
    observed = repeated + spread * np.random.default_rng(seed).normal(size=repeated.shape)
    low, high = np.quantile(observed, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2], axis=0)
    return {
        "nll": float(nll.mean()),
        "rmse": float(np.sqrt(np.mean((f.mean(axis=0) - y) ** 2))),
        "coverage": float(np.mean((low <= y) & (y <= high))),
    }


def line(row: Row) -> str:
    """One printed line."""
    return (
        f"{row['data']:13s} width {row['width']:5d}  {row['method']:27s} ESS/gradient "
        f"{row['ess_per_gradient']:.4f}  ESS/s {row['ess_per_second']:8.1f}  R-hat "
        f"{row['r_hat']:.3f}  NLL {row['nll']:7.3f}  RMSE {row['rmse']:.3f}  "
        f"{row['gradients']:,} gradients, {row['seconds']:.0f} s"
    )


def table(rows: list[Row]) -> str:
    """As Markdown."""
    lines = [
        "| data | width | method | ESS per gradient | ESS per second | R-hat | s to R-hat < 1.01 | "
        "NLL | RMSE | within 90% |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        mixing = "| | | |"
        if not math.isnan(row["ess_per_gradient"]):
            reached = row["time_to_r_hat"]
            mixing = (
                f"| {row['ess_per_gradient']:.4f} | {row['ess_per_second']:.1f} | "
                f"{row['r_hat']:.3f} | {'not' if math.isinf(reached) else f'{reached:.1f}'}"
            )
        lines.append(
            f"| {row['data']} | {row['width']} | {row['method']} {mixing} | {row['nll']:.3f} | "
            f"{row['rmse']:.3f} | {row['coverage']:.0%} |"
        )
    return "\n".join(lines)


def verdict(rows: list[Row]) -> str:
    """Where ours, as called by default, is not the best of the chains."""
    lines = []
    for name, width in dict.fromkeys((row["data"], row["width"]) for row in rows):
        own = {r["method"]: r for r in rows if (r["data"], r["width"]) == (name, width)}
        for column, what in (
            ("ess_per_gradient", "effective samples per gradient"),
            ("ess_per_second", "effective samples per second"),
        ):
            peers = {*CHAINS, NUMPYRO} - {UNITWISE}
            others = {m: r[column] for m, r in own.items() if m in peers}
            best = max(others, key=others.__getitem__)
            ratio = own[OURS][column] / others[best]
            word = "ours is best" if ratio >= 1 else f"{best} is better"
            lines.append(
                f"{name}, width {width}, {what}: {word}; ours over the best other ({best}): "
                f"{ratio:.2f}"
            )
    return "\n".join(lines)


def plot(rows: list[Row], path: Path) -> None:
    """Effective samples per gradient and per second, and densities, a row for each data set."""
    names = list(dict.fromkeys(row["data"] for row in rows))
    figure = Figure(figsize=(12, 3.2 * len(names)), layout="constrained")
    panels = (
        ("ess_per_gradient", "ESS per gradient"),
        ("ess_per_second", "ESS per second"),
        ("nll", "NLL"),
    )
    axes = figure.subplots(len(names), len(panels), squeeze=False)
    for i, name in enumerate(names):
        for axis, (column, title) in zip(axes[i], panels, strict=True):
            shown = METHODS if column == "nll" else SAMPLERS
            for row in rows:
                if row["data"] == name and row["method"] in shown:
                    colour = "#0b6e4f" if row["method"] in (OURS, UNITWISE) else "#b23a48"
                    at = shown.index(row["method"])
                    axis.plot(row[column], at, "o", color=colour, ms=3 + np.log2(row["width"]) / 3)
            axis.set_yticks(range(len(shown)), shown, fontsize=8)
            axis.invert_yaxis()
            axis.grid(True, axis="x", alpha=0.2)
            if column != "nll":
                axis.set_xscale("log")
                axis.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
                axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
                axis.xaxis.set_minor_formatter(NullFormatter())
            axis.set_title(f"{name}: {title}", fontsize=9)
    save(figure, path)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", False)
    main()
