"""Model, likelihood and posterior from a run's settings, without executing anything stored."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bnnsample._precision import checked_precision, precision
from bnnsample._scale import rebuilt_prior
from bnnsample._standardize import Standardizer
from bnnsample.coordinates import Posterior, Tempering, chosen
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


def rebuild_model(settings: Mapping[str, Any]) -> Model | None:
    """A model of ``MODELS`` with a named activation and known priors; None for any other."""
    description = dict(settings.get("model") or {})
    factory = MODELS.get(description.pop("name", ""))
    if factory is None or "activation" not in description:
        return None
    try:
        return factory(**{name: with_priors(value) for name, value in description.items()})
    except LookupError:
        return None


def rebuild_likelihood(settings: Mapping[str, Any]) -> Likelihood | None:
    """A likelihood of ``LIKELIHOODS`` with numbers or known priors; None for any other."""
    family = LIKELIHOODS.get(settings.get("likelihood", ""))
    if family is None:
        return None
    arguments = {name: settings[name] for name in ("df", "classes", "scale") if name in settings}
    try:
        arguments = {name: with_priors(value) for name, value in arguments.items()}
    except LookupError:
        return None
    return family(**{name: value for name, value in arguments.items() if value != []})


def with_priors(described: Any) -> Any:
    """Distributions in the place of their descriptions, inside lists too.

    Raises:
        LookupError: a distribution that is not known by name.
    """
    if isinstance(described, list):
        return [with_priors(entry) for entry in described]
    if not (isinstance(described, Mapping) and "distribution" in described):
        return described
    prior = rebuilt_prior(described)
    if prior is None:
        raise LookupError(described["distribution"])
    return prior


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
            tempering=Tempering(
                settings.get("temperature", 1.0), settings.get("tempering", "posterior")
            ).cast(y.dtype),
            network_dtype=checked_precision(settings.get("precision"))[1],
        )


def parameter_template(posterior: Posterior) -> Any:
    """Shapes of one parameter draw ``{"hidden", "readout"}`` under the posterior's model."""
    with precision(posterior.y.dtype):
        return jax.eval_shape(posterior.prior_parameters, jax.random.key(0))
