"""Polynomials, in powers or in Hermite polynomials."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import jax.numpy as jnp
from jax import Array

from ntk._duals._dual import Dual, Pair


@dataclass(frozen=True)
class Polynomial(Dual):
    """``phi(x) = sum_k coefficients[k] p_k(x)``, ``p_k`` a power or a Hermite polynomial.

    ``E[phi(u) phi(v)] = sum_l c^l M_l(q1) M_l(q2)`` with ``M_l(q) = E[phi^(l)(u)] / sqrt(l!)``
    (Mehler 1866), and for ``p_k = x^k`` (shift 0) or the probabilists' ``He_k`` (shift 1)
    ``E[p_{l + 2m}^(l)(u)] = (l + 2m)! / (2^m m!) (q - shift)^m``.
    """

    coefficients: tuple[float, ...]
    shift: int = 0

    def activation(self, x: Array) -> Array:
        """By the recurrence ``p_{k+1} = x p_k - shift k p_{k-1}``."""
        total = jnp.full_like(x, self.coefficients[0])
        before, current = jnp.zeros_like(x), jnp.ones_like(x)
        for k, coefficient in enumerate(self.coefficients[1:]):
            before, current = current, x * current - self.shift * k * before
            total = total + coefficient * current
        return total

    def _pair(self, c: Array, q1: Array, q2: Array) -> Pair:
        value = derivative = jnp.zeros_like(c)
        # Horner's scheme in c, for the sum and for its derivative.
        for order in reversed(range(len(self.coefficients))):
            derivative = derivative * c + value
            value = value * c + self._moment(order, q1) * self._moment(order, q2)
        return value, derivative

    def _moment(self, order: int, q: Array) -> Array:
        """``M_l(q)`` for l = order."""
        terms = (len(self.coefficients) - 1 - order) // 2
        moment = jnp.zeros_like(q)
        for m in reversed(range(terms + 1)):
            k = order + 2 * m
            weight = math.factorial(k) / (2**m * math.factorial(m) * math.factorial(order) ** 0.5)
            moment = moment * (q - self.shift) + self.coefficients[k] * weight
        return moment


def polynomial(coefficients: Sequence[float]) -> Polynomial:
    """The dual of ``coefficients[0] + coefficients[1] x + coefficients[2] x^2 + ...``.

    Raises:
        ValueError: no coefficients, or one that is not finite.
    """
    values = tuple(float(value) for value in coefficients)
    if not values or not all(math.isfinite(value) for value in values):
        raise ValueError(f"coefficients must be finite numbers, at least one, got {values}")
    return Polynomial(values)


def monomial(degree: int) -> Polynomial:
    """The dual of ``x^degree``. ``ValueError`` unless ``degree`` is an integer of at least 0."""
    return Polynomial((0.0,) * _checked(degree) + (1.0,))


def hermite(degree: int) -> Polynomial:
    """The dual of ``He_degree(x) / sqrt(degree!)``, whose square has mean 1 under ``N(0, 1)``.

    At unit variances, ``E[phi(u) phi(v)] = c^degree``; other variances are exact too.
    ``ValueError`` unless ``degree`` is an integer of at least 0.
    """
    scale = 1 / math.factorial(_checked(degree)) ** 0.5
    return Polynomial((0.0,) * degree + (scale,), shift=1)


def _checked(degree: int) -> int:
    if isinstance(degree, bool) or not isinstance(degree, Integral) or degree < 0:
        raise ValueError(f"degree must be an integer of at least 0, got {degree!r}")
    return int(degree)


identity = monomial(1)
