"""Why a potential is not finite: the condition of the factorisation inside it."""

from typing import Any

import jax
import numpy as np

from bnnsample.coordinates import Posterior
from bnnsample.repriorisation._condition import condition_number, explain, largest_eigenvalue
from bnnsample.repriorisation._factor import choose_side


def why_not_finite(posterior: Posterior, positions: Any, chain: int) -> str:
    """``": the condition number ..."`` of a chain's position; empty without a factorisation."""
    try:
        P = posterior.whitened_features(at(positions, chain))
    except ValueError as error:  # the noise scale is 0, or not finite
        return f": {error}"
    return "" if P is None else f": {explain(P, choose_side(P, 'auto'), posterior.y.dtype)}"


def worst_condition(posterior: Posterior, positions: Any) -> float | None:
    """The condition number of the worst of stacked positions; None without a factorisation."""
    worst, largest = None, 0.0
    for chain in range(jax.tree.leaves(positions)[0].shape[0]):
        P = posterior.whitened_features(at(positions, chain))
        if P is None:
            return None
        value = largest_eigenvalue(np.asarray(P))
        if worst is None or value > largest:
            worst, largest = P, value
    return None if worst is None else condition_number(worst, choose_side(worst, "auto"))


def at(positions: Any, chain: int) -> Any:
    """One of stacked positions."""
    return jax.tree.map(lambda a: a[chain], positions)
