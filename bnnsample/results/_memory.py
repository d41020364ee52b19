"""Draws kept in memory, and what becomes of a run's draws in general."""

import dataclasses
from typing import Any, Protocol

import jax
import numpy as np

from bnnsample._record import KeptParameters, RunRecord
from bnnsample.chains._sink import Block, join
from bnnsample.results._idata import now


class Output(Protocol):
    """Takes a run's draws and makes its record of them."""

    created_at: str

    def add(self, block: Block) -> None:
        """Take the next draws."""

    def commit(self, record: RunRecord) -> None:
        """Make sure of all that was taken."""

    def finish(self, record: RunRecord) -> RunRecord:
        """The record with all draws."""


class Memory:
    """Draws in arrays of their final size, each number held once; after those of ``earlier``.

    Args:
        num_samples: draws per chain that will come, those of ``earlier`` included; if fewer do,
            the rest of the arrays is never written, and takes no memory.
    """

    def __init__(
        self, num_samples: int, earlier: RunRecord | None = None, created_at: str | None = None
    ) -> None:
        self.created_at = created_at or now()
        self._num_samples = num_samples
        self._arrays: Any = None
        self._kept: list[Block] = []
        self._count = 0
        if earlier is not None:
            self.add(block_of(earlier))

    def add(self, block: Block) -> None:
        new = {"draws": block.draws, "sample_stats": block.sample_stats}
        if self._arrays is None:
            self._arrays = jax.tree.map(self._empty, new)
        length = next(iter(block.sample_stats.values())).shape[1]
        at = slice(self._count, self._count + length)
        for array, values in zip(jax.tree.leaves(self._arrays), jax.tree.leaves(new), strict=True):
            array[:, at] = values
        self._count += length
        if block.kept is not None:
            self._kept.append(Block({}, {}, block.kept, block.kept_draws))

    def commit(self, record: RunRecord) -> None:
        pass

    def finish(self, record: RunRecord) -> RunRecord:
        arrays = jax.tree.map(lambda a: a[:, : self._count], self._arrays)
        kept = join(self._kept) if self._kept else Block({}, {}, None, np.zeros(0, np.int64))
        self._arrays, self._kept = None, []
        return with_draws(record, kept._replace(**arrays))

    def _empty(self, array: np.ndarray) -> np.ndarray:
        return np.empty((array.shape[0], self._num_samples, *array.shape[2:]), array.dtype)


def block_of(record: RunRecord) -> Block:
    """All draws of a record."""
    kept = record.kept
    parameters = None if kept is None else kept.parameters
    at = np.zeros(0, np.int64) if kept is None else kept.draws
    return Block(dict(record.draws), dict(record.sample_stats), parameters, at)


def with_draws(record: RunRecord, block: Block, first: int = 0) -> RunRecord:
    """The record with a block's draws, of which ``first`` is the first's index in the run."""
    kept = None
    if block.kept is not None:
        assert record.posterior is not None
        at = block.kept_draws - first
        unknowns = {name: block.draws[name][:, at] for name in record.posterior.unknowns}
        kept = KeptParameters(block.kept_draws, block.kept, unknowns)
    return dataclasses.replace(
        record, draws=block.draws, sample_stats=block.sample_stats, kept=kept
    )
