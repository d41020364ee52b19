"""Three coordinate systems for one posterior, each a potential relative to N(0, I)."""

from bnnsample.coordinates._choice import COORDINATES as COORDINATES
from bnnsample.coordinates._choice import chosen as chosen
from bnnsample.coordinates._collapsed import Collapsed as Collapsed
from bnnsample.coordinates._posterior import Posterior as Posterior
from bnnsample.coordinates._posterior import learned as learned
from bnnsample.coordinates._repriorised import Repriorised as Repriorised
from bnnsample.coordinates._standard import Standard as Standard
from bnnsample.coordinates._surrogate import SurrogateRepriorised as SurrogateRepriorised
from bnnsample.coordinates._tempering import Tempering as Tempering
from bnnsample.coordinates._tempering import checked_tempering as checked_tempering

__all__ = [
    "COORDINATES",
    "Collapsed",
    "Posterior",
    "Repriorised",
    "Standard",
    "SurrogateRepriorised",
    "Tempering",
    "checked_tempering",
    "chosen",
    "learned",
]
