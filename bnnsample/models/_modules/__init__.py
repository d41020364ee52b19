"""Modules of Flax and Equinox, split into hidden layers and readout."""

from bnnsample.models._modules._equinox import from_equinox as from_equinox
from bnnsample.models._modules._flax import from_flax as from_flax
from bnnsample.models._modules._priors import fan_in as fan_in
