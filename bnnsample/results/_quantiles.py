"""Quantiles of new observations, noise included."""

import functools
from typing import Any

import jax
import numpy as np
from jax import Array

from bnnsample._record import RunRecord
from bnnsample.likelihoods import Bernoulli, Categorical, Likelihood
from bnnsample.results._per_draw import as_sampled, checked_inputs, kept_draws_at, require_kept

# Observations drawn for each kept draw.
NUM_OBSERVATIONS = 4


def quantiles(record: RunRecord, x: Any, probabilities: Any) -> np.ndarray:
    """``Result.quantiles``; see there."""
    posterior, _ = require_kept(record)
    at = np.asarray(probabilities, float)
    # Written so that NaN fails.
    if at.ndim > 1 or at.size == 0 or not ((at >= 0) & (at <= 1)).all():
        raise ValueError(f"probabilities must lie between 0 and 1, got {probabilities!r}")
    if isinstance(posterior.likelihood, (Categorical, Bernoulli)):
        raise ValueError("quantiles() are of numbers; predict() gives probabilities of classes")
    sampled = new_observations(record, checked_inputs(record, x))
    if sampled is None:
        raise ValueError(
            "quantiles() needs new observations, which cannot be drawn at these inputs: the noise "
            "is given per data point, or the likelihood has no sample="
        )
    values = np.quantile(sampled, at, axis=0)
    return values[..., 0] if record.y_was_vector and values.shape[-1] == 1 else values


def new_observations(record: RunRecord, x: np.ndarray) -> np.ndarray | None:
    """Draws of targets ``[s, m, t]`` in y's units; None where they cannot be made."""
    posterior, _ = require_kept(record)
    at_training = np.array_equal(x, record.x)
    drawn = []
    with as_sampled(record):
        key = jax.random.key(0)
        for i, draw in enumerate(kept_draws_at(record, x)):
            centre = draw.mean if posterior.likelihood.is_gaussian else draw.f
            spread = np.sqrt(draw.variance).astype(centre.dtype)
            keys = jax.random.split(jax.random.fold_in(key, i), NUM_OBSERVATIONS)
            y = _sample(posterior.likelihood, at_training, keys, centre, spread, draw.unknowns)
            if y is None:
                return None
            drawn.append(np.asarray(y))
    return record.standardizer.undo_values(np.concatenate(drawn))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _sample(
    likelihood: Likelihood,
    at_training: bool,
    keys: Array,
    centre: Array,
    spread: Array,
    unknowns: dict[str, Array],
) -> Array | None:
    """One observation per key, of ``f ~ N(centre [m, d], spread^2 [m, 1])``."""

    def one(key: Array) -> Array | None:
        f_key, noise_key = jax.random.split(key)
        f = centre + spread * jax.random.normal(f_key, centre.shape, centre.dtype)
        return likelihood.sample(noise_key, f, unknowns, at_training)

    return jax.vmap(one)(keys)
