"""Kernels as matrices over (data point, output): checked and flattened."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntk._kernel_inputs import is_concrete
from ntk.gp._arguments import asymmetry, floating
from ntk.gp._kernels import Kernels


@dataclass(frozen=True)
class Matrices:
    """Checked :class:`Kernels`, ``N = n`` and ``M = m`` or ``n * o`` and ``m * o``.

    Attributes:
        train: ``[N, N]``, or an operator.
        test_train: ``[M, N]``.
        test: ``[M, M]``, ``[M]`` or None.
        sizes: ``(m, n)``.
        outputs: ``o`` of a kernel between outputs, None of one kernel for all.
    """

    train: Any
    test_train: Array
    test: Array | None
    sizes: tuple[int, int]
    outputs: int | None

    @property
    def dtype(self) -> Any:
        return self.test_train.dtype

    def columns(self, y: Array) -> Array:
        """Targets ``[n]`` or ``[n, o]`` as right-hand sides ``[N, k]``."""
        return y.reshape(self.train.shape[0], -1)

    def per_point(self, variance: Array) -> Array:
        """``[]`` or ``[n]`` as ``[N]``."""
        points = jnp.broadcast_to(variance, (self.sizes[1],))
        return points if self.outputs is None else jnp.repeat(points, self.outputs)

    def mean_like(self, mean: Array, y: Array) -> Array:
        """``[M, k]`` as ``[m]`` for ``y [n]``, ``[m, o]`` for ``y [n, o]``."""
        return mean.reshape(self.sizes[0], *y.shape[1:])

    def variance_like(self, variance: Array, y: Array) -> Array:
        """``[M]`` as ``[m]``, or ``[m, o]`` for a kernel between outputs."""
        return variance if self.outputs is None else variance.reshape(self.sizes[0], *y.shape[1:])

    def covariance_like(self, covariance: Array, y: Array) -> Array:
        """``[M, M]`` as ``[m, m]``, or ``[m, m, o, o]`` for a kernel between outputs."""
        if self.outputs is None or y.ndim == 1:
            return covariance
        m, o = self.sizes[0], self.outputs
        return covariance.reshape(m, o, m, o).transpose(0, 2, 1, 3)


def is_operator(train: Any) -> bool:
    """Whether this is known by its products alone."""
    is_array = isinstance(train, (jax.Array, np.ndarray)) or hasattr(train, "__array__")
    return not is_array and hasattr(train, "__matmul__") and hasattr(train, "shape")


def check_kernels(name: str, kernels: Any, get: str) -> Matrices:
    """Raises TypeError or ValueError that names the part of ``kernels`` that does not fit.

    Args:
        name: of the argument.
        kernels: as given.
        get: what is to be predicted: a variance needs ``test``, a covariance all of it.
    """
    if not isinstance(kernels, tuple) or len(kernels) not in (2, 3):
        raise TypeError(
            f"{name} must be gp.Kernels(train, test_train, test) or such a tuple, got "
            f"{type(kernels).__name__}"
        )
    parts = Kernels(*kernels)
    test_train = floating(f"{name}.test_train", parts.test_train)
    if test_train.ndim not in (2, 4) or (
        test_train.ndim == 4 and test_train.shape[2] != test_train.shape[3]
    ):
        raise ValueError(
            f"{name}.test_train must have shape [m, n] or [m, n, o, o], got {test_train.shape}"
        )
    m, n = test_train.shape[:2]
    outputs = None if test_train.ndim == 2 else test_train.shape[2]
    train = _check_train(f"{name}.train", parts.train, n, outputs, test_train.dtype)
    test = _check_test(f"{name}.test", parts.test, m, outputs, test_train.dtype, get)
    return Matrices(train, flatten(test_train), test, (m, n), outputs)


def check_square(name: str, matrix: Any) -> tuple[Array, int, int | None]:
    """A symmetric ``[n, n]`` or ``[n, n, o, o]`` as ``[N, N]``, with n and o (None: one kernel)."""
    array = floating(name, matrix)
    outputs = array.shape[2] if array.ndim == 4 else None
    n = array.shape[0] if array.ndim else 0
    _require_shape(name, array, _pair(n, n, outputs), "[n, n] or [n, n, o, o]")
    flat = flatten(array)
    _require_symmetric(name, flat)
    return flat, n, outputs


def flatten(kernel: Array) -> Array:
    """``[a, b, o, o]`` as ``[a * o, b * o]``; ``[a, b]`` as it is."""
    if kernel.ndim == 2:
        return kernel
    a, b, o, _ = kernel.shape
    return kernel.transpose(0, 2, 1, 3).reshape(a * o, b * o)


def _pair(a: int, b: int, outputs: int | None) -> tuple[int, ...]:
    return (a, b) if outputs is None else (a, b, outputs, outputs)


def _require_shape(name: str, array: Array, shape: tuple[int, ...], words: str) -> None:
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {words}, here {shape}, got {array.shape}")


def _require_dtype(name: str, dtype: Any, expected: Any) -> None:
    if dtype != expected:
        raise TypeError(
            f"{name} has dtype {jnp.dtype(dtype).name}, test_train {jnp.dtype(expected).name}; "
            "cast one"
        )


def _check_train(name: str, train: Any, n: int, outputs: int | None, dtype: Any) -> Any:
    if is_operator(train):
        size = n if outputs is None else n * outputs
        if tuple(train.shape) != (size, size):
            raise ValueError(
                f"{name}, an operator, must have shape {(size, size)} to fit test_train, got "
                f"{tuple(train.shape)}"
            )
        _require_dtype(name, getattr(train, "dtype", dtype), dtype)
        return train
    array = floating(name, train)
    _require_shape(name, array, _pair(n, n, outputs), "[n, n] or [n, n, o, o] as test_train has it")
    _require_dtype(name, array.dtype, dtype)
    flat = flatten(array)
    _require_symmetric(name, flat)
    return flat


def _check_test(
    name: str, test: Any, m: int, outputs: int | None, dtype: Any, get: str
) -> Array | None:
    if get == "mean":
        return None
    if test is None:
        raise ValueError(f'{name} is needed for get="{get}", got None; get="mean" does without')
    array = floating(name, test)
    _require_dtype(name, array.dtype, dtype)
    whole = _pair(m, m, outputs)
    diagonal = (m,) if outputs is None else (m, outputs)
    if array.shape == whole:
        return flatten(array)
    if array.shape != diagonal:
        raise ValueError(
            f"{name} must have shape {whole}, or {diagonal} for its diagonal, got {array.shape}"
        )
    if get == "covariance":
        raise ValueError(f'{name} must be all of it, {whole}, for get="covariance", got a diagonal')
    return array.reshape(-1)


def _require_symmetric(name: str, matrix: Array) -> None:
    """Far from symmetric is a mistake; rounding is not."""
    if not is_concrete(matrix):
        return
    gap, largest = asymmetry(matrix)
    if gap > float(jnp.finfo(matrix.dtype).eps) ** 0.5 * largest:
        raise ValueError(
            f"{name} must be symmetric, got entries that differ by {gap:.3g} from their mirror "
            f"images (the largest is {largest:.3g})"
        )
