"""A sample of a run's potentials, computed again in float64."""

import warnings
from typing import Any, NamedTuple

import jax
import numpy as np

from bnnsample._processes import to_host
from bnnsample.chains._keep import tree_bytes
from bnnsample.chains._program import Program
from bnnsample.coordinates import Posterior

MOST_STATES = 8
MOST_BYTES = 2**28
# On CPU compilation is nearly all of the cost, and most of that is spent on speed.
_QUICKLY: dict[str, dict[str, str | bool]] = {"cpu": {"xla_llvm_disable_expensive_passes": True}}


class Checked(NamedTuple):
    """``error``: the largest ``|U - U64|`` in nats of ``num_states`` states' potentials."""

    error: float
    num_states: int


def check_potentials(posterior: Posterior, states: Any, platform: str) -> Checked | None:
    """The kernel's own potentials at the chains' states beside those of the same in float64.

    Of at most ``MOST_STATES`` states, or as many as take ``MOST_BYTES``. None where the network
    or the likelihood does not compute in float64, and where there is nothing to compute.
    """
    positions, potentials = _sample(states)
    if not jax.tree.leaves(positions):
        return None
    with jax.enable_x64(True):
        arguments = _as_float64((posterior, positions))
        try:
            found = _potentials(arguments, platform)
        except Exception:  # a network, or a likelihood, of the user's own that knows float32 alone
            return None
        if found.dtype != np.float64:
            return None
    with np.errstate(invalid="ignore"):
        return Checked(float(np.abs(np.asarray(found) - potentials).max()), len(potentials))


def _potentials(arguments: Any, platform: str) -> Any:
    def potentials(posterior, positions):
        return jax.lax.map(posterior.potential, positions)

    with warnings.catch_warnings():
        # A likelihood of the user's own may say what JAX makes of its float32 numbers.
        warnings.simplefilter("ignore")
        return Program(potentials, options=_QUICKLY.get(platform))(*arguments)


def _sample(states: Any) -> tuple[Any, np.ndarray]:
    """Positions on the host, and what the kernel took their potentials for, in float64."""
    count = jax.tree.leaves(states)[0].shape[0]
    per_state = max(tree_bytes(states.position) // count, 1)
    count = int(np.clip(MOST_BYTES // per_state, 1, min(count, MOST_STATES)))
    positions = some_to_host(states.position, count)
    if hasattr(states, "potential"):
        return positions, some_to_host(states.potential, count).astype(np.float64)
    # BlackJAX's states have the log density, the Gaussian's part included.
    density = some_to_host(states.logdensity, count).astype(np.float64)
    leaves = [
        np.asarray(leaf, np.float64).reshape(count, -1) for leaf in jax.tree.leaves(positions)
    ]
    return positions, -density - sum(np.sum(leaf * leaf, axis=1) for leaf in leaves) / 2


def some_to_host(tree: Any, count: int = MOST_STATES) -> Any:
    """The first chains' arrays on the host, whichever devices, and processes, they are on."""
    return to_host(jax.tree.map(lambda a: a[:count] if count < len(a) else a, tree))


def _as_float64(tree: Any) -> Any:
    def cast(leaf):
        array = np.asarray(leaf)
        return array.astype(np.float64) if array.dtype.kind == "f" else array

    return jax.tree.map(cast, tree)
