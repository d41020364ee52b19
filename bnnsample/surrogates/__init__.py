"""Gaussian stand-ins for a likelihood, in which the readout's posterior has a closed form."""

from bnnsample.surrogates._fit import fit as fit
from bnnsample.surrogates._prior import FeaturePrior as FeaturePrior
from bnnsample.surrogates._prior import KernelPrior as KernelPrior
from bnnsample.surrogates._prior import Prior as Prior
from bnnsample.surrogates._surrogate import Surrogate as Surrogate

__all__ = ["FeaturePrior", "KernelPrior", "Prior", "Surrogate", "fit"]
