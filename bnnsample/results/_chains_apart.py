"""Rules of the verdict on single chains: one that is stuck, and chains in different modes."""

from typing import NamedTuple

import numpy as np

from bnnsample._record import RunRecord
from bnnsample._warnings import BimodalWarning, StuckChainWarning
from bnnsample.kernels._registry import KERNELS
from bnnsample.results._diagnostics import unknown_names
from bnnsample.results._ess import is_constant, r_hat
from bnnsample.results._finding import Finding

LONGEST_STAY = 50
LONGEST_SHARE = 0.2
# Of one chain alone, cut into halves; a chain that drifts is not in a mode.
OWN_R_HAT = 1.1
APART = 3.0
FEWEST_DRAWS = 20


def longest_stays(record: RunRecord) -> np.ndarray:
    """The longest stretch of draws in which a chain did not move, for each chain ``[chain]``.

    By the recorded hidden weights; by ``lp`` where the network has none.
    """
    witness = record.draws.get("hidden", np.asarray(record.sample_stats["lp"])[..., None])
    moved = np.any(witness[:, 1:] != witness[:, :-1], axis=-1)
    return np.array([_longest_run(~chain) for chain in moved])


def stuck(record: RunRecord) -> Finding | None:
    spec = KERNELS.get(record.settings.get("kernel", ""))
    if (spec is not None and not spec.is_chain) or _stands_still_by_right(record):
        return None
    draws = record.sample_stats["lp"].shape[1]
    stays = longest_stays(record)
    bad = np.flatnonzero(stays >= max(LONGEST_STAY, LONGEST_SHARE * draws))
    if not bad.size:
        return None
    return Finding(
        f"{_chains(bad)} did not move for {stays[bad].max()} draws in a row, of {draws}: every "
        "proposal was rejected. Use a smaller step_size or a longer warm-up (num_warmup), or "
        "start elsewhere (another seed, or init=).",
        True,
        StuckChainWarning,
    )


class Modes(NamedTuple):
    """A quantity in which chains are apart: which, and where they are.

    ``low`` and ``high`` are chains; ``at`` the middles of the two groups.
    """

    name: str
    low: np.ndarray
    high: np.ndarray
    at: tuple[float, float]


def modes(record: RunRecord) -> Modes | None:
    """Chains that look well mixed alone and disagree on an unknown or on the log-likelihood.

    Every chain's own split R-hat is at most 1.1, and between two groups of chains the means are
    apart by three standard deviations of the widest chain. Positive unknowns by their logarithms.
    """
    for name in unknown_names(record):
        values = record.draws[name]
        positive = bool(np.all(values > 0))
        found = _split(np.log(values) if positive else values)
        if found is not None:
            low, high, at = found
            at = (float(np.exp(at[0])), float(np.exp(at[1]))) if positive else at
            return Modes(name, low, high, at)
    total = np.sum(record.draws["log_likelihood"], axis=2)
    found = _split(total)
    return None if found is None else Modes("log-likelihood", *found)


def bimodal(record: RunRecord) -> Finding | None:
    found = modes(record)
    if found is None:
        return None
    remedy = (
        "Fix the noise scale (Gaussian(scale=...)), standardise the data (standardize=True) or "
        "give a prior that leaves out the mode that is not meant."
        if found.name in ("noise_scale", "log-likelihood")
        else "Fix it, or give a prior that leaves out the mode that is not meant."
    )
    return Finding(
        f"The chains are in different modes: {found.name} is about {found.at[0]:.2g} in "
        f"{_chains(found.low).lower()} and {found.at[1]:.2g} in {_chains(found.high).lower()}, and "
        "each chain looks well mixed alone. More draws would not help, and shares of chains are "
        f"not the modes' weights. {remedy}",
        True,
        BimodalWarning,
    )


def _split(q: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[float, float]] | None:
    """Two groups of chains of ``q [chain, draw]`` that are apart, and their middles."""
    if q.shape[0] < 2 or q.shape[1] < FEWEST_DRAWS or not np.isfinite(q).all():
        return None
    q = q.astype(np.float64)
    means, spreads = q.mean(axis=1), q.std(axis=1)
    order = np.argsort(means)
    gaps = np.diff(means[order])
    cut = int(np.argmax(gaps)) + 1
    if gaps[cut - 1] <= APART * spreads.max() or any(is_constant(chain[None]) for chain in q):
        return None
    if max(float(r_hat(chain[None])) for chain in q) > OWN_R_HAT:
        return None
    low, high = np.sort(order[:cut]), np.sort(order[cut:])
    return low, high, (float(means[low].mean()), float(means[high].mean()))


def _stands_still_by_right(record: RunRecord) -> bool:
    """Nothing to move: fixed features, a known noise scale, the readout integrated out."""
    collapsed = record.settings.get("coordinates") == "collapsed"
    return collapsed and record.hidden_index.size == 0 and not unknown_names(record)


def _longest_run(flags: np.ndarray) -> int:
    """Draws in the longest run of ``flags [draw - 1]``, its first one included; 0: none."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    lengths = edges[1::2] - edges[::2]
    return int(lengths.max()) + 1 if lengths.size else 0


def _chains(which: np.ndarray) -> str:
    numbers = [str(int(chain)) for chain in which]
    if len(numbers) == 1:
        return f"Chain {numbers[0]}"
    return f"Chains {', '.join(numbers[:-1])} and {numbers[-1]}"
