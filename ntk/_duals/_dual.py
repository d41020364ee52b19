"""What every dual activation is: two expectations of a pair of Gaussians."""

import abc
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

Pair = tuple[Array, Array]


class Dual(abc.ABC):
    """The dual of an elementwise ``phi``: its second moments under a pair of Gaussians.

    For ``(u, v) ~ N(0, [[q1, c], [c, q2]])``, elementwise in the common shape of the arguments,

        ``dual(c, q1, q2) = (E[phi(u) phi(v)], E[phi'(u) phi'(v)])``.

    These are what a layer of infinite width makes of its input's covariance ``c [n1, n2]`` and
    variances ``q1 [n1, 1]``, ``q2 [1, n2]`` (Daniely et al. 2016; Jacot et al. 2018, eq. for
    Sigma and Sigma-dot). By Price's theorem the second is the first's derivative in ``c``.

    ``(c, q1, q2)`` must be a covariance, ``c^2 <= q1 q2``; rounding beyond it is taken as
    ``c^2 = q1 q2``, and a negative variance is not checked. Subclasses are frozen dataclasses:
    equal where their parameters are, hashable, and so static under ``jax.jit``.

    Attributes:
        closed_form: Whether the values are exact up to rounding. False: by quadrature.
        has_derivative: Whether ``E[phi'(u) phi'(v)]`` exists. Where it does not (a jump's
            derivative has no square), only :meth:`value` and :meth:`diagonal_value` answer.
    """

    closed_form: ClassVar[bool] = True
    has_derivative: ClassVar[bool] = True

    @abc.abstractmethod
    def activation(self, x: Array) -> Array:
        """``phi(x)``, elementwise: the activation of the finite network."""

    @abc.abstractmethod
    def _pair(self, c: Array, q1: Array, q2: Array) -> Pair:
        """Both expectations, of floating point arrays of one dtype and one number of axes."""

    def _on_diagonal(self, q: Array) -> Pair:
        """Both expectations at ``u = v``."""
        return self._pair(q, q, q)

    def __call__(self, c: ArrayLike, q1: ArrayLike, q2: ArrayLike) -> Pair:
        """``(E[phi(u) phi(v)], E[phi'(u) phi'(v)])`` in the common shape of the arguments.

        Args:
            c: The covariance of u and v.
            q1: The variance of u.
            q2: The variance of v.

        Raises:
            TypeError: an argument that is not float32 or float64 (a Python float goes with any).
            ValueError: shapes without a common one, or an activation with a jump.
        """
        self._require_derivative()
        return _evaluate(self, *_prepare(c=c, q1=q1, q2=q2))

    def value(self, c: ArrayLike, q1: ArrayLike, q2: ArrayLike) -> Array:
        """``E[phi(u) phi(v)]`` alone; arguments and errors as for a call, a jump allowed."""
        return _evaluate_value(self, *_prepare(c=c, q1=q1, q2=q2))

    def diagonal(self, q: ArrayLike) -> Pair:
        """``(E[phi(u)^2], E[phi'(u)^2])`` for ``u ~ N(0, q)``; errors as for a call."""
        self._require_derivative()
        return _evaluate_diagonal(self, *_prepare(q=q))

    def diagonal_value(self, q: ArrayLike) -> Array:
        """``E[phi(u)^2]`` alone; errors as for a call, a jump allowed."""
        return _evaluate_diagonal_value(self, *_prepare(q=q))

    def _require_derivative(self) -> None:
        if not self.has_derivative:
            raise ValueError(
                f"{type(self).__name__} has a jump, so that E[phi'(u) phi'(v)] does not exist and "
                "a network with it has no NTK; value and diagonal_value give its NNGP"
            )


def _prepare(**arguments: ArrayLike) -> list[Array]:
    """The arguments in one dtype and with one number of axes, of length 1 where they broadcast."""
    for name, argument in arguments.items():
        dtype = jnp.result_type(argument)
        if dtype not in (jnp.float32, jnp.float64):
            raise TypeError(f"{name} must be float32 or float64, got {dtype}")
    dtype = jnp.result_type(*arguments.values())
    arrays = [jnp.asarray(argument, dtype) for argument in arguments.values()]
    shapes = [array.shape for array in arrays]
    try:
        ndim = len(jnp.broadcast_shapes(*shapes))
    except ValueError:
        given = ", ".join(f"{name} {shape}" for name, shape in zip(arguments, shapes, strict=True))
        raise ValueError(f"arguments must have shapes that broadcast, got {given}") from None
    return [array.reshape((1,) * (ndim - array.ndim) + array.shape) for array in arrays]


def _filled(part: Array, *arguments: Array) -> Array:
    return jnp.broadcast_to(part, jnp.broadcast_shapes(*(a.shape for a in arguments)))


# One program per dual and shape, so that both parts come out of one pass over the elements.
_compiled: Callable[[Callable[..., Any]], Callable[..., Any]] = functools.partial(
    jax.jit, static_argnums=0
)


@_compiled
def _evaluate(dual: Dual, c: Array, q1: Array, q2: Array) -> Pair:
    value, derivative = dual._pair(c, q1, q2)
    return _filled(value, c, q1, q2), _filled(derivative, c, q1, q2)


@_compiled
def _evaluate_value(dual: Dual, c: Array, q1: Array, q2: Array) -> Array:
    return _filled(dual._pair(c, q1, q2)[0], c, q1, q2)


@_compiled
def _evaluate_diagonal(dual: Dual, q: Array) -> Pair:
    value, derivative = dual._on_diagonal(q)
    return _filled(value, q), _filled(derivative, q)


@_compiled
def _evaluate_diagonal_value(dual: Dual, q: Array) -> Array:
    return _filled(dual._on_diagonal(q)[0], q)
