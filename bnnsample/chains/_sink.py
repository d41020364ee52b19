"""Where draws go as they leave the device."""

from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

Pytree = Any


class Block(NamedTuple):
    """Consecutive draws of all chains on the host.

    Attributes:
        draws: recorded quantities by name, ``[chain, draw, ...]``.
        sample_stats: the kernel's statistics by name, ``[chain, draw]``.
        kept: whole parameters ``[chain, k, ...]``; None: none of these draws is kept.
        kept_draws: their indices ``[k]``, counted among the run's draws.
    """

    draws: dict[str, np.ndarray]
    sample_stats: dict[str, np.ndarray]
    kept: Pytree
    kept_draws: np.ndarray


class Sink(Protocol):
    """Takes draws in their order."""

    def add(self, block: Block) -> None:
        """Take the next draws."""


class Blocks(list[Block]):
    """A sink that keeps what it is given."""

    def add(self, block: Block) -> None:
        self.append(block)


def join(blocks: list[Block]) -> Block:
    """One block of several that follow one another."""
    if len(blocks) == 1:
        return blocks[0]
    kept = [block.kept for block in blocks if block.kept is not None]
    return Block(
        _joined([block.draws for block in blocks]),
        _joined([block.sample_stats for block in blocks]),
        _joined(kept) if kept else None,
        np.concatenate([block.kept_draws for block in blocks]),
    )


def _joined(parts: list[Pytree]) -> Pytree:
    return jax.tree.map(lambda *arrays: np.concatenate(arrays, axis=1), *parts)
