"""The data of a run: a CSV file, an NPZ file, or one of scikit-learn's small data sets."""

import importlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bnnsample._arguments import checked_index, shown
from bnnsample._command._errors import CommandError

KEYS = ("file", "target", "inputs", "builtin", "input_shape")
# Whether targets are labels.
BUILTIN = {"diabetes": False, "breast_cancer": True, "digits": True}


class Data(NamedTuple):
    """Inputs ``[n, ...]`` and targets, and whether these are known to be labels."""

    x: np.ndarray
    y: np.ndarray
    are_labels: bool


def read_data(table: Mapping[str, Any], folder: Path) -> Data:
    """What the table ``[data]`` names; files are relative to ``folder``.

    Raises:
        CommandError: nothing of the kind, or not in the form expected.
    """
    if ("file" in table) == ("builtin" in table):
        raise CommandError("[data] needs either file or builtin")
    if "builtin" in table:
        _refuse(table, ("target", "inputs"), "builtin")
        data = _builtin(table["builtin"])
    else:
        if not isinstance(table["file"], str):
            raise CommandError(f"[data] file must be a path, got {shown(table['file'])}")
        path = folder / Path(table["file"]).expanduser()
        if path.suffix == ".npz":
            _refuse(table, ("target", "inputs"), "an .npz file")
            data = _npz(path)
        elif path.suffix == ".csv":
            data = _csv(path, table.get("target"), table.get("inputs"))
        else:
            raise CommandError(f"[data] file must end in .csv or .npz, got {shown(table['file'])}")
    if "input_shape" in table:
        data = data._replace(x=_reshaped(data.x, table["input_shape"]))
    return data


def _refuse(table: Mapping[str, Any], keys: tuple[str, ...], beside: str) -> None:
    for key in keys:
        if key in table:
            raise CommandError(f"[data] {key} names columns of a .csv file, and this is {beside}")


def _builtin(name: Any) -> Data:
    if not isinstance(name, str) or name not in BUILTIN:
        raise CommandError(f"[data] builtin must be one of {', '.join(BUILTIN)}, got {shown(name)}")
    try:
        datasets = importlib.import_module("sklearn.datasets")
    except ImportError as error:
        raise CommandError(
            "[data] builtin needs scikit-learn: pip install 'bnnsample[sklearn]'"
        ) from error
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return Data(x, y, BUILTIN[name])


def _npz(path: Path) -> Data:
    try:
        # Opened here: NumPy leaves a file open that it cannot read.
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            names = getattr(file, "files", [])
            if missing := [name for name in ("x", "y") if name not in names]:
                found = ", ".join(names) or "none"
                raise CommandError(f"{path} has no array {missing[0]!r}; its arrays are: {found}")
            x, y = file["x"], file["y"]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise CommandError(f"cannot read {path}: {error}") from error
    if x.ndim == 0 or x.size == 0:
        raise CommandError(f"{path}: x must have shape [n, ...], got {x.shape}")
    return Data(x, y, y.dtype.kind in "US")


def _csv(path: Path, target: Any, inputs: Any) -> Data:
    try:
        frame = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise CommandError(f"cannot read {path}: {error}") from error
    targets = _columns("target", target, frame)
    rest = [column for column in frame.columns if column not in targets]
    chosen = rest if inputs is None else _columns("inputs", inputs, frame)
    if both := [column for column in chosen if column in targets]:
        raise CommandError(f"[data] column {both[0]!r} is among both inputs and target")
    if not chosen or frame.empty:
        raise CommandError(f"{path} has {len(frame)} rows and {len(chosen)} columns of inputs")
    y = frame[targets[0]] if isinstance(target, str) else frame[targets]
    is_text = not all(map(pd.api.types.is_numeric_dtype, frame[targets].dtypes))
    return Data(_numbers(frame[chosen], path), y.to_numpy(), is_text)


def _columns(key: str, given: Any, frame: pd.DataFrame) -> list[str]:
    """One name or a list of them."""
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise CommandError(f"[data] {key} must be a column or a list of them, got {shown(given)}")
    for name in names:
        if name not in frame.columns:
            raise CommandError(
                f"[data] {key}: no column {name!r}; the columns are {shown(list(frame.columns))}"
            )
    return names


def _numbers(inputs: pd.DataFrame, path: Path) -> np.ndarray:
    for column, dtype in inputs.dtypes.items():
        if not pd.api.types.is_numeric_dtype(dtype):
            raise CommandError(
                f"{path}: column {column!r} is not numeric; leave it out of [data] inputs, or "
                "encode it as numbers"
            )
    return inputs.to_numpy(np.float64)


def _reshaped(x: np.ndarray, shape: Any) -> np.ndarray:
    """Inputs ``[n, *shape]``: images of rows, say."""
    try:
        sizes = [checked_index("input_shape", size) for size in shape]
        if any(size < 1 for size in sizes):
            raise ValueError
        return x.reshape(len(x), *sizes)
    except (TypeError, ValueError) as error:
        raise CommandError(
            f"[data] input_shape must be a list of positive sizes whose product is that of an "
            f"input of shape {list(x.shape[1:])}, got {shown(shape)}"
        ) from error
