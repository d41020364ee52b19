"""The arguments of a finite-width kernel: checked, flattened, and as a function of one example."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend import core

from ntk._axes import Reduction, reduction_of
from ntk._float_leaves import Layout, path_name, split_floats
from ntk._operations import inner_jaxprs


@dataclass(frozen=True)
class Signature:
    """Everything of a call that is static: one compiled program each.

    Attributes:
        f: the function ``f(params, x)``.
        layout: of the parameter tree.
        x_tree: of the inputs.
        reduction: of the kernel's axes.
        dtype: in which products are summed; half precision sums in float32.
        block: ``(axis, size)`` of the output, its batch axis 0: only so many of its entries
            are taken, from a start given at run time. None: all.
    """

    f: Callable[..., Any]
    layout: Layout
    x_tree: Any
    reduction: Reduction
    dtype: Any
    block: tuple[int, int] | None = None

    def function(self, held: list[Array], start: Any = None) -> Callable[..., Array]:
        """``f`` of floating point leaves and one example's leaves, without the batch axis."""

        def one(leaves: list[Array], example: list[Array]) -> Array:
            x = jax.tree.unflatten(self.x_tree, [a[None] for a in example])
            output = self.f(self.layout.join(leaves, held), x)[0]
            if self.block is None:
                return output
            axis, size = self.block
            return jax.lax.dynamic_slice_in_dim(output, start, size, axis - 1)

        return one


class ByIdentity:
    """A function that cannot be hashed, as one that holds arrays, hashed by its identity."""

    def __init__(self, f: Callable[..., Any]):
        self.f = f

    def __call__(self, params: Any, x: Any) -> Any:
        return self.f(params, x)

    def __hash__(self) -> int:
        return id(self.f)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByIdentity) and self.f is other.f


@dataclass(frozen=True)
class Inputs:
    """A checked call.

    Attributes:
        signature: the static part.
        leaves, held: floating point parameters, and the other arrays of the tree.
        x1, x2: leaves of the inputs, ``[n1, ...]`` and ``[n2, ...]``; ``x2`` None: ``x1``.
        output_shape: of one example.
        traced: within a JAX transformation, where no value can be looked at and no compiled
            program be run.
    """

    signature: Signature
    leaves: list[Array]
    held: list[Array]
    x1: list[Any]
    x2: list[Any] | None
    output_shape: tuple[int, ...]
    traced: bool

    @property
    def sizes(self) -> tuple[int, int]:
        return len(self.x1[0]), len((self.x1 if self.x2 is None else self.x2)[0])


def check_inputs(
    f: Callable[..., Any],
    params: Any,
    x1: Any,
    x2: Any,
    trace_axes: Any,
    diagonal_axes: Any,
    name: str = "x1",
    derivatives: bool = True,
) -> Inputs:
    """The call's inputs.

    Args:
        f, params, x1, x2, trace_axes, diagonal_axes: of the kernel.
        name: what messages call ``x1``.
        derivatives: whether the kernel is of derivatives by the parameters.

    Raises:
        TypeError: f is not callable or does not return one array; axes that are not ints.
        ValueError: parameters or inputs that are not finite, inputs whose shapes do not fit, an
            output without the batch axis in front, axes out of range, a network that mixes the
            examples of a batch.
    """
    if not callable(f):
        raise TypeError(f"f must be a function f(params, x), got {type(f).__name__}")
    for leaf in jax.tree.leaves(params):
        _require_dtype("params", leaf)
    leaves, held, layout = split_floats(params)
    if derivatives and not leaves:
        raise ValueError("params has no floating point leaf to differentiate by")
    if derivatives and any(jnp.issubdtype(a.dtype, jnp.complexfloating) for a in leaves):
        raise TypeError("params must be real, got a complex leaf")
    require_finite("params", params)
    first, second, x_tree = check_examples(name, x1, x2)
    output = _output_of(f, leaves, held, layout, x_tree, first)
    reduction = reduction_of(trace_axes, diagonal_axes, len(output.shape))
    dtype = output.dtype if jnp.finfo(output.dtype).bits >= 32 else jnp.dtype(jnp.float32)
    signature = Signature(_hashable(f), layout, x_tree, reduction, dtype)
    arrays = leaves, held, first, second
    inputs = Inputs(signature, leaves, held, first, second, output.shape[1:], is_traced(arrays))
    if reduction.modes[0] != "full" and inputs.sizes[0] != inputs.sizes[1]:
        raise ValueError(
            f"a diagonal or trace over the batch axis needs as many examples in x2 as in x1, got "
            f"{inputs.sizes[0]} and {inputs.sizes[1]}"
        )
    if not inputs.traced and _refuse_mixing(inputs):
        inputs = dataclasses.replace(inputs, traced=True)
    return inputs


