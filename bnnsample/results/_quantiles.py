"""Quantiles of new observations, noise included."""

from typing import Any

import jax
import numpy as np
from jax import Array

from bnnsample._program_of import program_of
from bnnsample._record import RunRecord
from bnnsample.likelihoods import Bernoulli, Categorical, Likelihood
from bnnsample.results._per_draw import as_sampled, checked_inputs, kept_draws_at, require_kept

# Observations drawn for each kept draw.
NUM_OBSERVATIONS = 4
BLOCK_BYTES = 256 * 2**20


def quantiles(record: RunRecord, x: Any, probabilities: Any) -> np.ndarray:
    """``Result.quantiles``; see there."""
    posterior, _ = require_kept(record)
    at = np.asarray(probabilities, float)
    # Written so that NaN fails.
    if at.ndim > 1 or at.size == 0 or not ((at >= 0) & (at <= 1)).all():
        raise ValueError(f"probabilities must lie between 0 and 1, got {probabilities!r}")
    if isinstance(posterior.likelihood, (Categorical, Bernoulli)):
        raise ValueError("quantiles() are of numbers; predict() gives probabilities of classes")
    values = observed_quantiles(record, checked_inputs(record, x), at)
    if values is None:
        raise ValueError(
            "quantiles() needs new observations, which cannot be drawn at these inputs: the noise "
            "is given per data point, or the likelihood has no sample="
        )
    return values[..., 0] if record.y_was_vector and values.shape[-1] == 1 else values


def observed_quantiles(record: RunRecord, x: np.ndarray, at: np.ndarray) -> np.ndarray | None:
    """Quantiles ``[..., m, t]`` of new observations; None where they cannot be drawn.

    Points are taken in blocks whose draws fit ``BLOCK_BYTES``.
    """
    _, kept = require_kept(record)
    draws = kept.parameters["readout"].shape[0] * len(kept.draws) * NUM_OBSERVATIONS
    per_point = draws * record.y.shape[1] * record.y.dtype.itemsize
    size = max(1, BLOCK_BYTES // max(per_point, 1))
    if size < len(x) and new_observations(record, x[:1]) is None:
        # Noise given per data point goes with all of the data, in their order.
        size = len(x)
    blocks = []
    for start in range(0, len(x), size):
        sampled = new_observations(record, x[start : start + size], start)
        if sampled is None:
            return None
        blocks.append(np.quantile(sampled, at, axis=0, overwrite_input=True))
    return np.concatenate(blocks, axis=at.ndim)


def new_observations(record: RunRecord, x: np.ndarray, number: int = 0) -> np.ndarray | None:
    """Draws of targets ``[s, m, t]`` in y's units; None where they cannot be made.

    ``number`` of the block of points makes its noise its own.
    """
    posterior, kept = require_kept(record)
    at_training = np.array_equal(x, record.x)
    count = kept.parameters["readout"].shape[0] * len(kept.draws) * NUM_OBSERVATIONS
    drawn: Any = None
    sample = program_of(posterior, _sample, static_argnums=(0, 1))
    with as_sampled(record):
        key = jax.random.key(number)
        for i, draw in enumerate(kept_draws_at(record, x)):
            centre = draw.mean if posterior.likelihood.is_gaussian else draw.f
            spread = np.sqrt(draw.variance).astype(centre.dtype)
            keys = jax.random.split(jax.random.fold_in(key, i), NUM_OBSERVATIONS)
            y = sample(posterior.likelihood, at_training, keys, centre, spread, draw.unknowns)
            if y is None:
                return None
            undone = record.standardizer.undo_values(np.asarray(y))
            # In place: the draws of a block are held once.
            drawn = np.empty((count, *undone.shape[1:]), undone.dtype) if drawn is None else drawn
            drawn[i * NUM_OBSERVATIONS : (i + 1) * NUM_OBSERVATIONS] = undone
    return drawn


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
