"""Checks of the plain arguments of ``run``."""

import operator
from pathlib import Path
from typing import Any

import jax
import numpy as np

MAY_BE_ZERO = ("num_warmup", "num_kernel_draws")
# Of a value in an error message, so many characters.
SHOWN = 80


def checked_counts(**counts: Any) -> dict[str, int]:
    """Counts by name as ints of at least 1 (those of ``MAY_BE_ZERO`` at least 0)."""
    checked = {}
    for name, value in counts.items():
        checked[name] = checked_index(name, value)
        least = 0 if name in MAY_BE_ZERO else 1
        if checked[name] < least:
            raise ValueError(f"{name} must be at least {least}, got {shown(value)}")
        if checked[name] >= 2**31:
            raise ValueError(f"{name} must be below 2**31, got {shown(value)}")
    return checked


def checked_index(name: str, value: Any) -> int:
    """An int, of Python or NumPy; True and False are none.

    Raises:
        TypeError: anything else; ``name`` is in the message.
    """
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        return operator.index(value)
    except Exception:
        raise TypeError(f"{name} must be an int, got {shown(value)}") from None


def checked_number(name: str, value: Any, expected: str = "a number") -> float:
    """A real number as a float; text and booleans are none, though ``float`` takes them.

    Raises:
        TypeError: anything else, or an int beyond the range of a float; ``name`` is in the message.
    """
    kind = getattr(getattr(value, "dtype", None), "kind", "f")
    refused = (bool, np.bool_, str, bytes, bytearray, memoryview)
    try:
        # Of an array's dtype: text, times and complex numbers. bfloat16 is of kind V.
        if isinstance(value, refused) or kind in "bSUmMcO":
            raise TypeError
        return float(value)
    except Exception:
        raise TypeError(f"{name} must be {expected}, got {shown(value)}") from None


def checked_choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """One of ``choices``.

    Raises:
        ValueError: anything else; ``name`` is in the message.
    """
    if not isinstance(value, str) or value not in choices:
        *most, last = map(repr, choices)
        raise ValueError(f"{name} must be {', '.join(most)} or {last}, got {shown(value)}")
    return value


def shown(value: Any) -> str:
    """A value as error messages show it: shortened, and whatever its ``repr`` does."""
    try:
        text = repr(value)
    except Exception:
        return type(value).__name__
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 4]} ..."


def checked_path(name: str, path: Any) -> Path:
    """A path, absolute and with ``~`` spelt out: libraries differ in what they make of others.

    Raises:
        TypeError: not a path.
        ValueError: one that no file can have.
    """
    try:
        path = Path(path)
    except TypeError:
        raise TypeError(f"{name} must be a path, got {type(path).__name__}") from None
    if "\0" in str(path):
        raise ValueError(f"{name}={str(path)!r} has a null character")
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:
        raise ValueError(f"{name}={str(path)!r}: {error}") from None


def checked_seed(seed: Any) -> int:
    """The seed as an int in [0, 2^63)."""
    seed = checked_index("seed", seed)
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed must lie between 0 and 2**63 - 1, got {shown(seed)}")
    return seed


def key_of(seed: int) -> jax.Array:
    """All 63 bits count: ``jax.random.key`` drops the upper ones in 32-bit mode."""
    low, high = seed % 2**32, seed >> 32
    key = jax.random.key(np.uint32(low))
    return jax.random.fold_in(key, np.uint32(high)) if high else key
