"""Classification as regression on one-hot labels."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import log_ndtr

from ntk._kernel_inputs import is_concrete
from ntk._operator._arguments import check_count
from ntk.gp._arguments import every, floating, on_host


class Classes(NamedTuple):
    """Decoded predictions.

    Attributes:
        labels: int ``[m]``, the output of greatest mean; the first of equal ones.
        probabilities: ``[m, num_classes]``, or None without a variance.
    """

    labels: Array
    probabilities: Array | None


def class_targets(labels: Any, num_classes: int, *, dtype: Any = None) -> Array:
    """One-hot labels, centred: ``1 - 1 / C`` for a point's own class, ``-1 / C`` for the others.

    To fit them by least squares or a Gaussian likelihood treats class labels as real numbers. It is
    what the theory of wide networks solves in closed form (Lee et al. 2018, arXiv:1711.00165,
    section 3.1), not a likelihood of labels. Centred, a point far from all data is of no class.

    Args:
        labels: integers ``[n]`` from 0 to ``num_classes - 1``.
        num_classes: C, at least 2.
        dtype: of the targets; JAX's default floating point dtype unless given.

    Returns:
        ``[n, C]``.

    Raises:
        TypeError: labels that are not integers, a dtype that is not floating point.
        ValueError: labels out of range, or not of shape ``[n]``. (A traced label out of range has
            ``-1 / C`` everywhere.)
    """
    count = check_count("num_classes", num_classes, low=2)
    array = on_host(labels)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"labels must be integers, got {array.dtype}")
    if array.ndim != 1 or not len(array):
        raise ValueError(f"labels must have shape [n], got {array.shape}")
    if is_concrete(array) and not (
        every(array, "greater_equal", 0) and every(array, "less", count)
    ):
        raise ValueError(
            f"labels must lie between 0 and {count - 1}, got {int(array.min())} to "
            f"{int(array.max())}"
        )
    dtype = jnp.zeros(()).dtype if dtype is None else jnp.dtype(dtype)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"dtype must be floating point, got {dtype}")
    return jax.nn.one_hot(array, count, dtype=dtype) - 1 / count


# Nodes of the quadrature: probabilities to about 1e-8 for ten classes.
_NODES = 64


def decode_classes(mean: Any, variance: Any = None) -> Classes:
    """The class of greatest mean, and how probable it is that its output is the greatest.

    A probability here is ``P(f_c > f_k for all k != c)`` for independent outputs
    ``f_c ~ N(mean_c, variance)``: what the regression believes of its own latent outputs (with the
    noise variance added, of noisy ones). It is not a likelihood of labels, and calibrated only as
    far as the regression is. It is the integral over ``f_c`` of the other outputs' distribution
    functions, by Gauss-Hermite quadrature, normalised.

    Args:
        mean: ``[m, C]``, the posterior's.
        variance: ``[m]``, one for all outputs, at least 0. None: labels alone.

    Returns:
        :class:`Classes`.

    Raises:
        TypeError, ValueError: shapes that do not fit, values not finite, a negative variance.
    """
    outputs = floating("mean", mean)
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        raise ValueError(f"mean must have shape [m, classes], got {outputs.shape}")
    labels = jnp.argmax(outputs, axis=1)
    if variance is None:
        return Classes(labels, None)
    spread = floating("variance", variance, outputs.dtype)
    if spread.shape != outputs.shape[:1]:
        raise ValueError(
            f"variance must have shape {outputs.shape[:1]}, one for all outputs of a point, got "
            f"{spread.shape}"
        )
    if is_concrete(spread) and not every(spread, "greater_equal", 0):
        raise ValueError("variance must be at least 0, got a negative one")
    return Classes(labels, jax.lax.map(_probabilities, (outputs, spread)))


def _probabilities(point: tuple[Array, Array]) -> Array:
    """``integral phi(z) prod_{k != c} Phi(z + (mean_c - mean_k) / s) dz``, for every c."""
    mean, variance = point
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    z, w = jnp.asarray(nodes, mean.dtype), jnp.asarray(weights, mean.dtype)
    gaps = mean[:, None] - mean[None, :]
    # Without variance, a step; beyond 1e4 standard deviations it is one too.
    scale = jnp.sqrt(jnp.where(variance > 0, variance, 1))
    sharp = jnp.where(variance > 0, gaps / scale, jnp.sign(gaps) * 1e4)
    sharp = jnp.clip(sharp, -1e4, 1e4)
    others = ~jnp.eye(len(mean), dtype=bool)
    logs = log_ndtr(z[None, None, :] + sharp[:, :, None])
    product = jnp.exp(jnp.sum(jnp.where(others[:, :, None], logs, 0), axis=1))
    mass = jnp.sum(product * w[None, :], axis=1)
    return mass / jnp.sum(mass)
