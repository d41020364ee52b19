"""Posteriors of wide Bayesian neural networks, faster the wider the network.

``run`` is the one call; ``models``, ``likelihoods``, ``kernels``, ``repriorisation`` and
``coordinates`` are its parts, usable without it. ``theory`` measures the distance from the prior.
"""

from bnnsample import coordinates as coordinates
from bnnsample import kernels as kernels
from bnnsample import likelihoods as likelihoods
from bnnsample import models as models
from bnnsample import repriorisation as repriorisation
from bnnsample import theory as theory
from bnnsample._run import run as run
from bnnsample._warnings import BimodalWarning as BimodalWarning
from bnnsample._warnings import ConvergenceWarning as ConvergenceWarning
from bnnsample._warnings import DivergenceWarning as DivergenceWarning
from bnnsample._warnings import EffectiveSampleSizeWarning as EffectiveSampleSizeWarning
from bnnsample._warnings import NonFiniteWarning as NonFiniteWarning
from bnnsample._warnings import PrecisionWarning as PrecisionWarning
from bnnsample._warnings import SamplingWarning as SamplingWarning
from bnnsample._warnings import StuckChainWarning as StuckChainWarning
from bnnsample._warnings import WarmupWarning as WarmupWarning
from bnnsample._weights import ImportanceSamplingError as ImportanceSamplingError
from bnnsample.checkpoints import CheckpointMismatchError as CheckpointMismatchError
from bnnsample.results import Result as Result
from bnnsample.results import load as load
from bnnsample.theory import will_it_help as will_it_help

__all__ = [
    "BimodalWarning",
    "CheckpointMismatchError",
    "ConvergenceWarning",
    "DivergenceWarning",
    "EffectiveSampleSizeWarning",
    "ImportanceSamplingError",
    "NonFiniteWarning",
    "PrecisionWarning",
    "Result",
    "SamplingWarning",
    "StuckChainWarning",
    "WarmupWarning",
    "coordinates",
    "kernels",
    "likelihoods",
    "load",
    "models",
    "repriorisation",
    "run",
    "theory",
    "will_it_help",
]
