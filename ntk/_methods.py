"""All algorithms under one signature: a kernel, or a tile of one, in one piece."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from ntk._jacobian_contraction import dense_jacobian
from ntk._kernel_inputs import Signature
from ntk._ntk_vector_products import ntk_by_products, symmetric_ntk_by_products
from ntk._structured._backward import jacobian_of
from ntk._structured._gram import gram, symmetric_gram
from ntk._structured._jacobian import Jacobian
from ntk._structured._parts import in_parts
from ntk._structured._projected import without_projections
from ntk._structured._simplify import simplified

JACOBIAN_CONTRACTION = "jacobian_contraction"
NTK_VECTOR_PRODUCTS = "ntk_vector_products"
STRUCTURED_DERIVATIVES = "structured_derivatives"
METHODS = (STRUCTURED_DERIVATIVES, JACOBIAN_CONTRACTION, NTK_VECTOR_PRODUCTS)
INFINITE_WIDTH = "infinite_width"


def kernel_of(
    signature: Any,
    method: str,
    leaves: Any,
    held: Any,
    x1: list[Array],
    x2: Any,
    starts: Any = None,
) -> Any:
    """The kernel of the signature's function; at infinite width a tree of kernels.

    Args:
        signature, method: static.
        leaves, held: the parameters.
        x1, x2: leaves of the inputs; ``x2`` None: of x1 with itself, at half the products.
        starts: where the block of outputs begins, for x1 and for x2, if the signature has one.
    """
    if method == INFINITE_WIDTH:
        return signature.kernels(leaves, x1[0], None if x2 is None else x2[0])
    first = signature.function(held, None if starts is None else starts[0])
    second = signature.function(held, None if starts is None else starts[1])
    x1 = [jnp.asarray(a) for a in x1]
    if method == NTK_VECTOR_PRODUCTS:
        if x2 is not None:
            other = [jnp.asarray(a) for a in x2]
            kernel = ntk_by_products(first, second, leaves, x1, other, signature.reduction)
        else:
            kernel = symmetric_ntk_by_products(first, leaves, x1, signature.reduction)
        return kernel.astype(signature.dtype)
    n1 = len(x1[0])
    if x2 is None:
        one = _jacobian(signature, method, first, leaves, x1, (n1, n1), n1)
        return symmetric_gram(one, n1, signature.reduction, signature.dtype)
    sizes = n1, len(x2[0])
    x2 = [jnp.asarray(a) for a in x2]
    one = _jacobian(signature, method, first, leaves, x1, sizes, sum(sizes))
    two = _jacobian(signature, method, second, leaves, x2, sizes, sum(sizes))
    return gram(one, two, sizes, signature.reduction, signature.dtype)


def _jacobian(
    signature: Signature,
    method: str,
    function: Any,
    leaves: Any,
    x: list[Array],
    sizes: tuple[int, int],
    examples: int,
) -> Jacobian:
    """The Jacobian at the examples of one side, ready for a kernel of ``sizes``."""
    if method == JACOBIAN_CONTRACTION:
        return dense_jacobian(function, leaves, x)

    def simpler(jacobian: Jacobian) -> Jacobian:
        jacobian = without_projections(jacobian, signature.dtype)
        return simplified(jacobian, sizes, examples, signature.reduction, signature.dtype)

    return in_parts(lambda x: jacobian_of(function, leaves, x), simpler, x)
