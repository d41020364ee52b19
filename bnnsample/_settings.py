"""The settings of a run as plain values."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import numpyro.distributions as dist

from bnnsample._scale import describe_prior
from bnnsample.likelihoods import Likelihood
from bnnsample.models import Model

PACKAGES = ("bnnsample", "jax", "jaxlib", "blackjax", "numpyro", "arviz", "numpy")


def settings_of(model: Model, likelihood: Likelihood, **settings: Any) -> dict[str, Any]:
    """Everything that determines a run, JSON-able, with the versions it ran on."""
    return {
        "model": {"name": model.name, **plain(model.description or {})},
        **likelihood.describe(),
        "output_names": likelihood.output_names,
        **{name: plain(value) for name, value in settings.items()},
        "versions": {package: _version(package) for package in PACKAGES},
    }


def plain(value: Any) -> Any:
    """Numbers, strings, lists and dicts; anything else as its string."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, dist.Distribution):
        return describe_prior(value)
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.dtype):
        return value.name
    array = np.asarray(value)
    return array.tolist() if array.dtype != object else str(value)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
