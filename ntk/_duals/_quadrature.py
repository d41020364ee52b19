"""The dual of any elementwise function, by quadrature."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ntk._duals._dual import Dual, Pair
from ntk._duals._roots import inverse_root

MAX_DEGREE = 1000
# In standard deviations. The range is wide enough for x^10, the distance of the nodes h small
# enough for a pole of phi at a distance d = 0.3: the errors are of order exp(-2 pi d / h).
REACH, SPACING = 12.0, 0.05
# Horner's steps in one pass over the elements: fewer passes, longer compilation.
STEPS_PER_PASS = 17


@dataclass(frozen=True)
class Elementwise(Dual):
    """``phi`` by Mehler's formula, with coefficients by quadrature in one dimension.

    ``E[f(u) g(v)] = sum_l rho^l f_l(q1) g_l(q2)``, ``rho = c / sqrt(q1 q2)``, where
    ``f_l(q) = E[f(sqrt(q) z) h_l(z)]`` is the coefficient of the l-th orthonormal Hermite
    polynomial (Mehler 1866; Daniely et al. 2016, sec. 4). A tensor product of Gauss-Hermite
    nodes evaluates phi ``degree^2`` times per element of ``c``; here there are ``degree``
    multiplications, and the evaluations, at 481 equidistant nodes, are per element of ``q1`` and
    ``q2``. (For a Gaussian weight equidistant nodes beat Gauss-Hermite's: Trefethen 2022.)

    What ``degree`` terms leave of ``E[f(u)^2]`` goes into two more, one for even and one for odd l:
    the diagonal is exact, rho = 1 and -1 at equal variances too, and a kernel made of the series
    is symmetric and positive semi-definite at any degree.
    """

    function: Callable[[Array], Array]
    derivative: Callable[[Array], Array] | None
    degree: int

    closed_form: ClassVar[bool] = False

    def activation(self, x: Array) -> Array:
        return self.function(x)

    def _pair(self, c: Array, q1: Array, q2: Array) -> Pair:
        return _product(self, 0, 0, c, q1, q2), _product(self, 1, 1, c, q1, q2)

    def _derivative(self, order: int, x: Array) -> Array:
        """The order-th derivative of phi."""
        if order == 0:
            return self.function(x)
        if order == 1 and self.derivative is not None:
            return self.derivative(x)
        return jax.jvp(lambda y: self._derivative(order - 1, y), (x,), (jnp.ones_like(x),))[1]

    def _coefficients(self, order: int, q: Array) -> tuple[Array, Array]:
        """``f_l(q) [degree + 1, *q.shape]``, and f, the order-th derivative, at the nodes."""
        nodes, table = (jnp.asarray(part, q.dtype) for part in _hermite_table(self.degree))
        f = self._derivative(order, jnp.sqrt(q)[None] * nodes.reshape((-1,) + (1,) * q.ndim))
        return jnp.tensordot(table, f, 1, precision=lax.Precision.HIGHEST), f

    def _second(self, q: Array) -> Array:
        """The coefficients of phi'', from phi' alone where the variance allows.

        By Stein's identity ``sqrt(q) phi''_l = sqrt(l + 1) phi'_(l + 1)``, which also holds where
        phi' has jumps. It loses ``1 / sqrt(q)`` in accuracy, so small variances take phi''.
        """
        small = q < jnp.finfo(q.dtype).eps ** 0.5
        usable = jnp.where(small, 1, q)
        orders = jnp.asarray(np.sqrt(np.arange(1, self.degree + 1)), q.dtype)
        by_parts = self._coefficients(1, usable)[0][1:] * orders.reshape((-1,) + (1,) * q.ndim)
        direct = self._coefficients(2, jnp.where(small, q, 0))[0][:-1]
        return jnp.where(small[None], direct, by_parts / jnp.sqrt(usable)[None])

    def _factor(self, order: int, q: Array) -> Array:
        return self._second(q) if order == 2 else self._coefficients(order, q)[0][:-1]

    def _completed(self, order: int, q: Array) -> Array:
        """The coefficients, and what is left of the even and of the odd part of f in two more."""
        coefficients, f = self._coefficients(order, q)
        coefficients = coefficients[:-1]
        weights = jnp.asarray(_hermite_table(self.degree)[1][0], q.dtype)
        rest = []
        for first in (self.degree % 2, 1 - self.degree % 2):
            part = (f + f[::-1]) / 2 if first == 0 else (f - f[::-1]) / 2
            square = jnp.tensordot(weights, part**2, 1, precision=lax.Precision.HIGHEST)
            left = square - jnp.sum(coefficients[first::2] ** 2, axis=0)
            rest.append(jnp.sqrt(jnp.maximum(left, 0)))
        return jnp.concatenate([coefficients, jnp.stack(rest)])


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _product(dual: Elementwise, i: int, j: int, c: Array, q1: Array, q2: Array) -> Array:
    """``E[f(u) g(v)]`` for f and g the i-th and j-th derivative of phi."""
    rho = jnp.clip(c * inverse_root(q1) * inverse_root(q2), -1, 1)
    # Only a product of a function with itself is known at rho = 1.
    factor = dual._completed if i == j < 2 else dual._factor
    return _power_series(rho, factor(i, q1), factor(j, q2))


def _power_series(rho: Array, left: Array, right: Array) -> Array:
    """``sum_l rho^l left[l] right[l]`` by Horner's scheme, with one array the size of ``rho``."""
    passes = -(-len(left) // STEPS_PER_PASS)
    padding = passes * STEPS_PER_PASS - len(left)

    def blocks(terms: Array) -> Array:
        padded = jnp.pad(terms, [(0, padding)] + [(0, 0)] * (terms.ndim - 1))
        return padded.reshape(passes, STEPS_PER_PASS, *terms.shape[1:])

    def one_pass(total: Array, terms: Pair) -> tuple[Array, None]:
        for term in reversed(range(STEPS_PER_PASS)):
            total = total * rho + terms[0][term] * terms[1][term]
        return total, None

    start = jnp.zeros_like(rho)
    return lax.scan(one_pass, start, (blocks(left), blocks(right)), reverse=True)[0]


@_product.defjvp
def _product_jvp(dual: Elementwise, i: int, j: int, primals, tangents):
    """``d/dc = E[f'(u) g'(v)]``, ``d/dq1 = E[f''(u) g(v)] / 2`` (Price 1958): finite at q = 0."""
    (c, q1, q2), (dc, dq1, dq2) = primals, tangents
    value = _product(dual, i, j, c, q1, q2)
    tangent = _product(dual, i + 1, j + 1, c, q1, q2) * dc
    tangent = tangent + _product(dual, i + 2, j, c, q1, q2) / 2 * dq1
    return value, tangent + _product(dual, i, j + 2, c, q1, q2) / 2 * dq2


@functools.cache
def _hermite_table(degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes ``z_i`` and ``weight_i h_l(z_i) [degree + 1, i]``; row 0 is the weights."""
    nodes = SPACING * np.arange(-round(REACH / SPACING), round(REACH / SPACING) + 1)
    weights = np.exp(-(nodes**2) / 2)
    # Carried with the root of the weight, the polynomials are at most 1.
    root = np.sqrt(weights / weights.sum())
    rows = [np.zeros_like(root), root]
    for order in range(degree):
        rows.append((nodes * rows[-1] - order**0.5 * rows[-2]) / (order + 1) ** 0.5)
    return nodes, np.stack(rows[1:]) * root[None]


def elementwise(
    function: Callable[[Array], Array],
    degree: int = 100,
    derivative: Callable[[Array], Array] | None = None,
) -> Elementwise:
    """The dual of any elementwise function, by quadrature.

    The error falls exponentially with ``sqrt(degree)`` for smooth functions, the slower the larger
    the variances. Largest errors of ``E[phi phi]`` and ``E[phi' phi']`` over all c at degree 100,
    relative to their largest value, by variance:

    ========  ==============  ==============  ==============
    phi       1               4               30
    ========  ==============  ==============  ==============
    tanh      1e-13, 1e-12    1e-8, 1e-6      1e-4, 1e-2
    silu      1e-13, 1e-13    1e-13, 1e-12    1e-7, 1e-5
    softplus  1e-13, 1e-13    1e-13, 1e-13    1e-8, 1e-6
    ========  ==============  ==============  ==============

    For functions with kinks it falls as a power of ``degree``: prefer a closed form. Coefficients
    take 481 times the memory of ``q1`` and ``q2``, not of ``c``.

    Derivatives of ``E[phi phi]`` use phi' alone; those of ``E[phi' phi']`` in q1 and q2, and all
    higher ones, use further derivatives of phi by automatic differentiation, which knows
    nothing of kinks.

    Args:
        function: phi: any elementwise JAX function; hashable, as functions are.
        degree: The number of terms, 1 to 1000.
        derivative: phi', elementwise; by automatic differentiation if not given.

    Raises:
        TypeError: ``function`` or ``derivative`` is not callable, or changes shape or dtype.
        ValueError: ``degree`` is out of range, or the function is not elementwise.
    """
    if (
        isinstance(degree, bool)
        or not isinstance(degree, Integral)
        or not 1 <= degree <= MAX_DEGREE
    ):
        raise ValueError(f"degree must be an integer from 1 to {MAX_DEGREE}, got {degree!r}")
    _require_elementwise("function", function)
    if derivative is not None:
        _require_elementwise("derivative", derivative)
    return Elementwise(function, derivative, int(degree))


def _require_elementwise(name: str, function: Callable[[Array], Array]) -> None:
    if not callable(function):
        raise TypeError(f"{name} must be a function of an array, got {type(function).__name__}")
    with jax.ensure_compile_time_eval():
        x = jnp.asarray([-0.7, 0.3, 1.1], float)
        whole = function(x)
        shape, dtype = jnp.shape(whole), jnp.result_type(whole)
        if shape != x.shape or dtype != x.dtype:
            raise TypeError(f"{name} must keep shape {x.shape} and dtype {x.dtype}, "
                            f"got {shape} and {dtype}")  # fmt: skip
        parts = jnp.concatenate([function(x[k : k + 1]) for k in range(3)])
        if not np.allclose(whole, parts, rtol=1e-5, atol=1e-6, equal_nan=True):
            raise ValueError(f"{name} must act on every element by itself")
