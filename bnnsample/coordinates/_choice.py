"""Which coordinates a posterior is sampled in."""

from typing import Any

from bnnsample._arguments import shown
from bnnsample.coordinates._collapsed import Collapsed
from bnnsample.coordinates._posterior import Posterior
from bnnsample.coordinates._repriorised import Repriorised
from bnnsample.coordinates._standard import Standard
from bnnsample.coordinates._surrogate import SurrogateRepriorised
from bnnsample.likelihoods import Likelihood

COORDINATES: dict[str, type[Posterior]] = {
    "standard": Standard,
    "repriorised": Repriorised,
    "collapsed": Collapsed,
}


def chosen(coordinates: Any, likelihood: Likelihood) -> tuple[str, type[Posterior]]:
    """The coordinates by name, and their posterior for a likelihood.

    ``"auto"`` is ``"collapsed"`` for a Gaussian likelihood and ``"repriorised"``, through a
    surrogate, for any other.

    Raises:
        ValueError: an unknown name, or ``"collapsed"`` for a likelihood that is not Gaussian.
    """
    names = ("auto", *COORDINATES)
    if not isinstance(coordinates, str) or coordinates not in names:
        raise ValueError(
            f"unknown coordinates {shown(coordinates)}; expected one of {', '.join(names)}"
        )
    if likelihood.is_gaussian:
        name = "collapsed" if coordinates == "auto" else coordinates
        return name, COORDINATES[name]
    if coordinates == "collapsed":
        raise ValueError(
            "coordinates='collapsed' needs a Gaussian likelihood, for which the readout is "
            f"integrated out, got {type(likelihood).__name__}; use coordinates='repriorised'"
        )
    name = "repriorised" if coordinates == "auto" else coordinates
    return name, Standard if name == "standard" else SurrogateRepriorised
