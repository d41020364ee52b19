"""Counts."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from jax.scipy.special import gammaln

from bnnsample.likelihoods._from_distribution import FromDistribution
from bnnsample.likelihoods._likelihood import Values


class Poisson(FromDistribution):
    """``y ~ Poisson(exp(f))``, independent over data and outputs; ``y`` counts from 0."""

    def check(self, y: np.ndarray) -> None:
        if (y < 0).any():
            raise ValueError(f"y must be counts for Poisson(), got the negative value {y.min():g}")
        if (y != np.round(y)).any():
            bad = y[y != np.round(y)].flat[0]
            raise ValueError(f"y must be counts for Poisson(), got {bad:g}, not a whole number")

    def distribution(self, f: Array, values: Values) -> dist.Distribution:
        return dist.Poisson(jnp.exp(f))

    def log_prob(self, y: Array, f: Array, values: Values) -> Array:
        # Of the logarithm of the rate: the rate itself overflows where its logarithm does not.
        return jnp.sum(y * f - jnp.exp(f) - gammaln(y + 1), axis=1)

    def describe(self) -> dict[str, Any]:
        return {"likelihood": "Poisson"}
