"""A stored result, back."""

from pathlib import Path
from typing import Any

from bnnsample.likelihoods import Likelihood
from bnnsample.models import Model
from bnnsample.results._result import Result
from bnnsample.results._storage import read_record


def load(path: Any, model: Model | None = None, likelihood: Likelihood | None = None) -> Result:
    """A result as ``Result.save`` wrote it; draws and parameters are the same bit for bit.

    Nothing stored is executed. ``models.mlp``, ``cnn`` and ``resnet`` with a named activation, and
    a ``Gaussian`` likelihood with numbers or a well-known NumPyro prior, are rebuilt; for others
    pass ``model`` or ``likelihood``. Without them everything but ``predict`` works, and the
    parameters of a network in containers of its own (modules, NamedTuples) are plain dicts, those
    of Flax and Equinox modules whitened.

    Raises:
        FileNotFoundError: nothing at ``path``.
        ValueError: not a result, one of a newer format, one that is truncated or damaged, or a
            ``model`` that does not fit the stored parameters.
    """
    record, created_at = read_record(Path(path), model, likelihood)
    return Result(record, created_at=created_at)
