"""How data are observed: the likelihood of targets given the network's outputs."""

from bnnsample.likelihoods._gaussian import Gaussian as Gaussian
from bnnsample.likelihoods._likelihood import Likelihood as Likelihood

__all__ = ["Gaussian", "Likelihood"]
