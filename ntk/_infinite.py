"""The kernels of a network of infinite width, from its description."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from ntk._axes import FULL, Reduction
from ntk._blocked import by_pairs, by_rows_of
from ntk._computed import check_mesh, checked_budget, computed
from ntk._kernel_inputs import Inputs, check_examples, is_concrete, is_traced
from ntk._known_answer import check_backend
from ntk._methods import INFINITE_WIDTH
from ntk.layers._covariance import of_inputs
from ntk.layers._kernels import NAMES, Kernels, check_shape, kernels_of
from ntk.layers._layer import Layer


def infinite_kernel(model: Any) -> Callable[..., Any]:
    """The kernels of a network as the widths of all its hidden layers grow without bound.

    Args:
        model: a layer of ``ntk.layers`` that ends in weights, such as
            ``Serial(Dense(), Activation("relu"), Dense())``, or an object whose ``network`` is one.

    Returns:
        ``kernel(x1, x2=None, *, get=("nngp", "ntk"), memory_budget=None, mesh=None,
        progress=True)`` of inputs ``[n, *positions, channels]``: :class:`Kernels`, or one array
        where ``get`` is a name. Everything between layers is a covariance of channels (Neal 1996;
        Lee et al. 2018; Jacot et al. 2018; for convolutions Novak et al. 2019): dense layers and
        convolutions average it, activations take its dual. ``x2=None``: of x1 with itself, at
        about half the cost. ``memory_budget`` (bytes), ``mesh`` and ``progress`` are those of
        :func:`ntk.empirical_ntk`; so is what ``jax.jit``, ``grad`` and ``vmap`` may do. Kernels
        are differentiable in the inputs and in the network's scales (a layer is a pytree of them).

    Raises:
        TypeError: not a layer, or inputs that are not floating point arrays.
        ValueError: a network whose infinite width has no Gaussian limit, inputs of different
            shapes, not finite or so large that their squares overflow, an unknown name.
        NotImplementedError: a layer without a closed form (max pooling).
    """
    network = checked_network(model)

    def kernel(
        x1: Any,
        x2: Any = None,
        *,
        get: Any = NAMES,
        memory_budget: float | None = None,
        mesh: Mesh | None = None,
        progress: bool = True,
    ) -> Any:
        names = checked_names(get)
        exact, budget = memory_budget is not None, checked_budget(memory_budget)
        check_mesh(mesh)
        inputs = _inputs(network, names, x1, x2)
        if not inputs.traced:
            check_backend(jax.default_backend())
        found = computed(inputs, INFINITE_WIDTH, budget, exact, mesh, progress)
        return getattr(found, get) if isinstance(get, str) else found

    return kernel


def checked_network(model: Any) -> Layer:
    """The network of ``model``.

    Raises:
        TypeError: not a layer, nor an object with one.
        ValueError: a network whose last layer has no weights.
    """
    network = getattr(model, "network", model)
    if not isinstance(network, Layer):
        raise TypeError(f"model must be a layer of ntk.layers, got {type(model).__name__}")
    if network.fresh is not True:
        raise ValueError(f"the last layer of {network!r} must have weights, as a readout has")
    return network


def checked_names(get: Any) -> tuple[str, ...]:
    """The names of ``get``, in one order."""
    given = tuple(get) if isinstance(get, (tuple, list, set, frozenset)) else (get,)
    if not given or any(name not in NAMES for name in given):
        raise ValueError(f"get must be 'nngp', 'ntk' or both, got {get!r}")
    return tuple(name for name in NAMES if name in given)


@dataclass(frozen=True)
class _Signature:
    """Everything of a call that is static: one compiled program each.

    Attributes:
        description: of the network, without its scales.
        names: of the kernels.
        reduction: of the batch axis, which is kept in full.
        dtype: of the kernels; half precision is raised to float32.
        block: None, as a tile has all there is of a pair of examples.
    """

    description: Any
    names: tuple[str, ...]
    dtype: Any
    reduction: Reduction
    block: None = None

    def kernels(self, scales: list[Array], x1: Any, x2: Any) -> Kernels:
        network = jax.tree.unflatten(self.description, scales)

        paired, tangent = network.pairs_positions, "ntk" in self.names

        def between(a: Array, b: Array, same: bool = False) -> Kernels:
            return kernels_of(network, self.names, of_inputs(a, b, same, paired, tangent))

        def alone(example: Array) -> Kernels:
            own = between(example[None], example[None], same=True)
            return jax.tree.map(lambda k: k[0, 0], own)

        first = jnp.asarray(x1, self.dtype)
        positions = math.prod(first.shape[1:-1])
        each = positions**2 if paired else positions
        if x2 is None:
            return by_pairs(between, alone, first, each)
        return by_rows_of(between, first, jnp.asarray(x2, self.dtype), each)


def _inputs(network: Layer, names: tuple[str, ...], x1: Any, x2: Any) -> Inputs:
    first, second, dtype = checked_arrays(network, x1, x2)
    scales, description = jax.tree.flatten(network)
    leaves = [jnp.asarray(scale, dtype) for scale in scales]
    signature = _Signature(description, names, dtype, Reduction((FULL,)))
    traced = is_traced((leaves, first, second))
    return Inputs(signature, leaves, [], first, second, (), traced)  # type: ignore[arg-type]


def checked_arrays(network: Layer, x1: Any, x2: Any) -> tuple[list[Any], list[Any] | None, Any]:
    """One array of examples in a list, another or None, and the dtype of their kernels.

    Raises:
        TypeError: arrays that are not floating point, or of two dtypes.
        ValueError: arrays of other shapes than the network takes, not finite, or so large that
            their squares overflow.
    """
    first, second, _ = check_examples("x1", x1, x2)
    if len(first) != 1 or first[0].ndim < 2 or 0 in first[0].shape:
        shapes = [a.shape for a in first]
        raise ValueError(f"x1 must be an array [n, *positions, channels], got shape {shapes[0]}")
    dtypes = {jax.dtypes.canonicalize_dtype(a.dtype) for a in (*first, *(second or ()))}
    if len(dtypes) > 1 or not jnp.issubdtype(next(iter(dtypes)), jnp.floating):
        found = ", ".join(sorted(map(str, dtypes)))
        raise TypeError(f"x1 and x2 must be floating point, of one dtype, got {found}")
    dtype = dtypes.pop()
    dtype = dtype if jnp.finfo(dtype).bits >= 32 else jnp.dtype(jnp.float32)
    for name, arrays in (("x1", first), ("x2", second or [])):
        for array in arrays:
            _require_squares(name, array, dtype)
    check_shape(network, first[0].shape[1:], dtype)
    return first, second, dtype


def _require_squares(name: str, array: Any, dtype: Any) -> None:
    """Raise for examples whose covariance is no number."""
    if not is_concrete(array):
        return
    with jax.ensure_compile_time_eval():
        largest = max(float(array.max()), -float(array.min()))
    if largest > (float(jnp.finfo(dtype).max) / array.shape[-1]) ** 0.5:
        raise ValueError(f"{name} is too large for {dtype}: the squares of its examples overflow")
