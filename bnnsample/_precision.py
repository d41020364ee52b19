"""In which floating point a run computes what."""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bnnsample._arguments import checked_choice

# Of data, states and potentials, and of the network's features where they have their own.
DTYPES: dict[str, tuple[Any, Any]] = {
    "float64": (np.float64, None),
    "float32": (np.float32, None),
    "mixed": (np.float64, jnp.float32),
}


def checked_precision(precision: Any) -> tuple[np.dtype | None, Any]:
    """The dtypes of a run, both None: those of x."""
    if precision is None:
        return None, None
    dtype, network_dtype = DTYPES[checked_choice("precision", precision, tuple(DTYPES))]
    return np.dtype(dtype), network_dtype


@contextlib.contextmanager
def precision(dtype: Any) -> Iterator[None]:
    """64-bit mode on for float64 and off for float32, whatever it is set to outside.

    On an accelerator products of float32 are made of float32, not of the shorter numbers (TF32,
    bfloat16) that JAX makes them of there, unless JAX's own setting says so.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.enable_x64(np.dtype(dtype) == np.float64))
        if (
            jax.default_backend() != "cpu"
            and jax.config.read("jax_default_matmul_precision") is None
        ):
            stack.enter_context(jax.default_matmul_precision("highest"))
        yield


def fast_products() -> contextlib.AbstractContextManager:
    """Products as fast as the device makes them (TF32 on NVIDIA, bfloat16 on TPU)."""
    return jax.default_matmul_precision("default")
