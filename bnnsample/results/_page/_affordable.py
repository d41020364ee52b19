"""How much of a run is looked at again for a page: as much as takes seconds."""

import dataclasses
import math

import jax
import numpy as np

from bnnsample._record import KeptParameters, RunRecord

# Floating point operations: some seconds of one core.
MOST_OPERATIONS = 2e10
MOST_DRAWS = 200


def affordable_draws(record: RunRecord, num_points: int) -> int:
    """Kept draws of each chain that can be taken through the network and its readout's algebra.

    Operations of one: the features at the training inputs and ``num_points`` others, the
    factorisation, and that of the Gaussian process where the noise is a new one for every draw.
    """
    if record.kept is None:
        return 0
    leaves = jax.tree.leaves(record.kept.parameters)
    chains = leaves[0].shape[0]
    num_parameters = sum(math.prod(leaf.shape[2:]) for leaf in leaves)
    n = len(record.x)
    factorisations = 3 if record.kept.unknowns else 1
    operations = 2 * num_parameters * num_positions(record) * (n + num_points)
    operations += factorisations * n**3
    most = min(MOST_DRAWS, MOST_OPERATIONS / operations) // chains
    return min(len(record.kept.draws), int(most))


def num_positions(record: RunRecord) -> int:
    """Of an input ``[*positions, channels]``."""
    return math.prod(record.x.shape[1:-1])


def thinned(record: RunRecord, num_draws: int) -> RunRecord:
    """The record with so many evenly spaced kept draws of each chain."""
    kept = record.kept
    assert kept is not None
    at = np.unique(np.linspace(0, len(kept.draws) - 1, num_draws).round().astype(int))
    fewer = KeptParameters(
        kept.draws[at],
        jax.tree.map(lambda leaf: leaf[:, at], kept.parameters),
        {name: values[:, at] for name, values in kept.unknowns.items()},
    )
    return dataclasses.replace(record, kept=fewer)
