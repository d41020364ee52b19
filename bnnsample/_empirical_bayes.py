"""Empirical Bayes: scales that maximise the marginal likelihood, before any chain moves."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bnnsample._mean_kernel import mean_kernel
from bnnsample.likelihoods import Likelihood
from bnnsample.models import Model
from ntk import gp, infinite_kernel

NUM_NETWORKS = 16


def empirical_bayes(
    model: Model, likelihood: Likelihood, width: Any, x: Array, y: Array, key: Array
) -> tuple[Model, Likelihood, dict[str, float]]:
    """Model and likelihood with the scales in their ``to_fit`` found, and these by name.

    They maximise ``log N(y; 0, K + scale^2 I)`` (Rasmussen and Williams 2006, eq. 2.30) with ``K``
    the NNGP kernel of infinite width where layers describe the network, else the mean of
    ``Psi Psi^T`` over ``NUM_NETWORKS`` prior draws of this width. Scales with a prior are moved
    along, without their priors, and then sampled as ever.

    The likelihood is Gaussian where a scale is to be fitted: see ``outlined``.

    Raises:
        FloatingPointError: no maximum was found.
    """
    wanted = (*model.to_fit, *likelihood.to_fit)
    if not wanted:
        return model, likelihood, {}
    starts = _starts(model, likelihood, y)
    kernel = _kernel(model, width, key)

    def noise_variance(logs: dict[str, Array]) -> Array:
        return jnp.asarray(likelihood.gaussian_scale(_values(logs)), y.dtype) ** 2

    found = gp.fit(kernel, jax.tree.map(jnp.log, starts), x, y, noise_variance)
    fitted = {name: float(jnp.exp(found.hyperparameters[name])) for name in wanted}
    at_best = {name: f"{value:.3g}" for name, value in fitted.items()}
    if not (np.isfinite(float(found.value)) and all(map(np.isfinite, fitted.values()))):
        raise FloatingPointError(f"empirical Bayes found no finite marginal likelihood: {at_best}")
    if not bool(found.converged) and float(found.gradient_norm) > 0.01 * abs(float(found.value)):
        raise FloatingPointError(
            f"empirical Bayes did not converge: after {int(found.num_steps)} steps, at {at_best}, "
            f"the gradient is {float(found.gradient_norm):.2g}; use float64, standardise the data, "
            "or give priors"
        )
    return model.at(fitted), likelihood.at(fitted), fitted


def _starts(model: Model, likelihood: Likelihood, y: Array) -> dict[str, Array]:
    """Where the optimiser starts: prior medians, 1, and a third of y's spread for the noise."""
    unknowns = {**model.unknowns, **likelihood.unknowns}
    zero = jnp.zeros((), y.dtype)
    starts = {name: unknown.value(zero) for name, unknown in unknowns.items()}
    starts.update({name: jnp.ones((), y.dtype) for name in model.to_fit})
    spread = jnp.maximum(jnp.std(y) / 3, jnp.finfo(y.dtype).eps)
    starts.update(dict.fromkeys(likelihood.to_fit, spread))
    return starts


def _kernel(model: Model, width: Any, key: Array) -> Any:
    """``kernel(logs, x1, x2)``: of infinite width, or a mean over networks, always the same."""

    def limit(logs: dict[str, Array], x1: Array, x2: Array) -> Array:
        del x2
        return infinite_kernel(model.at(_values(logs)))(x1, get="nngp", progress=False)

    def mean(logs: dict[str, Array], x1: Array, x2: Array) -> Array:
        del x2
        network = model.at(_values(logs))

        def features(k: Array) -> Array:
            return network.features(network.init_hidden(k, x1, width), x1)

        return mean_kernel(features, jax.random.split(key, NUM_NETWORKS))

    return mean if model.network is None else limit


def _values(logs: dict[str, Array]) -> dict[str, Array]:
    return {name: jnp.exp(value) for name, value in logs.items()}
