"""How chains share a device."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
from threadpoolctl import threadpool_limits

DRAWS_AT_ONCE = 16


def map_chains(fn: Callable[..., Any], platform: str) -> Callable[..., Any]:
    """``fn`` over the leading axis of its arguments: ``vmap`` on an accelerator, in turn on CPU.

    On CPU, ``vmap`` would make one batched LAPACK call of the chains' factorisations, which
    fans out to the thread pool it runs in and can block for ever; the chains' matrix products
    use every core when they run in turn.
    """
    if platform != "cpu":
        return jax.vmap(fn)
    return lambda *args: jax.lax.map(lambda packed: fn(*packed), args)


def map_draws(fn: Callable[[Any], Any], platform: str) -> Callable[[Any], Any]:
    """``fn`` over many draws along the leading axis: a few at a time on an accelerator, in turn
    on CPU, so that memory does not grow with their number."""
    batch = None if platform == "cpu" else DRAWS_AT_ONCE
    return lambda draws: jax.lax.map(fn, draws, batch_size=batch)


@contextlib.contextmanager
def quiet_blas(platform: str) -> Iterator[None]:
    """Hold OpenBLAS to one thread on CPU, and put it back.

    XLA takes small factorisations from SciPy's OpenBLAS, whose own threads spin against XLA's.
    """
    if platform != "cpu":
        yield
        return
    with threadpool_limits(limits=1, user_api="blas"):
        yield
