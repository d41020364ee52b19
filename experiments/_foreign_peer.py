"""Peers that need an environment of their own, run by its interpreter.

    PYTHON -I _foreign_peer.py                        # says which peer it is
    PYTHON -I _foreign_peer.py TASK.npz FOUND.npz

``experiments._foreign`` writes the task and reads what was found. Which peer it is follows from
what the interpreter has: sklearn-contrib-bde (Bayesian deep ensembles by microcanonical Langevin,
Sommer et al. 2025) or google/neural-tangents (the NNGP). Nothing of this library is imported.
"""

import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, Any]
# Of a chain's gradients: training, and warm-up. A step of its integrator takes two.
TRAINING, WARMUP = 1 / 3, 1 / 3
GRADIENTS_PER_STEP = 2


def main(paths: list[str]) -> None:
    """Say which peer this is, or find what it finds."""
    package = installed()
    if not paths:
        print(f"{'NNGP of ' if package == 'neural-tangents' else ''}{package} {version(package)}")
        return
    source, target = map(Path, paths)
    found = PEERS[package](dict(np.load(source)))
    with target.open("wb") as file:
        np.savez(file, **found)


def installed() -> str:
    """The peer that this interpreter has."""
    for package in PEERS:
        try:
            version(package)
        except PackageNotFoundError:
            continue
        return package
    sys.exit(f"it has none of {', '.join(PEERS)}")


def bayesian_deep_ensemble(task: Arrays) -> Arrays:
    """Its own model: every weight N(0, 1), and noise of each point that the network learns.

    A chain for each of ours, each with the same gradients, a third of them training.
    """
    from bde import BdeRegressor  # noqa: PLC0415 - one of the peers is not there

    chains, each = int(task["num_chains"]), int(task["budget"]) // int(task["num_chains"])
    steps = (each - int(TRAINING * each)) // GRADIENTS_PER_STEP
    warmup = int(WARMUP * each) // GRADIENTS_PER_STEP
    settings = {
        "n_members": chains, "hidden_layers": [int(task["width"])], "activation": "gelu",
        "epochs": int(TRAINING * each), "validation_split": None, "warmup_steps": warmup,
        "n_samples": steps - warmup, "n_thinning": 1, "seed": int(task["seed"]),
    }  # fmt: skip
    start = time.perf_counter()
    model = BdeRegressor(**settings).fit(task["x"], task["y"][:, 0])
    seconds = time.perf_counter() - start
    raw = np.asarray(model.predict(task["x_eval"], raw=True), np.float64)
    mean, scale = raw[..., 0], np.logaddexp(0, raw[..., 1]) + 1e-6
    gradients = chains * (settings["epochs"] + GRADIENTS_PER_STEP * steps)
    sampling = chains * GRADIENTS_PER_STEP * settings["n_samples"]
    return {
        "f": mean.reshape(-1, mean.shape[-1], 1),
        "noise": scale.reshape(-1, scale.shape[-1], 1),
        "f_mean": mean,
        "gradients": gradients,
        "sampling_gradients": sampling,
        # It does not say what its parts take: shares by their gradients, compilation in both.
        "warmup_seconds": seconds * (1 - sampling / gradients),
        "seconds": seconds * sampling / gradients,
    }


def neural_tangents(task: Arrays) -> Arrays:
    """Means and variances of the NNGP of the same network, in float64."""
    import jax  # noqa: PLC0415
    import neural_tangents as nt  # noqa: PLC0415 - one of the peers is not there
    from neural_tangents import stax  # noqa: PLC0415

    jax.config.update("jax_enable_x64", True)
    first, readout = (stax.Dense(1, W_std=float(w), b_std=float(b)) for w, b in task["scales"])
    _, _, kernel_fn = stax.serial(first, stax.Gelu(), readout)
    start = time.perf_counter()
    predict = nt.predict.gp_inference(
        kernel_fn(task["x"], None, "nngp"), task["y"], diag_reg=float(task["noise"]) ** 2,
        diag_reg_absolute_scale=True,
    )  # fmt: skip
    found = predict(
        "nngp", kernel_fn(task["x_eval"], task["x"], "nngp"),
        kernel_fn(task["x_eval"], None, "nngp"),
    )  # fmt: skip
    return {
        "mean": np.asarray(found.mean),
        "variance": np.diagonal(np.asarray(found.covariance)),
        "seconds": time.perf_counter() - start,
    }


PEERS = {"sklearn-contrib-bde": bayesian_deep_ensemble, "neural-tangents": neural_tangents}

if __name__ == "__main__":
    main(sys.argv[1:])
