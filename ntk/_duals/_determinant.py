"""The determinant of a 2 x 2 covariance without cancellation."""

import jax
import jax.numpy as jnp
from jax import Array, lax


@jax.custom_jvp
def determinant(c: Array, q1: Array, q2: Array) -> Array:
    """``(q1 q2 - c^2)_+``, with an absolute error of order ``eps^(3/2) q1 q2`` near zero.

    ``q1 * q2 - c * c`` as written has the error ``eps q1 q2`` of its products, and even at
    ``c = q1 = q2`` it is not zero where the compiler rounds only one of them (a fused
    multiply-add). Halves of the significands have exact products (Dekker 1971), whose
    differences are then taken by order of size; at ``c = q1 = q2`` all of them are zero.

    The derivative is that of ``q1 q2 - c^2``, also where it is cut off at zero.
    """
    (c_high, c_low), (high1, low1), (high2, low2) = _halves(c), _halves(q1), _halves(q2)
    large = high1 * high2 - c_high * c_high
    middle = (high1 * low2 - c_high * c_low) + (low1 * high2 - c_high * c_low)
    small = low1 * low2 - c_low * c_low
    return jnp.maximum(large + (middle + small), 0)


@determinant.defjvp
def _determinant_jvp(primals, tangents):
    (c, q1, q2), (dc, dq1, dq2) = primals, tangents
    return determinant(c, q1, q2), q2 * dq1 + q1 * dq2 - 2 * c * dc


def _halves(x: Array) -> tuple[Array, Array]:
    """``x = high + low`` exactly, each with half the significant bits."""
    info = jnp.finfo(x.dtype)
    high = lax.reduce_precision(x, exponent_bits=info.nexp, mantissa_bits=(info.nmant - 1) // 2)
    return high, x - high
