"""What a finished run's numbers are checked for: float32 potentials, and factorisations."""

import dataclasses
from typing import Any

import jax
import numpy as np

from bnnsample._record import RunRecord
from bnnsample.chains._breakdown import worst_condition
from bnnsample.chains._float64_check import check_potentials, some_to_host
from bnnsample.coordinates import Posterior

# Of a potential, in nats: a Metropolis test is then off by a tenth of its log probability.
LARGEST_ERROR = 0.1


def with_checks(record: RunRecord, posterior: Posterior, states: Any) -> RunRecord:
    """The record with what the chains' last states say of the arithmetic.

    Potentials of a float32 run are computed again in float64; where those are not precise, or
    something was not finite, the condition number of the readout's factorisation is found.
    """
    changes: dict[str, Any] = {}
    if posterior.y.dtype == np.float32:
        checked = check_potentials(posterior, states, jax.default_backend())
        if checked is not None:
            changes = {"potential_error": checked.error, "potentials_checked": checked.num_states}
    in_doubt = not changes.get("potential_error", 0.0) <= LARGEST_ERROR or _saw_non_finite(record)
    if in_doubt and jax.tree.leaves(states.position):
        changes["condition"] = worst_condition(posterior, some_to_host(states.position))
    return dataclasses.replace(record, **changes) if changes else record


def _saw_non_finite(record: RunRecord) -> bool:
    return bool(np.any(record.sample_stats["non_finite"]))
