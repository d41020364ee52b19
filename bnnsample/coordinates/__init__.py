"""Three coordinate systems for one posterior, each a potential relative to N(0, I)."""

from bnnsample.coordinates._collapsed import Collapsed as Collapsed
from bnnsample.coordinates._posterior import Posterior as Posterior
from bnnsample.coordinates._repriorised import Repriorised as Repriorised
from bnnsample.coordinates._standard import Standard as Standard

COORDINATES: dict[str, type[Posterior]] = {
    "standard": Standard,
    "repriorised": Repriorised,
    "collapsed": Collapsed,
}

__all__ = ["COORDINATES", "Collapsed", "Posterior", "Repriorised", "Standard"]
