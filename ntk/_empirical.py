"""The empirical neural tangent kernel of any function, by the cheapest of three algorithms."""

from collections.abc import Callable
from typing import Any

import jax
from jax import Array
from jax.sharding import Mesh

from ntk._computed import check_mesh, checked_budget, computed
from ntk._cost import Cost, cost_of
from ntk._kernel_inputs import check_inputs
from ntk._known_answer import check_backend
from ntk._methods import METHODS


def empirical_ntk(
    f: Callable[..., Array],
    params: Any,
    x1: Any,
    x2: Any = None,
    *,
    method: str = "auto",
    trace_axes: Any = (),
    diagonal_axes: Any = (),
    memory_budget: float | None = None,
    mesh: Mesh | None = None,
    progress: bool = True,
) -> Array:
    """The empirical neural tangent kernel ``J(x1) J(x2)^T`` over all parameters of ``f``.

    Args:
        f: ``f(params, x[n, ...]) -> [n, *d]``, each example on its own. Its compiled kernel is
            kept, with what ``f`` holds, and found again by ``f``: pass the same function, not a
            new lambda every time.
        params: a pytree; leaves that are not floating point are held.
        x1: inputs ``[n1, ...]``, an array or a pytree of arrays; NumPy arrays, memory-mapped
            ones too, stay on the host but for the rows of a tile.
        x2: inputs ``[n2, ...]``; None: ``x1``, at about half the cost.
        method: ``"structured_derivatives"``, ``"jacobian_contraction"``,
            ``"ntk_vector_products"`` (Novak et al. 2022, sections 3.1 to 3.3), or ``"auto"``: the
            one that :func:`ntk.cost` predicts to be fastest.
        trace_axes: axes of f's output (0 the batch) over which the kernel is averaged along its
            diagonal, as in neural-tangents.
        diagonal_axes: axes of which the diagonal alone is computed and kept.
        memory_budget: bytes of temporary memory; the kernel is computed in tiles whose compiled
            programs need no more. None: half of what is free. Under jit, grad or vmap tiles are
            made only for a budget that is given.
        mesh: devices over which the tiles are spread.
        progress: show a bar on standard error when tiles take longer than two seconds.

    Returns:
        ``[n1, n2, d, d]``: a pair of axes for every axis of f's output, one for a diagonal axis,
        none for a traced one. Half precision is summed in float32.

    Raises:
        TypeError, ValueError: an argument that cannot be meant, before anything is compiled; a
            budget that the smallest tile does not fit.
        BackendError: the JAX backend computes wrong numbers.
    """
    if method not in ("auto", *METHODS):
        raise ValueError(f"unknown method {method!r}; expected one of auto, {', '.join(METHODS)}")
    exact, budget = memory_budget is not None, checked_budget(memory_budget)
    check_mesh(mesh)
    inputs = check_inputs(f, params, x1, x2, trace_axes, diagonal_axes)
    if not inputs.traced:
        check_backend(jax.default_backend())
    if method == "auto":
        method = cost_of(inputs, budget).chosen
    return computed(inputs, method, budget, exact, mesh, progress)


def cost(
    f: Callable[..., Array],
    params: Any,
    x1: Any,
    x2: Any = None,
    *,
    trace_axes: Any = (),
    diagonal_axes: Any = (),
    memory_budget: float | None = None,
) -> Cost:
    """What :func:`empirical_ntk` would cost by each of its algorithms; nothing is run.

    Arguments and errors are those of :func:`empirical_ntk`. Printed, it is a table.
    """
    budget = checked_budget(memory_budget)
    return cost_of(check_inputs(f, params, x1, x2, trace_axes, diagonal_axes), budget)
