"""The Gaussian prior of a network's outputs at the data, by its kernel or by features."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.lax.linalg import cholesky

from bnnsample.repriorisation._factor import solve_lower


class KernelPrior(NamedTuple):
    """``f[:, k] ~ N(0, K)`` with a kernel ``K [n, n]``."""

    kernel: Array

    @property
    def variance(self) -> Array:
        """``[n]``."""
        return jnp.diagonal(self.kernel)

    def posterior(self, precision: Array, natural: Array) -> tuple[Array, Array]:
        """Mean ``[n, d]`` and variances ``[n]`` given Gaussian factors of every point.

        Rasmussen and Williams 2006, eq. 3.27, for factors of ``precision [n]`` and of natural
        means ``natural [n, d]``.
        """
        kernel, root = self.kernel, jnp.sqrt(precision)
        B = jnp.eye(len(kernel), dtype=kernel.dtype) + root[:, None] * kernel * root[None, :]
        half = solve_lower(cholesky(B, symmetrize_input=False), root[:, None] * kernel)
        mean = kernel @ natural - half.T @ (half @ natural)
        return mean, jnp.diagonal(kernel) - jnp.sum(half * half, axis=0)


class FeaturePrior(NamedTuple):
    """``f[:, k] ~ N(0, Phi Phi^T)`` with fewer features than points, ``Phi [n, r]``."""

    features: Array

    @property
    def variance(self) -> Array:
        """``[n]``."""
        return jnp.sum(self.features * self.features, axis=1)

    def posterior(self, precision: Array, natural: Array) -> tuple[Array, Array]:
        """As ``KernelPrior``, by Bayesian linear regression on the features (eq. 2.8)."""
        phi = self.features
        B = jnp.eye(phi.shape[1], dtype=phi.dtype) + phi.T @ (precision[:, None] * phi)
        half = solve_lower(cholesky(B, symmetrize_input=False), phi.T)
        return half.T @ (half @ natural), jnp.sum(half * half, axis=0)


Prior = KernelPrior | FeaturePrior