def check_examples(name: str, x1: Any, x2: Any) -> tuple[list[Any], list[Any] | None, Any]:
    """The leaves of both inputs and their tree structure.

    Raises:
        TypeError, ValueError: inputs without examples, not finite, or that differ in structure or
            in the shapes of their examples.
    """
    first, x_tree = _leaves_of(name, x1)
    if x2 is None:
        return first, None, x_tree
    second, second_tree = _leaves_of("x2", x2)
    if second_tree != x_tree:
        raise ValueError(f"x2 must have the tree structure of x1, {x_tree}, got {second_tree}")
    for a, b in zip(first, second, strict=True):
        if a.shape[1:] != b.shape[1:]:
            raise ValueError(
                f"x1 and x2 must have equal shapes but for the first axis, got {a.shape} and "
                f"{b.shape}"
            )
    return first, second, x_tree


def is_traced(arrays: Any) -> bool:
    """Whether within a JAX transformation, or where programs are not compiled."""
    return not is_concrete(arrays) or not is_concrete(jnp.zeros(())) or not _compiles()


def _hashable(f: Callable[..., Any]) -> Callable[..., Any]:
    """``f``, by its identity where it has no hash."""
    try:
        hash(f)
    except (TypeError, ValueError):
        return ByIdentity(f)
    return f


def _compiles() -> bool:
    return not jax.config.jax_disable_jit  # type: ignore[attr-defined]


def _require_dtype(name: str, array: Any) -> None:
    """Raise for an array of a dtype that JAX has not."""
    dtype = getattr(array, "dtype", None)
    if dtype is None or isinstance(array, jax.Array):
        return
    try:
        jax.eval_shape(lambda: jnp.zeros((), jax.dtypes.canonicalize_dtype(dtype)))
        known = dtype.isnative
    except (TypeError, ValueError):
        known = False
    if not known:
        raise TypeError(f"{name} must hold numbers of a dtype that JAX has, got {dtype!r}")


def _leaves_of(name: str, x: Any) -> tuple[list[Any], Any]:
    leaves, tree = jax.tree.flatten(x)
    arrays = [a if isinstance(a, (jax.Array, np.ndarray)) else np.asarray(a) for a in leaves]
    if not arrays:
        raise ValueError(f"{name} holds no array")
    for array in arrays:
        if array.ndim == 0:
            raise ValueError(f"{name} must have a leading axis over examples, got a scalar")
        _require_dtype(name, array)
    lengths = {len(array) for array in arrays}
    if len(lengths) > 1:
        raise ValueError(f"the arrays of {name} differ in their number of examples: {lengths}")
    if lengths == {0}:
        raise ValueError(f"{name} holds no example")
    require_finite(name, x)
    return arrays, tree


def require_finite(name: str, tree: Any) -> None:
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        leaf = np.asarray(leaf) if isinstance(leaf, float) else leaf  # noqa: PLW2901
        if isinstance(leaf, jax.core.Tracer) or not hasattr(leaf, "dtype"):
            continue
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            continue
        if not _is_finite(leaf):
            raise ValueError(f"{name} is not finite at {path_name(path)}")


# Rows of an array on the host are looked at so many bytes at a time.
_BLOCK_BYTES = 2**26


