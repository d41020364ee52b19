"""Plain arguments: checked where their values are known, passed through where they are traced."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntk._kernel_inputs import is_concrete


def check_choice(name: str, value: Any, choices: Sequence[str]) -> str:
    if not isinstance(value, str) or value not in choices:
        expected = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {expected}, got {value!r}")
    return value


def floating(name: str, value: Any, dtype: Any = None) -> Array:
    """``value`` as a finite real floating point array, half precision raised to float32.

    Args:
        name: for messages.
        value: anything that ``jnp.asarray`` takes.
        dtype: to cast to; integers are then allowed too.

    Raises:
        TypeError: not an array of real numbers.
        ValueError: empty, or a concrete value that is not finite.
    """
    try:
        array = jnp.asarray(value if dtype is None else _without_integers(value))
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"{name} must be an array of real numbers, got {value!r}") from error
    kinds = (jnp.floating,) if dtype is None else (jnp.floating, jnp.integer)
    if not any(jnp.issubdtype(array.dtype, kind) for kind in kinds):
        raise TypeError(f"{name} must have a floating point dtype, got {array.dtype}")
    if 0 in array.shape:
        raise ValueError(f"{name} must not be empty, got shape {array.shape}")
    if dtype is None:
        dtype = array.dtype if jnp.finfo(array.dtype).bits >= 32 else jnp.float32
    if is_concrete(array) and not every(array, "isfinite"):
        raise ValueError(f"{name} must be finite, got NaN or infinity in it")
    cast = array.astype(dtype)
    if cast.dtype != array.dtype and is_concrete(cast) and not every(cast, "isfinite"):
        raise ValueError(f"{name} is too large for {cast.dtype}, the dtype of the kernel")
    return cast


def on_host(value: Any) -> Any:
    """A NumPy array of what is not JAX's: JAX may have no integers that are as wide."""
    is_jax = isinstance(value, jax.Array) or not is_concrete(value)
    return jnp.asarray(value) if is_jax else np.asarray(value)


def _without_integers(value: Any) -> Any:
    """Integers on the host as floating point numbers."""
    host = on_host(value)
    whole = isinstance(host, np.ndarray) and host.dtype.kind in "iu"
    return host.astype(float) if whole else value


# Arrays of at most so many entries are looked at by NumPy, which compiles nothing.
_SMALL = 2**20


def every(array: Any, condition: str, *args: Any) -> bool:
    """Whether a NumPy function by this name holds for all of a concrete array."""
    if array.size <= _SMALL:
        return bool(np.all(getattr(np, condition)(np.asarray(array), *args)))
    with jax.ensure_compile_time_eval():  # a constant of a function being traced
        return bool(jnp.all(getattr(jnp, condition)(array, *args)))


def asymmetry(matrix: Array) -> tuple[float, float]:
    """The largest gap of a concrete matrix from its transpose, and its largest entry."""
    if matrix.size <= _SMALL:
        host = np.asarray(matrix)
        return float(np.abs(host - host.T).max()), float(np.abs(host).max())
    with jax.ensure_compile_time_eval():
        return float(jnp.max(jnp.abs(matrix - matrix.T))), float(jnp.max(jnp.abs(matrix)))


def check_targets(y: Any, n: int, outputs: int | None, dtype: Any) -> Array:
    """``y [n]`` or ``[n, o]``, in the kernel's dtype.

    Args:
        y: as given.
        n: training points of the kernel.
        outputs: of a kernel between outputs; None of one kernel for all.
        dtype: the kernel's.
    """
    targets = floating("y", y, dtype)
    if outputs is None:
        fits = targets.ndim in (1, 2) and targets.shape[0] == n
        expected = f"({n},) or ({n}, outputs)"
    else:
        fits = targets.shape == (n, outputs) or (outputs == 1 and targets.shape == (n,))
        expected = f"{(n, outputs)}"
    if not fits:
        raise ValueError(
            f"y must have shape {expected} to fit the training kernel, got {targets.shape}"
        )
    return targets


def check_variance(name: str, value: Any, n: int, dtype: Any) -> Array:
    """A variance of at least 0, ``[]`` or one per data point ``[n]``."""
    variance = floating(name, value, dtype)
    if variance.shape not in ((), (n,)):
        raise ValueError(f"{name} must be one number or of shape {(n,)}, got {variance.shape}")
    if is_concrete(variance) and not every(variance, "greater_equal", 0):
        raise ValueError(f"{name} is a variance and must be at least 0, got {value!r}")
    return variance


def check_jitter(jitter: Any, dtype: Any) -> Array:
    """One number of at least 0."""
    value = floating("jitter", jitter, dtype)
    if value.shape != ():
        raise ValueError(f"jitter must be one number, got shape {value.shape}")
    if is_concrete(value) and not every(value, "greater_equal", 0):
        raise ValueError(f"jitter must be at least 0, got {jitter!r}")
    return value


def check_time(t: Any, dtype: Any) -> Array:
    """A time of at least 0, infinity included."""
    try:
        value = jnp.asarray(_without_integers(t))
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"t must be a number, got {t!r}") from None
    if value.ndim != 0 or jnp.issubdtype(value.dtype, jnp.complexfloating):
        raise ValueError(f"t must be one real number, got shape {value.shape} of {value.dtype}")
    if is_concrete(value) and not every(value, "greater_equal", 0):
        raise ValueError(f"t must be at least 0 (jnp.inf for the limit), got {t!r}")
    return value.astype(dtype)
