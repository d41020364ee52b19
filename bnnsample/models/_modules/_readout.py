"""The linear readout of a module: found in its traced program, and checked."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.ad_checkpoint import checkpoint_name
from jax.extend.core import Literal

from bnnsample._lenient import lenient
from bnnsample.models._modules._binding import NUM_EXAMPLES, Binding, layer_of

TAG = "bnnsample readout "
CALLS = ("jit", "pjit", "remat2", "remat", "checkpoint", "closed_call", "core_call")


@dataclass(frozen=True)
class Readout:
    """``kernel_scale * x @ kernel + bias_scale * bias``, the last that a module computes.

    Attributes:
        path: of the layer.
        kernel, bias: paths of its parameters; ``bias`` is None where it has none.
        transposed: the kernel is ``[d, p]``.
        kernel_scale, bias_scale: factors of the layer's own, as NTK parameterisation has them.
        num_features, num_outputs: p and d.
    """

    path: str
    kernel: str
    bias: str | None
    transposed: bool
    kernel_scale: float
    bias_scale: float
    num_features: int
    num_outputs: int


def find_readout(binding: Binding, path: str | None) -> Readout:
    """The layer that ends the module: the one at ``path``, or the framework's own that does.

    The module is traced with the layers' outputs named, and its output is followed back through
    the program: what it comes to is the last layer, and what it passes on the way is what follows.

    Raises:
        ValueError: no such layer, with the reason.
    """
    candidates = (path,) if path is not None else binding.linear_layers
    if path is not None and path not in map(layer_of, binding.shapes):
        layers = ", ".join(dict.fromkeys(repr(layer_of(p)) for p in binding.shapes))
        raise ValueError(f"readout {path!r} names no layer with parameters; they are {layers}")
    if not candidates:
        raise ValueError(
            "the module has no linear layer of its framework's own: a readout that is another "
            "layer is pointed at with readout='path/to/layer'"
        )
    found, num_outputs = _traced(binding, candidates)
    features = _features_shape(binding, found)
    if len(features) != binding.batched + 1:
        raise ValueError(
            f"the readout {found!r} must see one vector of features per example, got inputs of "
            f"shape {features}: pool or flatten them before it"
        )
    return _structure(binding, found, features[-1], num_outputs)


def _traced(binding: Binding, candidates: tuple[str, ...]) -> tuple[str, int]:
    """The last layer's path, and its number of outputs."""

    def mark(path: str, y: Any) -> Any:
        return checkpoint_name(y, TAG + path) if path in candidates else y

    def outputs(values, x):
        return binding.outputs(values, x, mark)

    program, shape = jax.make_jaxpr(lenient(outputs), return_shape=True)(
        binding.structs(), binding.inputs()
    )
    found = _origin(program.jaxpr, program.jaxpr.outvars, candidates)
    if (uses := _uses(program.jaxpr, TAG + found)) != 1:
        raise ValueError(f"the readout {found!r} is used {uses} times, expected once, at the end")
    rows = (NUM_EXAMPLES,) if binding.batched else ()
    got = getattr(shape, "shape", None)
    if got is None or len(got) != len(rows) + 1 or got[:-1] != rows:
        expected = f"[n, d] for inputs [{NUM_EXAMPLES}, ...]" if rows else "[d] for one example"
        found_shape = shape if got is None else got
        raise ValueError(f"the module must return shape {expected}, got {found_shape}")
    return found, got[-1]


def _origin(jaxpr: Any, outputs: Any, candidates: tuple[str, ...]) -> str:
    if len(outputs) != 1:
        raise ValueError(f"the module must return one array, got {len(outputs)}")
    origin = _followed(jaxpr, outputs[0])
    if isinstance(origin, str) and origin.startswith(TAG):
        return origin.removeprefix(TAG)
    names = ", ".join(map(repr, candidates[-4:]))
    what = f"is computed by {origin!r}" if isinstance(origin, str) else "is an input or constant"
    raise ValueError(
        f"the module must end with a linear layer ({names}) that nothing follows, but its output "
        f"{what}; another layer is pointed at with readout='path/to/layer'"
    )


def _followed(jaxpr: Any, variable: Any) -> str | Any:
    """The name of the operation that a variable comes from, or the program's own variable."""
    producers = {out: eqn for eqn in jaxpr.eqns for out in eqn.outvars}
    while not isinstance(variable, Literal) and variable in producers:
        eqn = producers[variable]
        name = eqn.primitive.name
        if name == "name" and eqn.params["name"].startswith(TAG):
            return eqn.params["name"]
        if name in ("name", "transpose"):  # a module's own vmap moves axes
            variable = eqn.invars[0]
            continue
        if name not in CALLS:
            return _operation(eqn)
        inner = _inner(eqn)
        origin = _followed(inner, inner.outvars[eqn.outvars.index(variable)])
        if isinstance(origin, str):
            return origin
        if origin not in inner.invars:
            return origin
        variable = eqn.invars[inner.invars.index(origin)]
    return variable


