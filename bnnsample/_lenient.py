"""Calls into libraries that are not written for JAX's strict promotion rules."""

import functools
from collections.abc import Callable
from typing import Any

import jax


def lenient(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Trace ``fn`` under JAX's default promotion rules, whatever the caller has set."""

    @functools.wraps(fn)
    def traced(*args: Any, **kwargs: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return fn(*args, **kwargs)

    return traced
