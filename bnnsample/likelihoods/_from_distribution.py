"""Likelihoods that are a NumPyro distribution of the network's outputs."""

from abc import abstractmethod

import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array

from bnnsample._lenient import lenient
from bnnsample.likelihoods._likelihood import Likelihood, Values


class FromDistribution(Likelihood):
    """Density, draws and moments of ``distribution(f, values)``, one entry per target."""

    @abstractmethod
    def distribution(self, f: Array, values: Values) -> dist.Distribution:
        """The distribution of targets ``[n, t]`` at outputs ``f [n, d]``."""

    def log_prob(self, y: Array, f: Array, values: Values) -> Array:
        terms = lenient(lambda y, f: self.distribution(f, values).log_prob(y))(y, f)
        return jnp.sum(terms, axis=1).astype(f.dtype)

    def sample(self, key: Array, f: Array, values: Values, at_data: bool) -> Array | None:
        draw = lenient(lambda key, f: self.distribution(f, values).sample(key))(key, f)
        return draw.astype(f.dtype)

    def mean(self, f: Array, values: Values) -> Array | None:
        return lenient(lambda f: jnp.asarray(self.distribution(f, values).mean))(f).astype(f.dtype)

    def variance(self, f: Array, values: Values, at_data: bool) -> Array | None:
        variance = lenient(lambda f: jnp.asarray(self.distribution(f, values).variance))(f)
        return variance.astype(f.dtype)
