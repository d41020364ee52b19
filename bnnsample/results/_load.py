"""A stored result, back."""

from pathlib import Path
from typing import Any

from bnnsample._arguments import checked_path
from bnnsample.checkpoints import DRAWS
from bnnsample.likelihoods import Likelihood
from bnnsample.models import Model
from bnnsample.results._result import Extend, Result
from bnnsample.results._storage import read_record


def load(path: Any, model: Model | None = None, likelihood: Likelihood | None = None) -> Result:
    """A result as ``Result.save`` wrote it; draws and parameters are the same bit for bit.

    The folder of a run with ``checkpoint_dir`` is one too, also while the run goes on: it has the
    draws up to the last checkpoint.

    Nothing stored is executed. ``models.mlp``, ``cnn`` and ``resnet`` with a named activation, and
    a ``Gaussian`` likelihood with numbers or a well-known NumPyro prior, are rebuilt; for others
    pass ``model`` or ``likelihood``. Without them everything but ``predict`` works, and the
    parameters of a network in containers of its own (modules, NamedTuples) are plain dicts, those
    of Flax and Equinox modules whitened.

    Raises:
        FileNotFoundError: nothing at ``path``.
        TypeError: ``path`` is no path.
        ValueError: not a result, one of a newer format, one that is truncated or damaged, or a
            ``model`` that does not fit the stored parameters.
    """
    path = checked_path("path", path)
    if (path / DRAWS).is_dir():
        path = path / DRAWS
    return loaded(path, model, likelihood)


def loaded(
    path: Path,
    model: Model | None,
    likelihood: Likelihood | None,
    extend: Extend | None = None,
) -> Result:
    """The result in a directory, and how it is gone on with."""
    record, created_at = read_record(path, model, likelihood)
    return Result(record, created_at, extend)
