"""The empirical kernel of a network's features: the NNGP kernel at finite width."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntk._axes import DIAGONAL, FULL, TRACE, Reduction
from ntk._kernel_inputs import Signature, check_inputs


def empirical_nngp(
    features: Callable[..., Array],
    params: Any,
    x1: Any,
    x2: Any = None,
    *,
    trace_axes: Any = (),
    diagonal_axes: Any = (),
) -> Array:
    """The empirical NNGP kernel ``Psi(x1) Psi(x2)^T`` of the features ahead of the readout.

    ``f = Psi W`` with W of independent N(0, 1) is, given the hidden layers, a Gaussian process
    with this covariance (Hron et al. 2022, arXiv:2206.07673). The features carry the scale of the
    readout, so the sum over them is not divided by their number.

    Args:
        features: ``features(params, x[n, ...]) -> Psi [n, *d, p]``, each example on its own, the
            scale ``readout_std / sqrt(width)`` included; hashable, since its compiled kernel is
            kept with it.
        params: a pytree.
        x1: inputs ``[n1, ...]``, an array or a pytree of arrays.
        x2: inputs ``[n2, ...]``; None: ``x1``, and the kernel is exactly symmetric.
        trace_axes: axes of Psi (0 the batch) over which the kernel is averaged along its
            diagonal, as in neural-tangents; not the last, which is always summed over.
        diagonal_axes: axes of which the diagonal alone is computed and kept; not the last.

    Returns:
        ``[n1, n2, d, d]``: a pair of axes for every axis of Psi but the last, ``[n1, n2]`` for
        ``Psi [n, p]``; one axis for a diagonal axis, none for a traced one. Half precision is
        summed in float32.

    Raises:
        TypeError, ValueError: as :func:`ntk.empirical_ntk`; features without a feature axis, or
            the feature axis named in ``trace_axes`` or ``diagonal_axes``.
    """
    inputs = check_inputs(features, params, x1, x2, trace_axes, diagonal_axes, derivatives=False)
    modes = inputs.signature.reduction.modes
    if len(modes) < 2:
        raise ValueError("features must return [n, ..., p], got one number per example")
    if modes[-1] != FULL:
        raise ValueError(
            f"the last of the {len(modes)} axes of the features is summed over; trace_axes and "
            "diagonal_axes must not name it"
        )
    return _nngp(inputs.signature, inputs.leaves, inputs.held, inputs.x1, inputs.x2)


@functools.partial(jax.jit, static_argnums=0)
def _nngp(signature: Signature, leaves: list[Array], held: list[Array], x1: Any, x2: Any) -> Array:
    params = signature.layout.join(leaves, held)

    def features(x: list[Any]) -> Array:
        return signature.f(params, jax.tree.unflatten(signature.x_tree, map(jnp.asarray, x)))

    first = features(x1)
    second = first if x2 is None else features(x2)
    reduction = Reduction(signature.reduction.modes[:-1])
    kernel = _contract(first, second, reduction, signature.dtype)
    if x2 is not None:
        return kernel
    # Products round differently above and below the diagonal.
    return (kernel + reduction.exchanged(kernel)) / 2


def _contract(first: Array, second: Array, reduction: Reduction, dtype: Any) -> Array:
    """``sum_p first[..., p] second[..., p]`` with every other axis paired, diagonal or traced."""
    modes = reduction.modes
    count = len(modes)
    # Labels of the axes: those of the second argument are new where a pair of axes stays.
    labels = [k + (count + 1 if mode == FULL else 0) for k, mode in enumerate(modes)]
    out = []
    for k, mode in enumerate(modes):
        out += {FULL: [k, labels[k]], DIAGONAL: [k], TRACE: []}[mode]
    kernel = jnp.einsum(
        first,
        [*range(count), count],
        second,
        [*labels, count],
        out,
        preferred_element_type=dtype,
    )
    lengths = {("first", k): first.shape[k] for k in range(count)}
    return kernel / reduction.divisor(lengths)