def _operation(eqn: Any) -> str:
    """What to call an operation: a function with a derivative of its own by its last step."""
    if eqn.primitive.name == "custom_jvp_call":
        origin = _followed(inner := _inner(eqn), inner.outvars[0])
        return origin if isinstance(origin, str) else eqn.primitive.name
    return eqn.params.get("name", eqn.primitive.name)


def _inner(eqn: Any) -> Any:
    program = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
    return getattr(program, "jaxpr", program)


def _uses(jaxpr: Any, name: str) -> int:
    own = sum(eqn.primitive.name == "name" and eqn.params["name"] == name for eqn in jaxpr.eqns)
    return own + sum(_uses(inner, name) for eqn in jaxpr.eqns for inner in _programs(eqn))


def _programs(eqn: Any) -> Iterator[Any]:
    for value in eqn.params.values():
        for entry in value if isinstance(value, (tuple, list)) else (value,):
            program = getattr(entry, "jaxpr", entry)
            if hasattr(program, "eqns"):
                yield program


def _features_shape(binding: Binding, readout: str) -> tuple[int, ...]:
    values = binding.structs(below=readout)
    try:
        features = jax.eval_shape(
            lenient(lambda v, x: binding.features(v, x, readout)), values, binding.inputs()
        )
    except Exception as error:
        raise ValueError(
            f"the module cannot be split at {readout!r}: without that layer's parameters it "
            f"raises {type(error).__name__}: {error}"
        ) from error
    return features.shape


def _structure(binding: Binding, path: str, p: int, d: int) -> Readout:
    """The readout's kernel and bias, from the shapes of its parameters and their effect."""
    own = {name: shape for name, shape in binding.shapes.items() if layer_of(name) == path}
    kernels = [name for name, shape in own.items() if sorted(shape) == sorted((p, d))]
    biases = [name for name, shape in own.items() if shape == (d,) and name not in kernels]
    if len(kernels) != 1 or len(biases) > 1 or len(own) != len(kernels) + len(biases):
        raise ValueError(
            f"the layer at {path!r} is not linear with one kernel [{p}, {d}] and at most one bias "
            f"[{d}]: its parameters have shapes {own}"
        )
    bias = biases[0] if biases else None
    if path in binding.linear_layers:
        return Readout(path, kernels[0], bias, binding.transposed, 1.0, 1.0, p, d)
    with jax.ensure_compile_time_eval():
        probe = lenient(lambda values, z: binding.layer(path, values, z))
        for transposed in (False, True):
            if own[kernels[0]] != ((d, p) if transposed else (p, d)):
                continue
            scales = _scales(probe, kernels[0], bias, transposed, (p, d), binding.dtype)
            if scales is not None:
                return Readout(path, kernels[0], bias, transposed, *scales, p, d)
    raise ValueError(f"the layer at {path!r} is not linear: readouts are x @ kernel + bias, scaled")


def _scales(
    probe: Callable[..., Array],
    kernel: str,
    bias: str | None,
    transposed: bool,
    sizes: tuple[int, int],
    dtype: Any,
) -> tuple[float, float] | None:
    """Factors of kernel and bias; None where the layer is not their sum at two random points."""
    generator = np.random.default_rng(0)
    p, d = sizes
    tolerance = float(jnp.finfo(dtype).eps) ** 0.5
    found: list[tuple[float, float]] = []
    for size in (1.0, -5.0):
        z, w = generator.normal(size=(4, p)), size * generator.normal(size=sizes)
        b = size * generator.normal(size=d)
        values = {kernel: jnp.asarray(w.T if transposed else w, dtype)}
        shift = 0.0
        if bias is not None:
            values[bias] = jnp.asarray(b, dtype)
            zero = probe({kernel: jnp.zeros_like(values[kernel]), bias: values[bias]}, _a(z, dtype))
            shift = float(np.mean(np.asarray(zero, float) @ b) / (b @ b))
        y, product = np.asarray(probe(values, _a(z, dtype)), float), z @ w
        scale = float(np.sum((y - shift * b) * product) / np.sum(product**2))
        error = np.abs(y - scale * product - shift * b).max()
        if not error <= tolerance * np.abs(y).max() or scale == 0 or (bias and shift == 0):
            return None
        found.append((scale, shift))
    if not np.allclose(found[0], found[1], rtol=tolerance):
        return None
    return found[0]


def _a(array: np.ndarray, dtype: Any) -> Array:
    return jnp.asarray(array, dtype)
