"""Arguments of the operator's methods, checked before anything is compiled."""

import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntk._kernel_inputs import is_concrete


def check_count(name: str, value: Any, low: int = 1, high: int | None = None) -> int:
    """``value`` as an integer between ``low`` and ``high``, or a ValueError that names it."""
    is_integer = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_integer or value < low or (high is not None and value > high):
        bounds = f"of at least {low}" if high is None else f"between {low} and {high}"
        raise ValueError(f"{name} must be an integer {bounds}, got {value!r}")
    return int(value)


def check_tolerance(tolerance: Any, dtype: Any) -> float:
    """A relative tolerance strictly between 0 and 1; ``None`` is the root of machine epsilon."""
    if tolerance is None:
        return float(jnp.finfo(dtype).eps) ** 0.5
    if isinstance(tolerance, bool) or not isinstance(tolerance, Real):
        raise ValueError(f"tolerance must be a number between 0 and 1, got {tolerance!r}")
    if not 0 < float(tolerance) < 1:
        raise ValueError(f"tolerance must lie between 0 and 1, got {tolerance!r}")
    if float(tolerance) < jnp.finfo(dtype).eps:
        raise ValueError(
            f"tolerance {tolerance} is below the precision of {jnp.dtype(dtype).name}, "
            f"{float(jnp.finfo(dtype).eps):.3g}"
        )
    return float(tolerance)


def check_shift(shift: Any, dtype: Any, *, positive: bool) -> Array:
    """A finite scalar, not negative (or positive); a traced one is checked for its shape only."""
    value = jnp.asarray(shift)
    if value.ndim != 0:
        raise ValueError(f"shift must be one number, got shape {value.shape}")
    if is_concrete(shift):
        number = float(shift)
        if not math.isfinite(number) or number < 0 or (positive and number == 0):
            kind = "positive" if positive else "at least 0"
            raise ValueError(f"shift must be finite and {kind}, got {number}")
        # A positive double may be zero in single precision.
        if positive and number < float(jnp.finfo(dtype).tiny):
            raise ValueError(f"shift {number} is zero in {jnp.dtype(dtype).name}")
    return value.astype(dtype)


def check_key(key: Any, what: str) -> Array:
    """One random key, given."""
    if key is None:
        raise ValueError(f"{what} is random: pass key=jax.random.key(seed)")
    try:
        jax.eval_shape(jax.random.bits, key)
    except (TypeError, ValueError):
        raise ValueError(f"key must be one jax.random.key, got {key!r}") from None
    return key


def to_vectors(
    name: str, v: Any, output_shape: tuple[int, ...], dtype: Any
) -> tuple[Array, Callable[[Array], Array], Callable[[Array], Array]]:
    """``v`` as rows ``[k, N]``, and how results go back into the shape that ``v`` came in.

    Accepts ``[n, *d]``, ``[N]`` with ``N = n * d``, and both with a trailing axis of k vectors.

    Returns:
        The rows; the map from ``[k, N]`` to the shape of ``v``; and the map from one number per
        vector ``[k]`` to ``[]`` (no trailing axis) or ``[k]``.

    Raises:
        ValueError: the shape fits none of the four, or the dtype is not the operator's.
    """
    v = jnp.asarray(v)
    size = math.prod(output_shape)
    if v.shape in (output_shape, (size,)):
        rows, has_axis = v.reshape(1, size), False
    elif v.ndim > 0 and v.shape[:-1] in (output_shape, (size,)) and v.shape[-1] > 0:
        rows, has_axis = v.reshape(size, v.shape[-1]).T, True
    else:
        raise ValueError(
            f"{name} must have shape {output_shape} or {(size,)}, or either with a trailing axis "
            f"of vectors, got {v.shape}"
        )
    if v.dtype != dtype:
        raise ValueError(
            f"{name} has dtype {v.dtype}, the operator {jnp.dtype(dtype).name}; cast one"
        )
    return (
        rows,
        lambda result: result.T.reshape(v.shape),
        lambda numbers: numbers if has_axis else numbers[0],
    )
