"""What the theory of wide networks has in closed form."""

from bnnsample.coordinates import Tempering
from bnnsample.likelihoods import Likelihood
from bnnsample.models import Model


def require_gaussian(what: str, likelihood: Likelihood) -> None:
    """Raise ``ValueError`` unless the likelihood is Gaussian; ``what`` needs it to be."""
    if not likelihood.is_gaussian:
        raise ValueError(
            f"{what} needs a Gaussian likelihood, for which the wide limit has a closed form, got "
            f"{type(likelihood).__name__}"
        )


def require_known_scales(
    what: str, model: Model, likelihood: Likelihood | None = None, all_priors: bool = True
) -> None:
    """Raise ``ValueError`` where scales are still to be fitted, or the model has unknown ones.

    Unknown scales of the model are allowed without ``all_priors``.
    """
    names = [*model.to_fit, *(likelihood.to_fit if likelihood else ())]
    names += list(model.unknowns) if all_priors else []
    if names:
        raise ValueError(
            f"{what} needs a model of known prior scales, and {names[0]} is not: give it a number, "
            f"such as one that a run has found (model.at({{{names[0]!r}: ...}}))"
        )


def require_untempered(what: str, tempering: Tempering) -> None:
    """Raise ``ValueError`` unless the temperature is 1."""
    if not tempering.is_none:
        raise ValueError(
            f"{what} is of the posterior of temperature 1, and this run has temperature "
            f"{tempering.temperature:g}"
        )
