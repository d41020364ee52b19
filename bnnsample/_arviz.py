"""The one place where ArviZ 0.x (InferenceData) and ArviZ 1.x (xarray's DataTree) differ."""

import importlib
import warnings
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import logsumexp


def wrap(groups: Mapping[str, xr.Dataset]) -> Any:
    """Datasets by group name as ArviZ's own container: InferenceData or ``xarray.DataTree``."""
    arviz = _import_arviz()
    if _is_first_line(arviz):
        return arviz.InferenceData(**groups)
    return xr.DataTree.from_dict({f"/{name}": dataset for name, dataset in groups.items()})


def ess(draws: np.ndarray, kind: str) -> np.ndarray:
    """ArviZ's effective sample size ``[q]`` of ``draws [chain, draw, q]``, uncapped."""
    return _import_arviz().ess(_dataset(draws), method=kind)["q"].values


def rhat(draws: np.ndarray) -> np.ndarray:
    """ArviZ's rank-normalised split R-hat ``[q]`` of ``draws [chain, draw, q]``."""
    return _import_arviz().rhat(_dataset(draws))["q"].values


def psis(log_weights: np.ndarray) -> tuple[np.ndarray, float]:
    """ArviZ's Pareto-smoothed log weights ``[n]``, their exponentials summing to one, and k-hat."""
    arviz = _import_arviz()
    if _is_first_line(arviz):
        smoothed, k_hat = arviz.psislw(log_weights)
    else:
        # Here the argument is a log likelihood left out, minus the log weight.
        statistics = importlib.import_module("arviz_stats.base").array_stats
        smoothed, k_hat = statistics.psislw(-log_weights)
    return smoothed - logsumexp(smoothed), float(k_hat)


def summary(idata: Any, var_names: Sequence[str], **options: Any) -> pd.DataFrame:
    """ArviZ's summary table, unrounded unless asked; columns differ between the two lines."""
    return _import_arviz().summary(
        idata, var_names=list(var_names), **{"round_to": "none", **options}
    )


def _dataset(draws: np.ndarray) -> xr.Dataset:
    return xr.Dataset({"q": (("chain", "draw", "quantity"), draws)})


def _is_first_line(arviz: ModuleType) -> bool:
    return arviz.__version__.split(".")[0] == "0"


def _import_arviz() -> ModuleType:
    # Imported on first use: ArviZ takes longer to import than the rest together, and its 0.x
    # line announces the coming 1.x with a FutureWarning.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return importlib.import_module("arviz")
