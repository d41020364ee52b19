"""A result on disk: one Zarr directory that xarray reads, and back without running any code."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from bnnsample._arguments import checked_path
from bnnsample._record import KeptParameters, RunRecord
from bnnsample._standardize import Standardizer
from bnnsample.likelihoods import Likelihood
from bnnsample.models import Model
from bnnsample.results import _pytree, _zarr
from bnnsample.results._idata import build_groups, is_identity
from bnnsample.results._json import to_json
from bnnsample.results._rebuild import parameter_template, rebuild_posterior

_COUNTERS = (
    "num_gradients",
    "sampling_seconds",
    "warmup_gradients",
    "warmup_seconds",
    "compile_seconds",
    "interrupted",
    "potential_error",
    "potentials_checked",
    "condition",
    "y_was_vector",
)
_STANDARDIZER = tuple(field.name for field in dataclasses.fields(Standardizer))
# Stored in y's units for ArviZ; undoing that would round.
_RESCALED = ("f", "f_mean", "y_mean", "y", "log_likelihood")


class Stored(Mapping[str, np.ndarray]):
    """Arrays by name, each read when it is asked for where it is not in memory already."""

    def __init__(self, arrays: Mapping[str, xr.DataArray]):
        self._arrays = dict(arrays)

    def __getitem__(self, name: str) -> np.ndarray:
        return self._arrays[name].values

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    @property
    def nbytes(self) -> int:
        """Of all arrays, in memory or not."""
        return sum(array.nbytes for array in self._arrays.values())

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


def save(record: RunRecord, path: Any, created_at: str, overwrite: bool = False) -> None:
    """``Result.save``; see there."""
    _zarr.write(checked_path("path", path), *described(record, created_at), overwrite)


def described(record: RunRecord, created_at: str) -> tuple[dict[str, xr.Dataset], dict[str, Any]]:
    """A record as groups by path, and what they do not say."""
    groups = build_groups(record, created_at)
    groups["run"] = _plain_arrays(
        {name: getattr(record.standardizer, name) for name in _STANDARDIZER}
        | {"hidden_flat_index": record.hidden_index}
    )
    if not is_identity(record.standardizer):
        for name, draws in (("draws", record.draws), ("prior", record.prior)):
            exact = _plain_arrays(_pick(draws, _RESCALED), ("chain", "draw"))
            groups[f"sampler_units/{name}"] = exact
    metadata: dict[str, Any] = {
        "created_at": created_at,
        "settings": to_json(record.settings),
        "adapted": to_json(record.adapted),
        "counters": counters_of(record),
        "draws": list(record.draws),
        "prior": list(record.prior),
        "sample_stats": list(record.sample_stats),
    }
    if record.kept is not None:
        metadata["parameters"] = _add_kept(groups, record.kept)
    if record.moments is not None:
        metadata["moments"] = add_moments(groups, record.moments)
    return groups, metadata


def add_moments(groups: dict[str, xr.Dataset], moments: Any) -> dict[str, Any]:
    """Moments among the groups; returns their structure."""
    structure = _pytree.describe(moments)
    _add_leaves(groups, "moments", moments, structure, ())
    return structure


def counters_of(record: RunRecord) -> dict[str, Any]:
    """What a record counts, as plain values."""
    return {name: _scalar(getattr(record, name)) for name in _COUNTERS}


def read_record(
    path: Path, model: Model | None, likelihood: Likelihood | None
) -> tuple[RunRecord, str]:
    """The record as saved, and when it was created; see ``load``."""
    groups, metadata = _zarr.read(path)
    try:
        for name in ("settings", "adapted", "counters"):
            if not isinstance(metadata[name], Mapping):
                raise ValueError(f"{name} is of type {type(metadata[name]).__name__}")
        return _to_record(groups, metadata, model, likelihood), metadata["created_at"]
    except Exception as error:
        # What is stored may be anything, and wrong in any way.
        raise ValueError(f"{path} cannot be loaded: {error}") from error


def _to_record(
    groups: Mapping[str, xr.Dataset],
    metadata: Mapping[str, Any],
    model: Model | None,
    likelihood: Likelihood | None,
) -> RunRecord:
    run = _arrays(groups["run"])
    standardizer = Standardizer(**{name: run[name] for name in _STANDARDIZER})
    x, y = groups["constant_data"]["x"].values, groups["observed_data"]["y"].values
    posterior = rebuild_posterior(
        metadata["settings"], standardizer, x, y, model=model, likelihood=likelihood
    )
    draws = _read_draws(groups, metadata["draws"])
    template = None if posterior is None else parameter_template(posterior)
    return RunRecord(
        posterior=posterior,
        standardizer=standardizer,
        x=x,
        y=y,
        x_eval=groups["constant_data"]["x_eval"].values,
        draws=Stored(draws) if metadata.get("streamed") else dict(Stored(draws)),
        prior=dict(Stored(_read_prior(groups, metadata["prior"]))),
        sample_stats={n: groups["sample_stats"][n].values for n in metadata["sample_stats"]},
        hidden_index=run["hidden_flat_index"],
        kept=_read_kept(groups, metadata.get("parameters"), template),
        moments=_read_moments(groups, metadata.get("moments"), template),
        settings=metadata["settings"],
        adapted=metadata["adapted"],
        **metadata["counters"],
    )


def _read_draws(groups: Mapping[str, xr.Dataset], names: list[str]) -> dict[str, xr.DataArray]:
    places = {"y": ("posterior_predictive", "y"), "log_likelihood": ("log_likelihood", "y")}
    return _read_sampled(groups, names, places, "posterior", "sampler_units/draws")


def _read_prior(groups: Mapping[str, xr.Dataset], names: list[str]) -> dict[str, xr.DataArray]:
    places = {"y": ("prior_predictive", "y")}
    return _read_sampled(groups, names, places, "prior", "sampler_units/prior")


def _read_sampled(groups, names, places, default, exact) -> dict[str, xr.DataArray]:
    arrays = {}
    for name in names:
        group, variable = places.get(name, (default, name))
        if exact in groups and name in groups[exact]:
            group, variable = exact, name
        arrays[name] = groups[group][variable]
    return arrays


def _add_kept(groups: dict[str, xr.Dataset], kept: KeptParameters) -> dict[str, Any]:
    structure = _pytree.describe(kept.parameters)
    _add_leaves(groups, "parameters", kept.parameters, structure, ("chain", "kept_draw"))
    groups["kept"] = _plain_arrays({"draws": kept.draws}, ("kept_draw",))
    groups["kept_unknowns"] = _plain_arrays(kept.unknowns, ("chain", "kept_draw"))
    return {"structure": structure, "unknowns": list(kept.unknowns)}


def _read_kept(
    groups: Mapping[str, xr.Dataset], stored: Mapping[str, Any] | None, template: Any
) -> KeptParameters | None:
    if stored is None:
        return None
    leaves = _read_leaves(groups, "parameters", stored["structure"])
    parameters = _pytree.assemble(stored["structure"], leaves, template)
    unknowns = {name: groups["kept_unknowns"][name].values for name in stored["unknowns"]}
    return KeptParameters(groups["kept"]["draws"].values, parameters, unknowns)


def _read_moments(groups: Mapping[str, xr.Dataset], structure: Any, template: Any) -> Any:
    if structure is None:
        return None
    leaves = _read_leaves(groups, "moments", structure)
    both = None if template is None else {"mean": template, "variance": template}
    return _pytree.assemble(structure, leaves, both)


def _add_leaves(groups, root: str, tree: Any, structure, leading: tuple[str, ...]) -> None:
    """One group per inner node, ``parameters/hidden/0``, one variable per leaf, ``weight``."""
    for path, array in _pytree.leaves_by_path(tree, structure).items():
        group, _, name = f"{root}/{path}".rpartition("/")
        dims = _dims(name, array, leading)
        groups[group] = groups.get(group, xr.Dataset()).assign({name: (dims, array)})


def _read_leaves(
    groups: Mapping[str, xr.Dataset], root: str, structure: Any
) -> dict[str, np.ndarray]:
    leaves = {}
    for path in _pytree.leaf_paths(structure):
        group, _, name = f"{root}/{path}".rpartition("/")
        leaves[path] = groups[group][name].values
    return leaves


def _plain_arrays(arrays: Mapping[str, np.ndarray], leading: tuple[str, ...] = ()) -> xr.Dataset:
    named = {name: np.asarray(array) for name, array in arrays.items()}
    return xr.Dataset({name: (_dims(name, array, leading), array) for name, array in named.items()})


def _dims(name: str, array: np.ndarray, leading: tuple[str, ...] = ()) -> tuple[str, ...]:
    return (*leading, *(f"{name}_dim_{i}" for i in range(array.ndim - len(leading))))


def _arrays(dataset: xr.Dataset) -> dict[str, np.ndarray]:
    return {str(name): dataset[name].values for name in dataset.data_vars}


def _pick(draws: Mapping[str, np.ndarray], names: tuple[str, ...]) -> dict[str, np.ndarray]:
    return {name: draws[name] for name in names if name in draws}


def _scalar(value: Any) -> Any:
    return value.item() if isinstance(value, (np.generic, np.ndarray)) else value
