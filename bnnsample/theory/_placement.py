"""Where a kernel puts the unknowns of a likelihood, before any chain has moved."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jax import Array
from jax.flatten_util import ravel_pytree

from bnnsample._mean_kernel import mean_kernel
from bnnsample._unknowns import log_correction_of, values_of
from bnnsample.coordinates import Posterior
from ntk import gp


def prior_kernel(posterior: Posterior, hidden: Any) -> Array:
    """The NNGP kernel at this width, of hidden layers drawn from the prior."""
    return mean_kernel(lambda h: posterior.features_of(h, {}, posterior.x), hidden)


def placed(posterior: Posterior, kernel: Array) -> Posterior:
    """The posterior with its unknowns' Gaussian reference where one kernel puts them.

    At the mode, with the spread of the curvature there (Laplace).
    """
    unknowns = posterior.unknowns

    def scale_at(u: dict[str, Array]) -> Array:
        return posterior.likelihood.gaussian_scale(values_of(unknowns, u))

    if not unknowns:
        return posterior
    flat, unravel = ravel_pytree(posterior.location)

    def objective(u):
        at = unravel(u)
        fit = gp.log_marginal_likelihood(kernel, posterior.y, scale_at(at) ** 2)
        return jnp.sum(u * u) / 2 - log_correction_of(unknowns, at) - fit

    slope = jax.jit(jax.value_and_grad(objective))

    def as_floats(u):
        value, gradient = slope(jnp.asarray(u, flat.dtype))
        return float(value), np.asarray(gradient, float)

    found = scipy.optimize.minimize(as_floats, np.zeros(flat.size), jac=True, method="L-BFGS-B")
    curvature = jnp.diagonal(jax.hessian(objective)(jnp.asarray(found.x, flat.dtype)))
    spread = 1 / jnp.sqrt(jnp.maximum(curvature, jnp.asarray(1, flat.dtype)))
    return posterior.with_reference(unravel(jnp.asarray(found.x, flat.dtype)), unravel(spread))
