"""A directory of arrays: written at once or not at all, and checked in full when read."""

import json
import os
import shutil
import tempfile
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

FORMAT = 1
FORMAT_KEY = "bnnsample_format"
METADATA_KEY = "bnnsample"
# What zarr itself writes for numeric arrays. Nothing else is decoded: a codec can be code.
_CODECS = {"bytes", "zstd", "blosc", "gzip", "crc32c", "transpose", "sharding_indexed", "vlen-utf8"}


def write(
    path: Path, groups: Mapping[str, xr.Dataset], metadata: Mapping[str, Any], overwrite: bool
) -> None:
    """Write ``groups`` beside ``path`` and rename.

    Raises:
        FileExistsError: ``path`` exists, unless ``overwrite`` and it holds a result.
    """
    if os.path.lexists(path) and not (overwrite and _is_result(path)):
        hint = "it is not a bnnsample result" if overwrite else "pass overwrite=True to replace it"
        raise FileExistsError(f"{path} exists; {hint}")
    path.parent.mkdir(parents=True, exist_ok=True)
    workspace = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        _write_tree(workspace / "new", groups, metadata)
        if os.path.lexists(path):
            path.rename(workspace / "old")
        (workspace / "new").rename(path)
    except BaseException:
        if (workspace / "old").exists() and not path.exists():
            (workspace / "old").rename(path)
        raise
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def read(path: Path) -> tuple[dict[str, xr.Dataset], dict[str, Any]]:
    """Every group by its path, and the metadata; in memory, but for what was streamed.

    Raises:
        FileNotFoundError: nothing at ``path``.
        ValueError: not a result, a result of a newer format, or a damaged one.
    """
    if not path.exists():
        raise FileNotFoundError(f"no result at {path}")
    attributes = _root_attributes(path)
    if FORMAT_KEY not in attributes:
        raise ValueError(f"{path} is not a bnnsample result, or its root is damaged")
    version = attributes[FORMAT_KEY]
    if version != FORMAT:
        raise ValueError(
            f"{path} has format version {version!r}, and this bnnsample reads version {FORMAT}; "
            "load it with a newer bnnsample"
        )
    try:
        _refuse_unknown_codecs(path)
        metadata = json.loads(attributes[METADATA_KEY])
        if metadata.get("streamed"):
            _verify_chunks(path)
            return _open_tree(path), metadata
        groups = _read_tree(path)
        _verify(groups, metadata.pop("checksums"))
    except Exception as error:
        raise ValueError(f"{path} is damaged or incomplete: {error}") from error
    return groups, metadata


def metadata_of(path: Path) -> dict[str, Any] | None:
    """The metadata of a directory; None: it has none."""
    text = _root_attributes(path).get(METADATA_KEY)
    return None if text is None else json.loads(text)


@contextmanager
def quietly() -> Iterator[None]:
    """Consolidated metadata is what xarray looks for first, and not in Zarr's standard yet."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        yield


def _write_tree(path: Path, groups: Mapping[str, xr.Dataset], metadata: Mapping[str, Any]) -> None:
    checksums = {
        f"{group}/{name}": _checksum(variable.values)
        for group, dataset in groups.items()
        for name, variable in dataset.variables.items()
    }
    root = {
        FORMAT_KEY: FORMAT,
        METADATA_KEY: json.dumps({**metadata, "checksums": checksums}),
    }
    tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs=root)} | _absolute(groups))
    with quietly():
        tree.to_zarr(path, mode="w-", consolidated=True, zarr_format=3, encoding=_encoding(groups))


def _absolute(groups: Mapping[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    return {f"/{group}": dataset for group, dataset in groups.items()}


def _encoding(groups: Mapping[str, xr.Dataset]) -> dict[str, dict[str, dict[str, Any]]]:
    """No fill value for floats: xarray would read it back as missing."""
    return {
        f"/{group}": {
            str(name): {"_FillValue": None}
            for name, variable in dataset.variables.items()
            if variable.dtype.kind == "f"
        }
        for group, dataset in groups.items()
    }


def _read_tree(path: Path) -> dict[str, xr.Dataset]:
    with xr.open_datatree(path, engine="zarr", consolidated=True, chunks=None) as tree:
        return {
            node.path.strip("/"): node.to_dataset(inherit=False).load() for node in tree.subtree
        }


def _open_tree(path: Path) -> dict[str, xr.Dataset]:
    """Groups that read what is asked for, and keep none of it."""
    tree = xr.open_datatree(path, engine="zarr", consolidated=True, chunks=None, cache=False)
    return {node.path.strip("/"): node.to_dataset(inherit=False) for node in tree.subtree}


def _verify_chunks(path: Path) -> None:
    """Zarr reads a missing chunk as zeros; damaged ones are seen by their own checksums."""
    root = zarr.open_group(path, mode="r", use_consolidated=True)
    for name, array in root.members(max_depth=None):
        if isinstance(array, zarr.Array) and array.nchunks_initialized < array.nchunks:
            raise ValueError(f"{name} lacks chunks")


def _verify(groups: Mapping[str, xr.Dataset], checksums: Mapping[str, int]) -> None:
    """Zarr reads a missing chunk as zeros, so every array is checked."""
    for full_name, expected in checksums.items():
        group, name = full_name.rsplit("/", 1)
        if group not in groups or name not in groups[group].variables:
            raise ValueError(f"{full_name} is missing")
        if _checksum(groups[group][name].values) != expected:
            raise ValueError(f"{full_name} is not what was saved")


def _checksum(array: np.ndarray) -> int:
    if array.dtype.kind in "OTU":
        # Text comes back as another dtype than it was written with.
        return zlib.crc32(json.dumps([str(text) for text in array.ravel()]).encode())
    start = zlib.crc32(f"{array.dtype.str}{array.shape}".encode())
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, start)


def _is_result(path: Path) -> bool:
    return path.is_dir() and FORMAT_KEY in _root_attributes(path)


def _root_attributes(path: Path) -> dict[str, Any]:
    try:
        return json.loads((path / "zarr.json").read_text())["attributes"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _refuse_unknown_codecs(path: Path) -> None:
    for file in path.rglob("*"):
        if file.name in (".zarray", ".zgroup", ".zmetadata"):
            raise ValueError(f"{file.name} belongs to Zarr version 2, which is not read")
        if file.name == "zarr.json":
            used = _codec_names(json.loads(file.read_text()))
            if not used <= _CODECS:
                raise ValueError(f"codecs {sorted(used - _CODECS)} are not read")


def _codec_names(node: Any) -> set[str]:
    if isinstance(node, list):
        return set().union(*map(_codec_names, node))
    if not isinstance(node, dict):
        return set()
    found = {codec["name"] for codec in node.get("codecs") or [] if isinstance(codec, dict)}
    return found.union(*map(_codec_names, node.values()))
