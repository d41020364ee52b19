"""The kernels of a network of infinite width, from its description."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ntk._kernel_inputs import is_concrete, require_finite
from ntk.layers._combine import Serial
from ntk.layers._covariance import Covariances
from ntk.layers._layer import Layer

NAMES = ("nngp", "ntk")


class Kernels(NamedTuple):
    """Of every pair of examples, ``[n1, n2]``; None where it was not asked for.

    ``nngp``: the covariance of one output over networks drawn from the prior. ``ntk``: the neural
    tangent kernel of one output, the same for every network.
    """

    nngp: Array | None
    ntk: Array | None


def infinite_kernel(model: Any) -> Callable[..., Any]:
    """The kernels of a network as the widths of all its hidden layers grow without bound.

    Args:
        model: a layer of ``ntk.layers`` that ends in weights, such as
            ``Serial(Dense(), Activation("relu"), Dense())``, or an object whose ``network`` is one.

    Returns:
        ``kernel(x1, x2=None, *, get=("nngp", "ntk"))`` of inputs ``[n, *positions, channels]``:
        :class:`Kernels`, or one array where ``get`` is a name. Everything between layers is a
        covariance of channels (Neal 1996; Lee et al. 2018; Jacot et al. 2018; for convolutions
        Novak et al. 2019): dense layers and convolutions average it, activations take its dual.

    Raises:
        TypeError: not a layer, or inputs that are not floating point arrays.
        ValueError: a network whose infinite width has no Gaussian limit, inputs of different
            shapes or not finite, an unknown name.
        NotImplementedError: a layer without a closed form (max pooling).
    """
    network = getattr(model, "network", model)
    if not isinstance(network, Layer):
        raise TypeError(f"model must be a layer of ntk.layers, got {type(model).__name__}")
    if network.fresh is not True:
        raise ValueError(f"the last layer of {network!r} must have weights, as a readout has")

    def kernel(x1: Any, x2: Any = None, *, get: Any = NAMES) -> Any:
        names = (get,) if isinstance(get, str) else tuple(get)
        if not names or any(name not in NAMES for name in names):
            raise ValueError(f"get must be 'nngp', 'ntk' or both, got {get!r}")
        first = _checked("x1", x1)
        second = None if x2 is None else _checked("x2", x2)
        if second is not None and (second.shape[1:], second.dtype) != (
            first.shape[1:],
            first.dtype,
        ):
            raise ValueError(
                f"x1 and x2 must agree in all but their first axis, got {first.shape} of "
                f"{first.dtype} and {second.shape} of {second.dtype}"
            )
        found = _kernels(network, "ntk" in names, first, second)
        if isinstance(get, str):
            return found.nngp if get == "nngp" else found.ntk
        return Kernels(*(getattr(found, n) if n in names else None for n in NAMES))

    return kernel


def _checked(name: str, x: Any) -> Array:
    array = jnp.asarray(x)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"{name} must be floating point, got {array.dtype}")
    if array.ndim < 2 or 0 in array.shape:
        raise ValueError(f"{name} must be [n, *positions, channels], got shape {array.shape}")
    if is_concrete(array):
        require_finite(name, array)
    return array


@functools.partial(jax.jit, static_argnums=(0, 1))
def _kernels(network: Layer, tangent: bool, x1: Array, x2: Array | None) -> Kernels:
    # The shapes that layers refuse are found as for a finite network.
    one = jax.ShapeDtypeStruct(x1.shape[1:], x1.dtype)
    jax.eval_shape(
        lambda key: network.init(key, one.shape, _ones(), one.dtype)[0], jax.random.key(0)
    )
    layers = network.layers if isinstance(network, Serial) else (network,)
    k = _of_inputs(x1, x2, tangent, network.pairs_positions)
    for at, layer in enumerate(layers):
        if not any(later.pairs_positions for later in layers[at:]):
            k = k.at_equal_positions()
        k = layer.spread(k)
    if k.spatial:
        raise ValueError(
            f"{network!r} ends with {k.spatial} axes of positions: pool or flatten them first"
        )
    return Kernels(k.nngp, k.ntk)


def _ones():
    while True:
        yield 1


def _of_inputs(x1: Array, x2: Array | None, tangent: bool, full: bool) -> Covariances:
    """Covariances of a channel of the inputs: products of examples, divided by their channels."""
    spatial = x1.ndim - 2
    pairs = full and spatial > 0
    positions = list(range(10, 10 + spatial))
    others = [p + spatial for p in positions] if pairs else positions
    out = [i for pair in zip(positions, others, strict=True) for i in dict.fromkeys(pair)]
    product = functools.partial(jnp.einsum, precision="highest")
    y = x1 if x2 is None else x2

    def own(x: Array) -> Array:
        return product(x, [0, *positions, 2], x, [0, *others, 2], [0, *out]) / x.shape[-1]

    cross = product(x1, [0, *positions, 2], y, [1, *others, 2], [0, 1, *out]) / x1.shape[-1]
    own1 = own(x1)
    own2 = own1 if x2 is None else own(x2)
    return Covariances(cross, None, own1, own2, spatial, pairs, tangent, False)
