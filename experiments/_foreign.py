"""Peers of other environments: a task goes to their interpreter, what they found comes back."""

import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from experiments._peers import NUM_CHAINS, Found, Task, gaussian_draws
from ntk.layers import Dense

SCRIPT = Path(__file__).with_name("_foreign_peer.py")


class PeerError(RuntimeError):
    """The interpreter could not do it; its last lines are in the message."""


def name(python: str) -> str:
    """The peer that an interpreter has, and its version.

    Raises:
        PeerError: no such interpreter, or neither peer in it.
    """
    return _answer(python)


def find(python: str, task: Task, budget: int) -> Found:
    """What the peer found with a budget of gradients.

    Raises:
        PeerError: it failed.
    """
    data = task.data
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "task.npz", Path(folder) / "found.npz"
        np.savez(
            source, x=data.x.astype(np.float64), y=data.y.astype(np.float64),
            x_eval=data.x_eval.astype(np.float64), width=task.width, noise=task.noise,
            seed=task.seed, budget=budget, num_chains=NUM_CHAINS, scales=scales_of(task),
        )  # fmt: skip
        _answer(python, str(source), str(target))
        return found_of(dict(np.load(target)), task)


def scales_of(task: Task) -> list[tuple[float, float]]:
    """Of weights and biases, hidden layer and readout: the peer builds the same network."""
    dense = (layer for layer in task.model.network.layers if isinstance(layer, Dense))
    return [(float(layer.weight_std), float(layer.bias_std)) for layer in dense]


def _answer(python: str, *arguments: str) -> str:
    try:
        # Isolated: the script's folder has modules of this environment.
        command = [python, "-I", str(SCRIPT), *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise PeerError(f"--peer-python {python}: {error.strerror}") from error
    if ended.returncode:
        last = ended.stderr.strip().splitlines()[-1:] or [f"it ended with {ended.returncode}"]
        raise PeerError(f"--peer-python {python}: {last[0]}")
    return ended.stdout.strip()


def found_of(found: dict[str, Any], task: Task) -> Found:
    """Draws of chains, or of a Gaussian's means and variances."""
    if "mean" in found:
        f = gaussian_draws(found["mean"], found["variance"], task.seed)
        return Found(f, None, 0, 0, 0.0, float(found["seconds"]))
    return Found(
        found["f"],
        found["f_mean"],
        int(found["gradients"]),
        int(found["sampling_gradients"]),
        float(found["warmup_seconds"]),
        float(found["seconds"]),
        found["noise"],
    )
