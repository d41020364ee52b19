"""A kernel computed in one piece, in tiles that fit a memory budget, or over a mesh."""

import functools
import math
from collections.abc import Callable
from numbers import Real
from typing import Any

import jax
from jax.sharding import Mesh

from ntk._cost import cost_by
from ntk._kernel_inputs import Inputs
from ntk._memory import compiler_options, default_budget
from ntk._methods import kernel_of
from ntk._tiled import home_of, spread_kernel, tiled_kernel
from ntk._tiles import choose_tiling, mapped_kernel


def computed(
    inputs: Inputs, method: str, budget: int, exact: bool, mesh: Mesh | None, progress: bool
) -> Any:
    """The kernel of a checked call.

    Args:
        inputs, method: of the kernel.
        budget: bytes of temporary memory.
        exact: whether the budget was given; otherwise an estimate may decide what fits it, and
            within a transformation no tiles are made.
        mesh: devices over which tiles are spread.
        progress: whether to show a bar.
    """
    if inputs.traced:
        if not exact:
            return _in_one_piece(inputs, method)
        return mapped_kernel(inputs, method, choose_tiling(inputs, method, budget, False, 1))
    if mesh is not None:
        cut = choose_tiling(inputs, method, budget, exact, mesh.devices.size)
        return spread_kernel(inputs, method, cut, mesh, progress)
    if not exact and cost_by(inputs, method).temporary_bytes <= budget:
        return _in_one_piece(inputs, method)
    with jax.default_device(home_of(inputs)):
        cut = choose_tiling(inputs, method, budget, exact, 1)
        return tiled_kernel(inputs, method, cut, progress)


def _in_one_piece(inputs: Inputs, method: str) -> Any:
    options = {}
    if not inputs.traced:
        options = compiler_options(cost_by(inputs, method).temporary_bytes)
    kernel = _compiled(tuple(options.items()))
    return kernel(inputs.signature, method, inputs.leaves, inputs.held, inputs.x1, inputs.x2)


@functools.cache
def _compiled(options: tuple[tuple[str, str], ...]) -> Callable[..., Any]:
    """The kernel in one piece under XLA's options."""
    static = ("signature", "method")
    return jax.jit(kernel_of, static_argnames=static, compiler_options=dict(options) or None)


def checked_budget(memory_budget: float | None) -> int:
    """Bytes.

    Raises:
        TypeError: not a number.
        ValueError: not finite, or not at least one byte.
    """
    if memory_budget is None:
        return default_budget(jax.devices()[0])
    if isinstance(memory_budget, bool) or not isinstance(memory_budget, Real):
        raise TypeError(f"memory_budget must be a number of bytes, got {memory_budget!r}")
    if not math.isfinite(memory_budget) or memory_budget < 1:
        raise ValueError(f"memory_budget must be finite and at least 1 byte, got {memory_budget!r}")
    return int(memory_budget)


def check_mesh(mesh: Any) -> None:
    """Raise unless ``mesh`` is a mesh of devices or None."""
    if mesh is not None and not isinstance(mesh, Mesh):
        raise TypeError(f"mesh must be a jax.sharding.Mesh or None, got {type(mesh).__name__}")