def _is_finite(array: Any) -> bool:
    if isinstance(array, np.ndarray) and array.ndim and array.nbytes > _BLOCK_BYTES:
        rows = max(1, _BLOCK_BYTES * len(array) // array.nbytes)
        return all(_is_finite(array[k : k + rows].copy()) for k in range(0, len(array), rows))
    if isinstance(array, np.ndarray) and array.dtype.kind in "fc":
        return bool(np.isfinite(array).all())
    with jax.ensure_compile_time_eval():  # a constant of a function being traced
        return bool(jnp.all(jnp.isfinite(array)))


def _output_of(
    f: Callable[..., Any], leaves: Any, held: Any, layout: Layout, x_tree: Any, x: list[Any]
) -> Any:
    def apply(leaves: Any, held: Any, arrays: Any) -> Any:
        return f(layout.join(leaves, held), jax.tree.unflatten(x_tree, arrays))

    def shape(a: Any) -> jax.ShapeDtypeStruct:
        dtype = jax.dtypes.canonicalize_dtype(a.dtype, allow_extended_dtype=True)
        return jax.ShapeDtypeStruct(a.shape, dtype)

    output = jax.eval_shape(apply, leaves, held, [shape(a) for a in x])
    n = len(x[0])
    if not isinstance(output, jax.ShapeDtypeStruct):
        raise TypeError(f"f must return one array [n, ...], got {jax.tree.structure(output)}")
    if len(output.shape) < 1 or output.shape[0] != n:
        raise ValueError(
            f"f must return one row per example, [{n}, ...], got an array of shape {output.shape}"
        )
    if 0 in output.shape:
        raise ValueError(f"f has no output: it returns an array of shape {output.shape}")
    if not jnp.issubdtype(output.dtype, jnp.floating):
        raise TypeError(f"f must return a floating point array, got {output.dtype}")
    return output


def in_blocks(array: Array, rows: int) -> Array:
    """``[n, ...]`` as ``[blocks, rows, ...]``, filled up with copies of the last row."""
    filling = -len(array) % rows
    if filling:
        array = jnp.concatenate([array, jnp.repeat(array[-1:], filling, axis=0)])
    return array.reshape(-1, rows, *array.shape[1:])


def is_concrete(tree: Any) -> bool:
    """Whether every value is known now, not a tracer of an enclosing transformation."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))


# So many examples are run together and alone.
_COMPARED = 16


def _refuse_mixing(inputs: Inputs) -> bool:
    """Raise where an example's output depends on another one: batch norm in training mode.

    Returns:
        Whether nothing can be said, as f holds a value that is being traced.
    """
    some = [jnp.asarray(a[:_COMPARED]) for a in inputs.x1]
    together, alone, rounding = _together_and_alone(
        inputs.signature, inputs.leaves, inputs.held, some
    )
    if isinstance(together, jax.core.Tracer):
        return True
    together, alone = (np.asarray(a, np.float64) for a in (together, alone))
    scale = float(np.abs(together).max()) or 1.0
    gap = float(np.abs(together - alone).max())
    if gap > float(rounding) * scale:
        raise ValueError(
            f"f mixes the examples of a batch: an output changes by {gap:.2g} when the other "
            "examples are taken away (batch normalisation in training mode does so); a kernel "
            "between examples needs a function of each"
        )
    return False


def _epsilons(jaxpr: core.Jaxpr) -> Iterator[float]:
    """Machine epsilon of every dtype that a program computes in."""
    dtypes = [getattr(var.aval, "dtype", None) for var in (*jaxpr.invars, *jaxpr.outvars)]
    for equation in jaxpr.eqns:
        dtypes += [getattr(var.aval, "dtype", None) for var in equation.outvars]
        for value in equation.params.values():
            for inner in inner_jaxprs(value):
                yield from _epsilons(inner)
    for dtype in {d for d in dtypes if d is not None}:
        if jnp.issubdtype(dtype, jnp.inexact):
            yield float(jnp.finfo(dtype).eps)


@functools.partial(jax.jit, static_argnums=0)
def _together_and_alone(signature: Signature, leaves: list[Array], held: Any, x: list[Array]):
    params = signature.layout.join(leaves, held)

    def apply(arrays: list[Array]) -> Array:
        return signature.f(params, jax.tree.unflatten(signature.x_tree, arrays))

    shapes = [jax.ShapeDtypeStruct(a.shape[1:], a.dtype) for a in x]
    # As a program first: modules of some libraries refuse to be called inside of a vmap.
    closed = jax.make_jaxpr(signature.function(held))(leaves, shapes)

    def alone(example: list[Array]) -> Array:
        return core.jaxpr_as_fun(closed)(*leaves, *example)[0]

    # How far two programs of f may differ, relative to its outputs.
    coarsest = max(_epsilons(closed.jaxpr))
    rounding = 32 * coarsest if coarsest > 1e-4 else 1e4 * coarsest
    return apply(x), jax.vmap(alone)(x), np.float32(rounding)
