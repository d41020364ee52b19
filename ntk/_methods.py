"""The three algorithms under one signature: a kernel, or a tile of one, in one piece."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array

from ntk._jacobian_contraction import dense_jacobian
from ntk._kernel_inputs import Signature
from ntk._ntk_vector_products import ntk_by_products
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
    signature: Signature,
    method: str,
    leaves: Any,
    held: Any,
    x1: list[Array],
    x2: Any,
    starts: Any = None,
) -> Array:
    """The kernel of the signature's function.

    Args:
        signature, method: static.
        leaves, held: the parameters.
        x1, x2: leaves of the inputs; ``x2`` None: of x1 with itself, at half the products.
        starts: where the block of outputs begins, for x1 and for x2, if the signature has one.
    """
    first = signature.function(held, None if starts is None else starts[0])
    second = signature.function(held, None if starts is None else starts[1])
    x1 = [jnp.asarray(a) for a in x1]
    if method == NTK_VECTOR_PRODUCTS:
        other = x1 if x2 is None else [jnp.asarray(a) for a in x2]
        kernel = ntk_by_products(first, second, leaves, x1, other, signature.reduction)
        return kernel.astype(signature.dtype)
    jacobian = _JACOBIANS[method]
    one = jacobian(first, leaves, x1)
    if x2 is None:
        return symmetric_gram(one, len(x1[0]), signature.reduction, signature.dtype)
    two = jacobian(second, leaves, [jnp.asarray(a) for a in x2])
    sizes = len(x1[0]), len(x2[0])
    return gram(one, two, sizes, signature.reduction, signature.dtype)
