"""What the theory of wide networks has in closed form."""

from bnnsample.likelihoods import Likelihood


def require_gaussian(what: str, likelihood: Likelihood) -> None:
    """Raise ``ValueError`` unless the likelihood is Gaussian; ``what`` needs it to be."""
    if not likelihood.is_gaussian:
        raise ValueError(
            f"{what} needs a Gaussian likelihood, for which the wide limit has a closed form, got "
            f"{type(likelihood).__name__}"
        )
