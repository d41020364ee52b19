"""Draws appended to a Zarr directory as they are made, so that memory and losses are bounded.

The directory is the one ``Result.save`` writes, but for checksums, which every chunk has of its
own. It is read through its consolidated metadata, written anew, in one stroke, by every commit: a
reader never sees draws that are not all there.
"""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from bnnsample._processes import all_see, is_first
from bnnsample._record import RunRecord
from bnnsample.chains._sink import Block, join
from bnnsample.results._idata import attributes_of
from bnnsample.results._json import to_json
from bnnsample.results._memory import Output, with_draws
from bnnsample.results._storage import add_moments, counters_of, described, read_record
from bnnsample.results._zarr import FORMAT, FORMAT_KEY, METADATA_KEY, metadata_of, quietly

SAMPLED_DIMS = ("draw", "kept_draw")
_PRIOR_GROUPS = ("prior", "prior_predictive", "sampler_units/prior")
CHUNK_BYTES = 4 * 2**20
BUFFER_BYTES = 8 * 2**20


def is_finished(path: Path, num_samples: int) -> bool:
    """Whether a directory has so many draws of its run, and all that follows from them."""
    metadata = metadata_of(path)
    if metadata is None or metadata["counters"]["interrupted"]:
        return False
    return metadata["committed_draws"] == num_samples


def stream_of(path: Path, frame: RunRecord, created_at: str, stride: int, num_draws: int) -> Output:
    """Where the draws of a run go: of several processes the first writes them."""
    if not is_first():
        return _Read(path, frame, created_at)
    return DrawStream(path, frame, created_at, stride, num_draws)


