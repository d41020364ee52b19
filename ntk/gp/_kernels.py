"""The kernel between training and test points, as one argument."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ntk.gp._arguments import check_choice

GET = ("mean", "variance", "covariance")


class Kernels(NamedTuple):
    """One kernel between n training and m test points. A plain tuple in this order serves as well.

    For one kernel shared by all outputs:

    Attributes:
        train: ``[n, n]``, or an operator of that shape (:class:`ntk.NTKOperator`).
        test_train: ``[m, n]``.
        test: ``[m, m]``, or its diagonal ``[m]``, or None where no variance is asked for.

    For a kernel with covariances between o outputs, as :func:`ntk.empirical_ntk` returns it:
    ``train [n, n, o, o]`` (or an operator on vectors ``[n, o]``), ``test_train [m, n, o, o]``,
    ``test [m, m, o, o]`` or its diagonal ``[m, o]``.
    """

    train: Any
    test_train: Any
    test: Any = None


def kernel_matrices(
    kernel: Callable[[Any, Any], Array], x: Any, x_test: Any, *, get: str = "variance"
) -> Kernels:
    """The matrices of ``kernel(x1, x2)`` that a prediction at ``x_test`` takes.

    ``gp.posterior(gp.kernel_matrices(kernel, x, x_test), y, noise_variance)`` is the whole of
    Gaussian-process regression with a kernel function.

    Args:
        kernel: ``kernel(x1 [n1, ...], x2 [n2, ...]) -> [n1, n2]`` or ``[n1, n2, o, o]``, a JAX
            function.
        x: training inputs, an array ``[n, ...]`` or a pytree of them.
        x_test: test inputs, likewise ``[m, ...]``.
        get: what is to be predicted. ``"mean"`` leaves ``test`` out; ``"variance"`` computes its
            diagonal alone, point by point; ``"covariance"`` all of it.

    Returns:
        :class:`Kernels`.

    Raises:
        TypeError: kernel is not callable.
        ValueError: ``get`` is none of the three.
    """
    if not callable(kernel):
        raise TypeError(f"kernel must be a function kernel(x1, x2), got {type(kernel).__name__}")
    check_choice("get", get, GET)
    test = None
    if get == "variance":
        test = _diagonal(kernel, x_test)
    elif get == "covariance":
        test = kernel(x_test, x_test)
    return Kernels(kernel(x, x), kernel(x_test, x), test)


# So many points' variances are computed together.
_BATCH = 64


def _diagonal(kernel: Callable[[Any, Any], Array], x: Any) -> Array:
    """``[m]`` or ``[m, o]``."""

    def one(point: Any) -> Array:
        alone = jax.tree.map(lambda a: a[None], point)
        own = kernel(alone, alone)[0, 0]
        return jnp.diagonal(own) if own.ndim else own

    return jax.lax.map(one, jax.tree.map(jnp.asarray, x), batch_size=_BATCH)
