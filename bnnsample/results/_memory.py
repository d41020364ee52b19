"""Draws kept in memory, and what becomes of a run's draws in general."""

import dataclasses
from typing import Protocol

import numpy as np

from bnnsample._record import KeptParameters, RunRecord
from bnnsample.chains._sink import Block, Blocks, join
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
    """Draws in lists, joined at the end, after those of ``earlier``."""

    def __init__(self, earlier: RunRecord | None = None, created_at: str | None = None) -> None:
        self.created_at = created_at or now()
        self._blocks = Blocks([] if earlier is None else [block_of(earlier)])

    def add(self, block: Block) -> None:
        self._blocks.add(block)

    def commit(self, record: RunRecord) -> None:
        pass

    def finish(self, record: RunRecord) -> RunRecord:
        return with_draws(record, join(self._blocks))


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