class DrawStream:
    """A sink that appends blocks to the arrays of a directory.

    Args:
        path: the directory; it appears with the first draws.
        frame: the run's record but for what is sampled.
        created_at: the time that is stored.
        stride: every so many draws parameters are kept; 0: never.
        num_draws: draws per chain that are there to stay; those beyond are cut off.
    """

    def __init__(
        self, path: Path, frame: RunRecord, created_at: str, stride: int, num_draws: int = 0
    ):
        self.path, self.frame, self.created_at = path, frame, created_at
        self.num_draws = num_draws
        self._blocks: list[Block] = []
        self._metadata: dict[str, Any] = {}
        if num_draws:
            self._truncate({"draw": num_draws, "kept_draw": num_draws // max(stride, 1)})
            self.created_at = self._metadata["created_at"]
        elif path.exists():
            shutil.rmtree(path)

    def add(self, block: Block) -> None:
        """Take the next draws; they are written once they fill a buffer, or by ``commit``."""
        self._blocks.append(block)
        if sum(map(_bytes, self._blocks)) > BUFFER_BYTES:
            self._write()

    def commit(self, record: RunRecord) -> None:
        """Write all that was taken and show it to readers, with ``record``'s counters."""
        self._write()
        with quietly():
            root = zarr.open_group(self.path, mode="r+", use_consolidated=False)
            metadata = {
                **self._metadata,
                "settings": to_json(record.settings),
                "counters": counters_of(record),
                "committed_draws": self.num_draws,
                "streamed": True,
            }
            root.attrs.update({FORMAT_KEY: FORMAT, METADATA_KEY: json.dumps(metadata)})
            zarr.consolidate_metadata(self.path)

    def finish(self, record: RunRecord) -> RunRecord:
        """``commit``, with ``record``'s moments and attributes; the record with the draws."""
        self._write()
        groups: dict[str, xr.Dataset] = {}
        self._metadata["moments"] = add_moments(groups, record.moments)
        attributes = attributes_of(record, self.created_at)
        with quietly():
            for name, group in groups.items():
                group.to_zarr(self.path, group=name, mode="a", **_ZARR)
            root = zarr.open_group(self.path, mode="r+", use_consolidated=False)
            for _, found in root.groups():
                if "created_at" in found.attrs:
                    found.attrs.update(attributes)
        self.commit(record)
        return _read(self.path, self.frame)

    def _write(self) -> None:
        if not self._blocks:
            return
        block = join(self._blocks)
        self._blocks = []
        groups, metadata = described(with_draws(self.frame, block, self.num_draws), self.created_at)
        with quietly():
            for name, group in groups.items():
                if not group.data_vars:
                    # The unknowns of a run that has none.
                    continue
                dim = _sampled_dim(name, group.dims)
                # Groups are made for those inside them, before they have arrays of their own.
                first = str(next(iter(group.data_vars)))
                exists = (self.path / name / first / "zarr.json").exists()
                if dim is None and not exists:
                    group.to_zarr(self.path, group=name, mode="a", encoding=_plain(group), **_ZARR)
                elif dim is not None:
                    self._append(name, group, dim, exists)
        self.num_draws += next(iter(block.sample_stats.values())).shape[1]
        self._metadata = {**metadata, **self._metadata}

    def _append(self, name: str, group: xr.Dataset, dim: str, exists: bool) -> None:
        """The next entries of a group along ``dim``."""
        if "draw" in group.coords:
            group = group.assign_coords(draw=group["draw"] + self.num_draws)
        if not exists:
            encoding = {str(n): _chunked(v, dim) for n, v in group.variables.items()}
            group.to_zarr(self.path, group=name, mode="a", encoding=encoding, **_ZARR)
            return
        group = group.drop_vars([n for n, v in group.variables.items() if dim not in v.dims])
        group.to_zarr(self.path, group=name, mode="a", append_dim=dim, **_ZARR)

    def _truncate(self, sizes: dict[str, int]) -> None:
        """Cut off what was written and never committed, or committed and not checkpointed.

        Raises:
            ValueError: draws that were committed are not there.
        """
        try:
            with quietly():
                members = self._committed(sizes)
                for array, shape in members:
                    array.resize(shape)
        except Exception as error:
            # What is there may be damaged in any way.
            raise ValueError(
                f"{self.path} has lost draws of its run, which cannot go on: {error}. Give another "
                "checkpoint_dir, or remove this one"
            ) from error

    def _committed(self, sizes: dict[str, int]) -> list[tuple[zarr.Array, tuple[int, ...]]]:
        """Arrays that grow with the draws, and the shapes that they are to have."""
        root = zarr.open_group(self.path, mode="r+", use_consolidated=False)
        self._metadata = json.loads(str(root.attrs[METADATA_KEY]))
        # Of the draws that were there before.
        self._metadata.pop("moments", None)
        members: dict[str, Any] = dict(root.members(max_depth=None))
        listed = zarr.open_group(self.path, mode="r", use_consolidated=True)
        gone = sorted({name for name, _ in listed.members(max_depth=None)} - members.keys())
        if gone:
            raise ValueError(f"{gone[0]} is missing")
        found = []
        for name, array in members.items():
            dims = getattr(array.metadata, "dimension_names", None) or ()
            if _sampled_dim(name.rpartition("/")[0], dims):
                shape = tuple(sizes.get(d, n) for d, n in zip(dims, array.shape, strict=True))
                if any(wanted > n for wanted, n in zip(shape, array.shape, strict=True)):
                    raise ValueError(f"{name} has shape {array.shape}, not at least {shape}")
                found.append((array, shape))
        return found


@dataclasses.dataclass
class _Read:
    """Draws that another process writes, read once they are all there."""

    path: Path
    frame: RunRecord
    created_at: str

    def add(self, block: Block) -> None:
        pass

    def commit(self, record: RunRecord) -> None:
        pass

    def finish(self, record: RunRecord) -> RunRecord:
        return _read(self.path, self.frame)


def _read(path: Path, frame: RunRecord) -> RunRecord:
    """The record of a finished stream, in every process when the first has finished it."""
    all_see(True)
    assert frame.posterior is not None
    return read_record(path, frame.posterior.model, frame.posterior.likelihood)[0]


# Every commit consolidates the metadata; zeros are written like any other number.
_ZARR: dict[str, Any] = {"consolidated": False, "zarr_format": 3, "write_empty_chunks": True}


def _sampled_dim(group: str, dims: Any) -> str | None:
    """The dimension along which a group grows."""
    if group in _PRIOR_GROUPS:
        return None
    return next((dim for dim in SAMPLED_DIMS if dim in dims), None)


def _chunked(variable: xr.Variable, dim: str) -> dict[str, Any]:
    """Chunks of a few MiB along ``dim``, each with a checksum."""
    encoding = _numbers(variable)
    if dim in variable.dims and variable.size:
        axis = variable.dims.index(dim)
        per_entry = variable.nbytes // variable.shape[axis]
        length = int(np.clip(CHUNK_BYTES // max(per_entry, 1), 1, 10_000))
        encoding["chunks"] = tuple(
            length if d == dim else n for d, n in zip(variable.dims, variable.shape, strict=True)
        )
    return encoding


def _plain(group: xr.Dataset) -> dict[str, dict[str, Any]]:
    return {str(name): _numbers(variable) for name, variable in group.variables.items()}


def _numbers(variable: xr.Variable) -> dict[str, Any]:
    """No fill value for floats: xarray would read it back as missing. Text is left alone."""
    if variable.dtype.kind not in "fiub":
        return {}
    encoding: dict[str, Any] = {"compressors": (ZstdCodec(level=1), Crc32cCodec())}
    return {**encoding, "_FillValue": None} if variable.dtype.kind == "f" else encoding


def _bytes(block: Block) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves((block.draws, block.kept)))
