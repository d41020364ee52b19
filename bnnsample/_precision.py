"""JAX's 64-bit mode, as the dtype of a run needs it."""

import contextlib
from typing import Any

import jax
import numpy as np


def precision(dtype: Any) -> contextlib.AbstractContextManager:
    """64-bit mode on for float64 and off for float32, whatever it is set to outside."""
    return jax.enable_x64(np.dtype(dtype) == np.float64)
