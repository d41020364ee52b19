"""A Gaussian likelihood in another one's place."""

from typing import NamedTuple

from jax import Array


class Surrogate(NamedTuple):
    """``N(target; f, 1 / root^2)``, one precision per data point for all its outputs.

    One precision per point costs one factorisation, whatever the number of outputs.

    Attributes:
        root: square roots of the precisions ``[n]``, positive.
        target: pseudo-targets ``[n, d]``.
    """

    root: Array
    target: Array
