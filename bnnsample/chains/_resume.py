"""Sampling's state as a checkpoint holds it, and back."""

import dataclasses
from typing import Any

import jax
import numpy as np

from bnnsample.chains._sampling import SamplerState, fresh
from bnnsample.chains._warmup import WarmupResult
from bnnsample.checkpoints import Checkpoints
from bnnsample.coordinates import Posterior, learned

PHASE = "sampling"
_WARM = ("num_gradients", "seconds", "sampling_seconds")


def save(checkpoints: Checkpoints, warm: WarmupResult, now: SamplerState) -> None:
    """Save where sampling is, and what the warm-up has found."""
    arrays = {k: v for k, v in warm.parameters.items() if isinstance(v, (jax.Array, np.ndarray))}
    notes = {
        "counters": [now.num_draws, now.num_gradients, now.seconds],
        "warm": {name: getattr(warm, name) for name in _WARM},
        "options": {k: v for k, v in warm.parameters.items() if k not in arrays},
        "arrays": {k: [list(v.shape), str(v.dtype)] for k, v in arrays.items()},
    }
    checkpoints.save(PHASE, notes, _arrays(warm.posterior, now, arrays))


def restore(
    checkpoints: Checkpoints, posterior: Posterior, states: Any
) -> tuple[WarmupResult, SamplerState] | None:
    """What ``save`` saved; None: sampling has not begun. ``states``: shapes of the chains'."""
    notes = checkpoints.notes(PHASE)
    if notes is None:
        return None
    shapes = {
        name: jax.ShapeDtypeStruct(tuple(shape), dtype)
        for name, (shape, dtype) in notes["arrays"].items()
    }
    found = checkpoints.restore(_arrays(posterior, fresh(posterior, states), shapes))
    warm = WarmupResult(
        posterior=dataclasses.replace(posterior, **found["learned"]),
        states=found["states"],
        parameters={**notes["options"], **found["parameters"]},
        compile_seconds=0.0,
        **notes["warm"],
    )
    return warm, SamplerState(found["states"], found["moments"], *notes["counters"])


def _arrays(posterior: Posterior, now: SamplerState, parameters: dict[str, Any]) -> dict[str, Any]:
    return {
        "states": now.states,
        "moments": now.moments,
        "learned": learned(posterior),
        "parameters": parameters,
    }
