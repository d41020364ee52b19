"""Gaussian stand-ins for a likelihood, in which the readout's posterior has a closed form."""

from bnnsample.surrogates._fit import fit as fit
from bnnsample.surrogates._surrogate import Surrogate as Surrogate

__all__ = ["Surrogate", "fit"]
