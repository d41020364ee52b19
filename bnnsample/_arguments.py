"""Checks of the plain arguments of ``run``."""

import operator
from typing import Any

import jax
import numpy as np

MAY_BE_ZERO = ("num_warmup", "num_kernel_draws")


def checked_counts(**counts: Any) -> dict[str, int]:
    """Counts by name as ints of at least 1 (those of ``MAY_BE_ZERO`` at least 0)."""
    checked = {}
    for name, value in counts.items():
        checked[name] = _index(name, value)
        least = 0 if name in MAY_BE_ZERO else 1
        if checked[name] < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
        if checked[name] >= 2**31:
            raise ValueError(f"{name} must be below 2**31, got {value}")
    return checked


def _index(name: str, value: Any) -> int:
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an int, got {value!r}") from None


def checked_seed(seed: Any) -> int:
    """The seed as an int in [0, 2^63)."""
    seed = _index("seed", seed)
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed must lie between 0 and 2**63 - 1, got {seed}")
    return seed


def key_of(seed: int) -> jax.Array:
    """All 63 bits count: ``jax.random.key`` drops the upper ones in 32-bit mode."""
    low, high = seed % 2**32, seed >> 32
    key = jax.random.key(np.uint32(low))
    return jax.random.fold_in(key, np.uint32(high)) if high else key
