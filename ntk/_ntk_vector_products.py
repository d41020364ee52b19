"""NTK-vector products: columns of the kernel, no Jacobian (Novak et al. 2022, section 3.2)."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntk._axes import DIAGONAL, FULL, TRACE, Reduction
from ntk._operations import uses_primitive
from ntk._symmetric import by_rows

# Of rows of a symmetric kernel: with 4, ten sixteenths of the products remain.
MOST_BLOCKS = 4


def ntk_by_products(
    function: Any,
    second: Any,
    leaves: list[Array],
    x1: list[Array],
    x2: list[Array],
    reduction: Reduction,
) -> Array:
    """The kernel of ``function(leaves, example)``, one cotangent of ``x2`` at a time.

    Each of the ``n2 d`` columns is a derivative backward at one example and forward at all of
    ``x1``; memory for the tangents of ``d`` columns. ``second`` stands for ``function`` on the
    side of ``x2``: the same, or another block of its outputs.
    """
    shape = jax.eval_shape(function, leaves, [a[0] for a in x1]).shape
    basis = jnp.eye(_size(shape), dtype=x_dtype(function, leaves, x1)).reshape(-1, *shape)
    times_jacobian = _pushforward(function, leaves, x1)

    def column(example: list[Array], others: list[Array]) -> Array:
        """``[b, (n1,) *shape]`` for every output b of one example."""
        vjp = jax.vjp(lambda p: second(p, example), leaves)[1]

        def forward(tangents: Any, other: list[Array]) -> Array:
            return times_jacobian(tangents, other)

        def one(cotangent: Array) -> Array:
            tangents = vjp(cotangent)[0]
            if reduction.modes[0] != FULL:
                return forward(tangents, others)
            return jax.vmap(forward, in_axes=(None, 0))(tangents, others)

        return jax.vmap(one)(basis)

    if reduction.modes[0] == FULL:
        # [n2, b, n1, *shape] -> [n1, n2, *shape (first), *shape (second)]
        columns = jax.lax.map(lambda example: column(example, x1), x2)
        columns = jnp.moveaxis(columns, 2, 0)
        lead = 2
    else:
        columns = jax.lax.map(lambda pair: column(*pair), (x2, x1))
        lead = 1
    columns = columns.reshape(*columns.shape[:lead], *shape, *shape)
    count = len(shape)
    # The axes after the batch: cotangent's first, function's second; the kernel has them the
    # other way round, and it is symmetric in exchange of both pairs only together with x1, x2.
    order = [
        *range(lead),
        *(lead + count + k for k in range(count)),
        *(lead + k for k in range(count)),
    ]
    return reduce_full(jnp.transpose(columns, order), lead, reduction)


def symmetric_ntk_by_products(
    function: Any, leaves: list[Array], x: list[Array], reduction: Reduction
) -> Array:
    """The kernel of the examples with themselves, at about half the products."""
    if reduction.modes[0] != FULL:
        return ntk_by_products(function, function, leaves, x, x, reduction)

    def block(start: int, stop: int) -> Array:
        # The short side is the one that goes backward.
        rows, columns = [a[start:stop] for a in x], [a[start:] for a in x]
        below = ntk_by_products(function, function, leaves, columns, rows, reduction)
        return reduction.exchanged(below)

    return by_rows(block, len(x[0]), reduction, MOST_BLOCKS)


def _pushforward(function: Any, leaves: list[Array], x: list[Array]) -> Any:
    """``J(example) tangents``; by transposing the reverse pass where f has no forward mode."""

    def forward(tangents: Any, example: list[Array]) -> Array:
        return jax.jvp(lambda p: function(p, example), (leaves,), (tangents,))[1]

    def transposed(tangents: Any, example: list[Array]) -> Array:
        out, vjp = jax.vjp(lambda p: function(p, example), leaves)
        return jax.vjp(lambda c: vjp(c)[0], jnp.zeros_like(out))[1](tangents)[0]

    program = jax.make_jaxpr(forward)(leaves, [a[0] for a in x])
    return transposed if uses_primitive(program.jaxpr, "custom_lin") else forward


def reduce_full(kernel: Array, lead: int, reduction: Reduction) -> Array:
    """``[*batch, *shape (first), *shape (second)]`` with every output axis reduced and paired."""
    count = len(reduction.modes) - 1
    batch = list(range(lead))
    first = [lead + k for k in range(count)]
    second = [lead + count + k for k in range(count)]
    out = list(batch)
    divisor = 1
    for k, mode in enumerate(reduction.modes[1:]):
        if mode == FULL:
            out += [first[k], second[k]]
            continue
        second[k] = first[k]
        if mode == DIAGONAL:
            out.append(first[k])
        else:
            divisor *= kernel.shape[lead + k]
    if reduction.modes[0] == TRACE:
        divisor *= kernel.shape[0]
        out.remove(batch[0])
    return jnp.einsum(kernel, [*batch, *first, *second], out) / divisor


def x_dtype(function: Any, leaves: list[Array], x: list[Array]) -> Any:
    """The dtype of the function's output."""
    return jax.eval_shape(function, leaves, [a[0] for a in x]).dtype


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
