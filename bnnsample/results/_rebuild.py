"""Model, likelihood and posterior from a run's settings, without executing anything stored."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from bnnsample._precision import precision
from bnnsample._standardize import Standardizer
from bnnsample.coordinates import Posterior, chosen
from bnnsample.likelihoods import (
    Bernoulli,
    Categorical,
    Gaussian,
    HeteroscedasticGaussian,
    Laplace,
    Likelihood,
    Poisson,
    StudentT,
)
from bnnsample.models import Model, cnn, mlp, resnet

# Models that are looked up by name, each with plain values as arguments.
MODELS: dict[str, Callable[..., Model]] = {
    factory.__name__: factory for factory in (mlp, cnn, resnet)
}
LIKELIHOODS: dict[str, Callable[..., Likelihood]] = {
    family.__name__: family
    for family in (
        Bernoulli,
        Categorical,
        Gaussian,
        HeteroscedasticGaussian,
        Laplace,
        Poisson,
        StudentT,
    )
}
# Priors of a positive scale that are looked up by name, each with numbers as arguments.
PRIORS: dict[str, type[dist.Distribution]] = {
    family.__name__: family
    for family in (
        dist.Beta,
        dist.Chi2,
        dist.Exponential,
        dist.Gamma,
        dist.HalfCauchy,
        dist.HalfNormal,
        dist.InverseGamma,
        dist.LogNormal,
        dist.LogUniform,
        dist.Pareto,
        dist.Uniform,
        dist.Weibull,
    )
}


def rebuild_model(settings: Mapping[str, Any]) -> Model | None:
    """A model of ``MODELS`` with a named activation; None for any other."""
    description = dict(settings.get("model") or {})
    factory = MODELS.get(description.pop("name", ""))
    if factory is None or "activation" not in description:
        return None
    return factory(**description)


def rebuild_likelihood(settings: Mapping[str, Any]) -> Likelihood | None:
    """A likelihood of ``LIKELIHOODS`` with numbers or known priors; None for any other."""
    family = LIKELIHOODS.get(settings.get("likelihood", ""))
    if family is None:
        return None
    arguments = {name: settings[name] for name in ("df", "classes", "scale") if name in settings}
    if isinstance(arguments.get("scale"), Mapping):
        arguments["scale"] = _rebuild_prior(arguments["scale"])
        if arguments["scale"] is None:
            return None
    return family(**{name: value for name, value in arguments.items() if value != []})


def _rebuild_prior(described: Mapping[str, Any]) -> dist.Distribution | None:
    arguments = dict(described)
    family = PRIORS.get(arguments.pop("distribution"))
    if family is None or set(arguments) != set(family.arg_constraints):
        return None
    return family(**{name: float(value) for name, value in arguments.items()})


def rebuild_posterior(
    settings: Mapping[str, Any],
    standardizer: Standardizer,
    x: np.ndarray,
    y: np.ndarray,
    *,
    model: Model | None,
    likelihood: Likelihood | None,
) -> Posterior | None:
    """The posterior in its coordinates; None where the model or the likelihood is missing."""
    model = model or rebuild_model(settings)
    likelihood = likelihood or rebuild_likelihood(settings)
    if model is None or likelihood is None:
        return None
    width = settings["width"]
    with precision(y.dtype):
        return chosen(settings["coordinates"], likelihood)[1](
            model,
            likelihood,
            tuple(width) if isinstance(width, list) else width,
            jnp.asarray(standardizer.inputs(x)),
            jnp.asarray(standardizer.targets(y)),
        )


def parameter_template(posterior: Posterior) -> Any:
    """Shapes of one parameter draw ``{"hidden", "readout"}`` under the posterior's model."""
    with precision(posterior.y.dtype):
        return jax.eval_shape(posterior.prior_parameters, jax.random.key(0))
