"""A run's draws in ArviZ's schema, in the user's units."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import xarray as xr

from bnnsample._record import RunRecord
from bnnsample._standardize import Standardizer
from bnnsample.results._diagnostics import unknown_names
from bnnsample.results._json import to_json

_DIMS = {
    "f": ("eval_point", "output"),
    "f_mean": ("eval_point", "output"),
    "y_mean": ("eval_point", "output"),
    "y": ("eval_point", "output"),
    "log_likelihood": ("observation",),
    # Not "projection": xarray makes a variable with the name of its own dimension a coordinate,
    # which ArviZ's functions skip or refuse.
    "projection": ("projection_index",),
    "hidden": ("hidden_index",),
}
_DESCRIPTIONS = {
    "f": "noise-free function at x_eval, one draw of the readout per draw",
    "f_mean": "E[f | hidden layers] at x_eval, the readout integrated out",
    "y_mean": "E[y | f] at x_eval: probabilities of classes, rates, means",
    "projection": "fixed random projections of all parameters",
    "hidden": "fixed hidden weights; hidden_index counts through the flattened hidden parameters",
    "noise_scale": "standard deviation of the observation noise",
}


def build_groups(record: RunRecord, created_at: str) -> dict[str, xr.Dataset]:
    """ArviZ's groups as datasets; values and log-likelihoods in y's own units."""
    draws, prior = in_user_units(record, record.draws), in_user_units(record, record.prior)
    unknowns = unknown_names(record)
    posterior = [*_present(draws, "f", "f_mean", "y_mean", "projection", "hidden"), *unknowns]
    groups = {
        "posterior": _sampled(record, draws, posterior),
        "posterior_predictive": _sampled(record, draws, _present(draws, "y")),
        "log_likelihood": _sampled(record, draws, _present(draws, "log_likelihood")),
        "sample_stats": _sampled(record, record.sample_stats, list(record.sample_stats)),
        "prior": _sampled(record, prior, [name for name in prior if name != "y"]),
        "prior_predictive": _sampled(record, prior, _present(prior, "y")),
        "observed_data": _observed(record),
        "constant_data": _constant_data(record),
    }
    groups["log_likelihood"] = groups["log_likelihood"].rename({"log_likelihood": "y"})
    attributes = attributes_of(record, created_at)
    return {
        name: group.assign_attrs(attributes) for name, group in groups.items() if group.data_vars
    }


def now() -> str:
    return datetime.now(UTC).isoformat()


def is_identity(standardizer: Standardizer) -> bool:
    """Whether the sampler saw the user's own units."""
    shift, scale = standardizer.y_mean, standardizer.y_std
    return not shift.any() and bool((scale == 1).all())


def in_user_units(record: RunRecord, draws: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    standardizer = record.standardizer
    if is_identity(standardizer):
        return draws
    undone = dict(draws)
    for name in _present(draws, "f", "f_mean"):
        undone[name] = standardizer.undo_outputs(draws[name])
    for name in _present(draws, "y_mean", "y"):
        undone[name] = standardizer.undo_values(draws[name])
    if "log_likelihood" in draws:
        undone["log_likelihood"] = standardizer.undo_log_density(draws["log_likelihood"])
    return undone


def _sampled(record: RunRecord, draws: Mapping[str, np.ndarray], names: list[str]) -> xr.Dataset:
    dataset = xr.Dataset()
    for name in names:
        array = draws[name]
        dims = ("chain", "draw", *_dims(record, name, array))
        coords = _indices(array, *dims) | _output_names(record, array, dims)
        if name == "hidden":
            coords["hidden_index"] = record.hidden_index
        attributes = {"description": _DESCRIPTIONS[name]} if name in _DESCRIPTIONS else {}
        if name == "noise_scale" and not is_identity(record.standardizer):
            attributes["units"] = "standard deviations of y (the units of the sampler)"
        variable = xr.DataArray(array, coords, dims, name, attributes)
        dataset[name] = variable
    return dataset


def _dims(record: RunRecord, name: str, array: np.ndarray) -> tuple[str, ...]:
    """Targets are called ``target`` where they are not the network's outputs one by one."""
    dims = _DIMS.get(name, ())
    if name in ("y", "y_mean") and array.shape[-1] != record.draws["f"].shape[-1]:
        return (*dims[:-1], "target")
    return dims


def _output_names(record: RunRecord, array: np.ndarray, dims: tuple[str, ...]) -> dict[str, Any]:
    names = record.settings.get("output_names")
    if not names or dims[-1] != "output":
        return {}
    # Objects: text of a fixed length has no place in Zarr's standard.
    return {"output": np.array(names, dtype=object)}


def _observed(record: RunRecord) -> xr.Dataset:
    dims = ("observation", _dims(record, "y", record.y)[-1])
    coords = _indices(record.y, *dims) | _output_names(record, record.y, dims)
    classes = record.settings.get("classes")
    attributes = {"classes": [str(label) for label in classes]} if classes else {}
    return xr.Dataset({"y": (dims, record.y, attributes)}, coords)


def _constant_data(record: RunRecord) -> xr.Dataset:
    features = [f"x_dim_{i}" for i in range(record.x.ndim - 1)]
    return xr.Dataset(
        {
            "x": (("observation", *features), record.x),
            "x_eval": (("eval_point", *features), record.x_eval),
        },
        _indices(record.x, "observation", *features) | _indices(record.x_eval, "eval_point"),
    )


def attributes_of(record: RunRecord, created_at: str) -> dict[str, Any]:
    library_version = record.settings.get("versions", {}).get("bnnsample") or "unknown"
    attributes = {
        "created_at": created_at,
        "creation_library": "bnnsample",
        "creation_library_version": library_version,
        "creation_library_language": "Python",
        "inference_library": "bnnsample",
        "inference_library_version": library_version,
        "sample_dims": ["chain", "draw"],
        "sampling_time": float(record.sampling_seconds),
        "tuning_steps": int(record.settings.get("num_warmup", 0)),
        "num_gradients": int(record.num_gradients),
        "settings": json.dumps(to_json(record.settings)),
        "adapted": json.dumps(to_json(record.adapted)),
    }
    for name in _present(record.adapted, "k_hat", "importance_ess"):
        attributes[name] = float(record.adapted[name])
    if not is_identity(record.standardizer):
        attributes |= {
            "y_mean": np.asarray(record.standardizer.y_mean, float).tolist(),
            "y_std": np.asarray(record.standardizer.y_std, float).tolist(),
            "noise_scale_units": "noise_scale is in standardised units: times y_std for y's own",
        }
    return attributes


def _indices(array: np.ndarray, *dims: str) -> dict[str, np.ndarray]:
    return {dim: np.arange(size) for dim, size in zip(dims, array.shape, strict=False)}


def _present(draws: Mapping[str, Any], *names: str) -> list[str]:
    return [name for name in names if name in draws]
