"""Taylor polynomials of a network in its parameters."""

from collections.abc import Callable
from numbers import Integral
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntk._float_leaves import path_name, split_floats
from ntk._kernel_inputs import require_finite


def linearize(f: Callable[[Any, Any], Any], params: Any) -> Callable[[Any, Any], Any]:
    """The network linear in its parameters, ``f(params, x) + J(x) (new_params - params)``.

    ``J(x)`` is the Jacobian of ``f(., x)`` at ``params``: the model whose training the empirical
    NTK at ``params`` describes exactly (Lee et al. 2019, arXiv:1902.06720, eq. 5).

    Args:
        f: ``f(params, x)``, any differentiable JAX function; its output may be a pytree.
        params: The expansion point. Leaves that are not floating point are held at their value.

    Returns:
        ``f_lin(new_params, x)``, with the shapes and dtypes of ``f``.

    Raises:
        TypeError, ValueError: as :func:`taylor_expand`.
    """
    return taylor_expand(f, params, 1)


def taylor_expand(
    f: Callable[[Any, Any], Any], params: Any, degree: int
) -> Callable[[Any, Any], Any]:
    """The Taylor polynomial of ``f(., x)`` of this degree about ``params``.

    ``sum_{k <= degree} D^k f(params, x)[delta, ..., delta] / k!``, ``delta = new_params - params``.
    Degree 0 is ``f(params, x)`` whatever ``new_params`` is. Each degree differentiates the one
    below along the same direction (forward mode, which a ``jax.custom_vjp`` in ``f`` does not
    have), so the cost about doubles with each degree.

    Args:
        f: ``f(params, x)``, differentiable ``degree`` times; its output may be a pytree.
        params: The expansion point. Leaves that are not floating point are held at their value.
        degree: An integer, at least 0.

    Returns:
        A function of ``(new_params, x)``. ``new_params`` is cast to the dtypes of ``params``.

    Raises:
        TypeError: f is not callable.
        ValueError: ``degree`` is not an integer of at least 0, ``params`` is not finite, or (from
            the returned function) ``new_params`` has other leaves or shapes than ``params``.
    """
    if isinstance(degree, bool) or not isinstance(degree, Integral) or degree < 0:
        raise ValueError(f"degree must be an integer of at least 0, got {degree!r}")
    if not callable(f):
        raise TypeError(f"f must be a function f(params, x), got {type(f).__name__}")
    require_finite("params", params)
    point, held, layout = split_floats(params)

    def polynomial(new_params: Any, x: Any) -> Any:
        direction = _difference(new_params, params)

        def derivatives(p: list[Array], order: int) -> tuple[Any, ...]:
            """``D^k f(p, x)[delta, ..., delta]`` for k = 0, ..., order."""
            if order == 0:
                return (f(layout.join(p, held), x),)
            lower, tangents = jax.jvp(lambda q: derivatives(q, order - 1), (p,), (direction,))
            return (*lower, tangents[-1])

        return jax.tree.map(_taylor_sum, *derivatives(point, int(degree)))

    return polynomial


def _taylor_sum(*derivatives: Any) -> Array:
    """``sum_k derivatives[k] / k!``; an output that is not floating point has no derivative."""
    lowest = jnp.asarray(derivatives[0])
    if not jnp.issubdtype(lowest.dtype, jnp.inexact):
        return lowest
    total = jnp.zeros_like(lowest)
    # From the highest down, so that no factorial leaves the range of the dtype.
    for order in range(len(derivatives) - 1, 0, -1):
        total = (derivatives[order] + total) / order
    return lowest + total


def _difference(new_params: Any, params: Any) -> list[Array]:
    """``new_params - params`` on the floating point leaves, in the dtypes of ``params``."""
    structure: Any = jax.tree.structure(new_params)
    expected: Any = jax.tree.structure(params)
    if structure != expected:
        raise ValueError(f"new_params must have the tree structure {expected}, got {structure}")
    differences = []
    old, new = jax.tree_util.tree_leaves_with_path(params), jax.tree.leaves(new_params)
    for (path, leaf), moved, kind in zip(old, new, split_floats(params)[2].kinds, strict=True):
        if kind != "float":
            continue
        if jnp.shape(moved) != jnp.shape(leaf):
            raise ValueError(
                f"leaf {path_name(path)} of new_params must have shape {jnp.shape(leaf)}, "
                f"got {jnp.shape(moved)}"
            )
        point = jnp.asarray(leaf)
        differences.append(jnp.asarray(moved).astype(point.dtype) - point)
    return differences
