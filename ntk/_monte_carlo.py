"""Kernels of a network as means over finite networks, where no closed form is known."""

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntk._empirical import empirical_ntk
from ntk._infinite import checked_arrays, checked_names, checked_network
from ntk._kernel_inputs import is_traced
from ntk._operator._arguments import check_count, check_key
from ntk.layers._kernels import NAMES
from ntk.layers._layer import Layer


class MonteCarloKernels(NamedTuple):
    """Means over networks of finite width and their standard errors; None: not asked for.

    Attributes:
        nngp, ntk: ``[n1, n2]``. They differ from those of infinite width by terms of order
            1 / width, which the standard errors do not cover.
        nngp_error, ntk_error: standard errors of these means, ``[n1, n2]``.
    """

    nngp: Array | None
    ntk: Array | None
    nngp_error: Array | None
    ntk_error: Array | None


def monte_carlo_kernel(
    model: Any, *, width: int, num_draws: int, key: Array
) -> Callable[..., MonteCarloKernels]:
    """The kernels of any network of ``ntk.layers`` as means over draws from its prior.

    For what :func:`ntk.infinite_kernel` has no closed form for, such as max pooling (Novak et al.
    2019, section 4). A sum over the units of every layer: the standard error falls as
    ``1 / sqrt(num_draws * width)``, the bias of a finite width as ``1 / width``.

    Args:
        model: as of :func:`ntk.infinite_kernel`.
        width: of every layer, the output included (times its own ``times``).
        num_draws: networks, at least 2.
        key: random key; the same networks in every call.

    Returns:
        ``kernel(x1, x2=None, *, get=("nngp", "ntk"))``: :class:`MonteCarloKernels`. It runs one
        compiled program per draw and is not itself to be traced.

    Raises:
        TypeError, ValueError: as :func:`ntk.infinite_kernel`; a width or a number of draws that
            is not a whole number, or too small.
    """
    network = checked_network(model)
    width, num_draws = check_count("width", width), check_count("num_draws", num_draws, 2)
    key = check_key(key, "the draws")
    keys = jax.random.split(key, num_draws)
    draw = functools.partial(_draw, network, width)

    def kernel(x1: Any, x2: Any = None, *, get: Any = NAMES) -> MonteCarloKernels:
        names = checked_names(get)
        first, second, dtype = checked_arrays(network, x1, x2)
        if is_traced((first, second, keys)):
            raise TypeError("a Monte Carlo kernel cannot be traced: call it outside of jax.jit")
        a = jnp.asarray(first[0], dtype)
        b = None if second is None else jnp.asarray(second[0], dtype)
        moments: dict[str, tuple[Any, Any]] = {}
        for count, one in enumerate(keys, 1):
            for name, value in draw(names, one, a, b).items():
                mean, square = moments.get(name, (0.0, 0.0))
                gap = np.asarray(value, np.float64) - mean
                mean = mean + gap / count
                moments[name] = mean, square + gap * (np.asarray(value, np.float64) - mean)
        scale = 1 / (num_draws * (num_draws - 1))
        found = {name: jnp.asarray(mean, a.dtype) for name, (mean, _) in moments.items()}
        for name, (_, square) in moments.items():
            found[f"{name}_error"] = jnp.asarray(np.sqrt(square * scale), a.dtype)
        return MonteCarloKernels(**{f: found.get(f) for f in MonteCarloKernels._fields})

    return kernel


def _draw(
    network: Layer, width: int, names: tuple[str, ...], key: Array, x1: Array, x2: Array | None
) -> dict[str, Array]:
    """The empirical kernels of one network."""
    parameters = _init(network, width, key, x1)
    found = {}
    if "nngp" in names:
        found["nngp"] = _mean_product(network, parameters, x1, x2)
    if "ntk" in names:
        one = _FirstOutput(network)
        found["ntk"] = empirical_ntk(one, parameters, x1, x2, trace_axes=-1, progress=False)
    return found


@functools.partial(jax.jit, static_argnums=(0, 1))
def _init(network: Layer, width: int, key: Array, x: Array) -> Any:
    return network.init(key, x.shape[1:], itertools.repeat(width), x.dtype)[0]


@functools.partial(jax.jit, static_argnums=0)
def _mean_product(network: Layer, parameters: Any, x1: Array, x2: Array | None) -> Array:
    """Of outputs, which are independent draws of one, over all of them."""
    first = network.apply(parameters, x1)
    second = first if x2 is None else network.apply(parameters, x2)
    return first @ second.T / first.shape[1]


@dataclass(frozen=True)
class _FirstOutput:
    """The network's first output; equal, and of one compiled kernel, for equal networks."""

    network: Layer

    def __call__(self, parameters: Any, x: Array) -> Array:
        return self.network.apply(parameters, x)[:, :1]
