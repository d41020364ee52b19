"""Piecewise linear activations: the arc-cosine family (Cho and Saul 2009)."""

import functools
import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntk._duals._angle import reciprocal, sine_and_angle
from ntk._duals._dual import Dual, Pair


@dataclass(frozen=True)
class PiecewiseLinear(Dual):
    """``phi(x) = below * x`` for x < 0, ``above * x`` for x > 0.

    ``phi(x) = (above + below) / 2 x + (above - below) / 2 |x|``, the cross terms of an odd and
    an even function vanish, and ``E|u||v| = 2/pi (s + c w)``, ``E sign(u) sign(v) = 2/pi w``
    with ``s, w`` of :func:`sine_and_angle` (Cho and Saul 2009, eq. 4 and 6, for relu).

    Where a variance is zero, ``phi'(0)`` counts as the mean of both slopes, so that derivatives
    in an input of zeros are central differences; on the diagonal the limit of small
    variances is returned, ``(above^2 + below^2) / 2``.
    """

    below: float
    above: float

    def activation(self, x: Array) -> Array:
        return jnp.where(x > 0, self.above * x, self.below * x)

    def _pair(self, c: Array, q1: Array, q2: Array) -> Pair:
        return _arc_cosine(self._linear, self._absolute, c, q1, q2)

    def _on_diagonal(self, q: Array) -> Pair:
        slope = jnp.asarray((self.above**2 + self.below**2) / 2, q.dtype)
        return slope * q, slope

    @property
    def _linear(self) -> float:
        return ((self.above + self.below) / 2) ** 2

    @property
    def _absolute(self) -> float:
        return ((self.above - self.below) / 2) ** 2


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _arc_cosine(linear: float, absolute: float, c: Array, q1: Array, q2: Array) -> Pair:
    """``linear (c, 1) + absolute 2/pi (s + c w, w)``."""
    s, w = sine_and_angle(c, q1, q2)
    scale = absolute * 2 / np.pi
    derivative = linear + scale * w
    return c * derivative + scale * s, derivative


@_arc_cosine.defjvp
def _arc_cosine_jvp(linear: float, absolute: float, primals, tangents):
    """No ``1 / s`` in the first: ``d/dc = derivative`` (Price), ``d/dq = absolute s / (pi q)``."""
    (c, q1, q2), (dc, dq1, dq2) = primals, tangents
    value, derivative = _arc_cosine(linear, absolute, c, q1, q2)
    (s, _), (_, dw) = jax.jvp(sine_and_angle, primals, tangents)
    growth = dq1 * reciprocal(q1) + dq2 * reciprocal(q2)
    dvalue = derivative * dc + (absolute / np.pi) * s * growth
    return (value, derivative), (dvalue, (absolute * 2 / np.pi) * dw)


relu = PiecewiseLinear(0.0, 1.0)
absolute_value = PiecewiseLinear(-1.0, 1.0)


def leaky_relu(negative_slope: float = 0.01) -> PiecewiseLinear:
    """The dual of ``x`` for x > 0, ``negative_slope * x`` below.

    Raises:
        ValueError: ``negative_slope`` is not finite.
    """
    if not math.isfinite(negative_slope):
        raise ValueError(f"negative_slope must be a finite number, got {negative_slope!r}")
    return PiecewiseLinear(float(negative_slope), 1.0)
