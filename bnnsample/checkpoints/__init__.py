"""Runs that survive: sampler states by Orbax, draws streamed to Zarr, and which run it is."""

from bnnsample.checkpoints._directory import DRAWS, RunDirectory, checked_directory
from bnnsample.checkpoints._identity import CheckpointMismatchError, identity_of
from bnnsample.checkpoints._saver import Checkpoints, NoCheckpoints

__all__ = [
    "DRAWS",
    "CheckpointMismatchError",
    "Checkpoints",
    "NoCheckpoints",
    "RunDirectory",
    "checked_directory",
    "identity_of",
]
