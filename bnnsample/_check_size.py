"""Whether all data at once fit: every gradient sees every point."""

import jax

from bnnsample.chains._keep import available_bytes
from bnnsample.coordinates import Posterior
from bnnsample.kernels._registry import ALL_DATA

# Of a gradient, measured: matrices of the smaller side, and arrays of the features' size.
MATRICES, FEATURES = 6, 6
GIB = 2**30


def check_size(posterior: Posterior) -> None:
    """Raise ``ValueError`` where a gradient's memory is beyond the machine's.

    The readout given the hidden layers takes a matrix of ``min(n, p)`` rows for n points and p
    features, and about ``MATRICES`` of them in a gradient; the features are ``[n, p]``.
    """
    position = jax.eval_shape(posterior.prior_draw, jax.random.key(0))
    n, p = jax.eval_shape(posterior.features, position, posterior.x).shape
    side, itemsize = min(n, p), posterior.y.dtype.itemsize
    needed = (MATRICES * side * side + FEATURES * n * p) * itemsize
    available = available_bytes()
    if needed > available:
        raise ValueError(
            f"data: {n:,} points and {p:,} features need about {needed / GIB:.1f} GiB for one "
            f"gradient, more than the {available / GIB:.1f} GiB available. {ALL_DATA}"
        )
