"""The empirical neural tangent kernel of any function, by the cheapest of three algorithms."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntk._jacobian_contraction import dense_jacobian
from ntk._kernel_inputs import Inputs, Signature, check_inputs
from ntk._known_answer import check_backend
from ntk._ntk_vector_products import ntk_by_products
from ntk._operations import count_operations
from ntk._structured._backward import jacobian_of
from ntk._structured._gram import gram, symmetric_gram

JACOBIAN_CONTRACTION = "jacobian_contraction"
NTK_VECTOR_PRODUCTS = "ntk_vector_products"
STRUCTURED_DERIVATIVES = "structured_derivatives"
METHODS = (STRUCTURED_DERIVATIVES, JACOBIAN_CONTRACTION, NTK_VECTOR_PRODUCTS)
_JACOBIANS: dict[str, Callable[..., Any]] = {
    STRUCTURED_DERIVATIVES: jacobian_of,
    JACOBIAN_CONTRACTION: dense_jacobian,
}


def kernel_of(
    signature: Signature, method: str, leaves: Any, held: Any, x1: list[Array], x2: Any
) -> Array:
    """The kernel in one piece; ``x2`` None: of x1 with itself."""
    function = signature.function(held)
    x1 = [jnp.asarray(a) for a in x1]
    if method == NTK_VECTOR_PRODUCTS:
        other = x1 if x2 is None else x2
        return ntk_by_products(function, leaves, x1, other, signature.reduction).astype(
            signature.dtype
        )
    jacobian = _JACOBIANS[method]
    first = jacobian(function, leaves, x1)
    if x2 is None:
        return symmetric_gram(first, len(x1[0]), signature.reduction, signature.dtype)
    second = jacobian(function, leaves, x2)
    sizes = len(x1[0]), len(x2[0])
    return gram(first, second, sizes, signature.reduction, signature.dtype)


_kernel = functools.partial(jax.jit, static_argnames=("signature", "method"))(kernel_of)


def empirical_ntk(
    f: Callable[..., Array],
    params: Any,
    x1: Any,
    x2: Any = None,
    *,
    method: str = "auto",
    trace_axes: Any = (),
    diagonal_axes: Any = (),
) -> Array:
    """The empirical neural tangent kernel ``J(x1) J(x2)^T`` over all parameters of ``f``.

    Args:
        f: ``f(params, x[n, ...]) -> [n, *d]``, each example on its own; hashable, since its
            compiled kernel is kept with it.
        params: a pytree; leaves that are not floating point are held.
        x1: inputs ``[n1, ...]``, an array or a pytree of arrays.
        x2: inputs ``[n2, ...]``; None: ``x1``, at about half the cost.
        method: ``"structured_derivatives"``, ``"jacobian_contraction"``,
            ``"ntk_vector_products"`` (Novak et al. 2022, sections 3.1 to 3.3), or ``"auto"``: the
            one with the fewest operations, counted on the jaxpr, those of structured
            derivatives at four fifths.
        trace_axes: axes of f's output (0 the batch) over which the kernel is averaged along its
            diagonal, as in neural-tangents.
        diagonal_axes: axes of which the diagonal alone is computed and kept.

    Returns:
        ``[n1, n2, d, d]``: a pair of axes for every axis of f's output, one for a diagonal axis,
        none for a traced one. Half precision is summed in float32.

    Raises:
        TypeError, ValueError: an argument that cannot be meant, before anything is compiled.
        BackendError: the JAX backend computes wrong numbers.
    """
    if method not in ("auto", *METHODS):
        raise ValueError(f"unknown method {method!r}; expected one of auto, {', '.join(METHODS)}")
    inputs = check_inputs(f, params, x1, x2, trace_axes, diagonal_axes)
    if not inputs.traced:
        check_backend(jax.default_backend())
    if method == "auto":
        method = _fewest_operations(inputs)
    return _kernel(inputs.signature, method, inputs.leaves, inputs.held, inputs.x1, inputs.x2)


def operations(inputs: Inputs, method: str) -> int:
    """Operations of a method on these inputs; nothing is run."""
    shapes = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype),
        (inputs.leaves, inputs.held, inputs.x1, inputs.x2),
    )
    return count_operations(functools.partial(kernel_of, inputs.signature, method), *shapes)


def _fewest_operations(inputs: Inputs) -> str:
    shapes = jax.tree.leaves((inputs.leaves, inputs.held, inputs.x1, inputs.x2))
    key = inputs.signature, tuple((a.shape, str(a.dtype)) for a in shapes), inputs.x2 is None
    if key not in _CHOICES:
        if len(_CHOICES) > MOST_CHOICES:
            _CHOICES.clear()
        counts = {method: float(operations(inputs, method)) for method in METHODS}
        counts[STRUCTURED_DERIVATIVES] *= PREFERENCE
        _CHOICES[key] = min(METHODS, key=lambda method: counts[method])
    return _CHOICES[key]


MOST_CHOICES = 1000
# Structured derivatives are products of matrices, which run faster per operation than the
# derivatives of convolutions, and need no Jacobian in memory.
PREFERENCE = 0.8
_CHOICES: dict[Any, str] = {}
