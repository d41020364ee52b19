"""The user's data, checked and turned into arrays of one floating point dtype."""

import warnings
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np


def as_inputs(x: Any, name: str = "x") -> np.ndarray:
    """Inputs ``[n, ...]`` as a finite floating point array; ``[n]`` becomes ``[n, 1]``."""
    array = as_float(x, name)
    if array.ndim == 0:
        raise ValueError(f"{name} must have shape [n, ...], got a single number")
    if array.ndim == 1:
        array = array[:, None]
    if array.shape[0] == 0 or array.size == 0:
        raise ValueError(f"{name} is empty, with shape {array.shape}; at least one data point")
    require_finite(array, name)
    return array


def as_targets(y: Any, num_points: int) -> tuple[np.ndarray, bool]:
    """Targets as ``[n, d]``, and whether the user gave ``[n]``."""
    array = as_float(y, "y")
    if array.ndim not in (1, 2):
        raise ValueError(f"y must have shape [n] or [n, d], got {array.shape}")
    require_same_length(num_points, len(array))
    if array.size == 0:
        raise ValueError(f"y is empty, with shape {array.shape}")
    require_finite(array, "y")
    return (array[:, None], True) if array.ndim == 1 else (array, False)


def require_same_length(in_x: int, in_y: int) -> None:
    """Raise ``ValueError`` unless x and y have as many data points."""
    if in_x != in_y:
        raise ValueError(
            f"x and y must have the same number of data points, got {in_x} in x and {in_y} in y"
        )


def as_pair(data: Any) -> tuple[Any, Any]:
    """``data`` as the pair ``(x, y)``."""
    if not isinstance(data, Sequence) or isinstance(data, str) or len(data) != 2:
        raise TypeError(f"data must be a pair (x, y), got {type(data).__name__}")
    return data[0], data[1]


def common_dtype(x: np.ndarray) -> np.dtype:
    """The dtype of a run: that of x, float32 where JAX's 64-bit mode is off."""
    if x.dtype == np.float64 and not jax.config.read("jax_enable_x64"):
        warnings.warn(
            "x is float64, but JAX's 64-bit mode is off: the run is in float32. For float64 call "
            'jax.config.update("jax_enable_x64", True) first; to silence this, pass float32',
            stacklevel=4,
        )
        return np.dtype(np.float32)
    return x.dtype


def cast(array: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray:
    """``array`` in the dtype of the run, still finite."""
    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore"):
        result = array.astype(dtype)
    if not np.isfinite(result).all():
        raise ValueError(f"{name} has values beyond the range of {dtype}, the dtype of the run")
    return result


def as_numbers(values: Any) -> np.ndarray | None:
    """Real numbers as an array of float64; None for anything else, text and booleans included."""
    try:
        array = np.asarray(values)
        refused = np.ma.is_masked(values) or (
            any(isinstance(value, (str, bytes, bool)) for value in array.flat)
            if array.dtype == object
            else array.dtype.kind not in "iuf" and array.dtype.name != "bfloat16"
        )
        return None if refused else array.astype(np.float64)
    except Exception:
        return None


def as_float(values: Any, name: str) -> np.ndarray:
    """Real numbers as an array of floating point; errors have ``name``."""
    if np.ma.is_masked(values):
        raise ValueError(f"{name} is a masked array with missing values; remove or fill them")
    try:
        array = np.asarray(values.to_numpy() if hasattr(values, "to_numpy") else values)
    except Exception as error:
        raise TypeError(f"{name} is not an array: {error}") from None
    if array.dtype == object:
        array = _objects_as_float(array, name)
    kind = array.dtype.kind
    if kind in "iub":
        # Integers and booleans carry no precision of their own: JAX's default float.
        return array.astype(np.float64 if jax.config.read("jax_enable_x64") else np.float32)
    if kind != "f" and array.dtype.name != "bfloat16":
        raise TypeError(f"{name} must be real and numeric, got dtype {array.dtype}")
    if array.dtype in (np.float32, np.float64):
        return array
    # Extended precision becomes double, half precision single.
    return array.astype(np.float64 if array.dtype.itemsize > 8 else np.float32)


def _objects_as_float(array: np.ndarray, name: str) -> np.ndarray:
    """Python numbers, as in a data frame of mixed columns; no text, though NumPy would parse it."""
    if any(value is None or type(value).__name__ == "NAType" for value in array.flat):
        raise ValueError(f"{name} has missing values; remove or fill them")
    try:
        if any(isinstance(value, (str, bytes)) for value in array.flat):
            raise TypeError
        return array.astype(np.float64)
    except OverflowError:
        raise ValueError(f"{name} has numbers beyond the range of float64") from None
    except Exception:
        raise TypeError(f"{name} must be numeric, got an array of objects") from None


def require_finite(array: np.ndarray, name: str) -> None:
    """Raise ``ValueError`` at the first value that is not finite."""
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        where = tuple(int(i) for i in bad[0])
        raise ValueError(
            f"{name} has {len(bad)} values that are not finite; the first is "
            f"{array[where]} at index {where}"
        )
