"""What one gradient of a posterior takes, and a surrogate's fit, by abstract evaluation."""

from typing import Any

import jax

from bnnsample.chains._start import NUM_FITTED
from bnnsample.coordinates import Posterior
from bnnsample.surrogates._fit import num_drawn

# Measured, of compiled gradients: matrices of the smaller side of the features, arrays of the
# features' size, and copies of what every layer with weights puts out. Within a factor of two of
# XLA's own count for mlp, cnn and resnet in collapsed coordinates, and above it.
MATRICES, FEATURES, OUTPUTS = 6, 4, 3
# Of the fit: matrices of the smaller side of the features of all chains, arrays of the features'
# size, and of what is drawn.
FIT_MATRICES, FIT_FEATURES, DRAWN = 2, 4, 2
WEIGHTED = ("dot_general", "conv_general_dilated")


def gradient_bytes(posterior: Posterior, position: Any) -> int:
    """Bytes of a gradient's temporary arrays.

    The readout given the hidden layers takes matrices of ``min(n, p)`` rows for n points and p
    features; the features are ``[n, p]``; and what layers put out on the way forward is needed on
    the way back. ``position`` may be of shapes.
    """
    traced, shape = jax.make_jaxpr(posterior.features, return_shape=True)(position, posterior.x)
    n, p = shape.shape
    side, itemsize = min(n, p), posterior.y.dtype.itemsize
    readout = (MATRICES * side * side + FEATURES * n * p) * itemsize
    return readout + OUTPUTS * _weighted_bytes(traced.jaxpr)


def surrogate_bytes(posterior: Posterior, position: Any, num_chains: int) -> int:
    """Bytes of temporary arrays of the fit of a posterior's surrogate: 0 where none is fitted.

    To prior draws first, and then to all chains at once.
    """
    if not posterior.is_fitted:
        return 0
    if jax.eval_shape(posterior.likelihood.surrogate, posterior.y) is not None:
        return 0
    n, p = jax.eval_shape(posterior.features, position, posterior.x).shape
    side, d = min(n, max(num_chains, NUM_FITTED) * p), posterior.num_outputs
    size = FIT_MATRICES * side * side + FIT_FEATURES * n * side + DRAWN * num_drawn(n, d) * n * d
    return size * posterior.y.dtype.itemsize


def _weighted_bytes(jaxpr: Any) -> int:
    """Of the outputs of all products with weights, those of inner programs too."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name in WEIGHTED:
            total += sum(v.aval.size * v.aval.dtype.itemsize for v in equation.outvars)
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                total += _weighted_bytes(inner)
    return total
