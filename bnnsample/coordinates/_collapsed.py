"""Collapsed coordinates: the readout integrated out, the chain moves in the hidden layers."""

from collections.abc import Mapping
from dataclasses import dataclass

import jax
from jax import Array

from bnnsample.coordinates._posterior import Parameters, Position, Posterior
from bnnsample.repriorisation import Factor, log_marginal_likelihood
from bnnsample.repriorisation._readout import draw_from_factor


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Collapsed(Posterior):
    """Position ``h``; the potential is minus the log marginal likelihood of the hidden layers.

    The readout is drawn afresh, exactly, from its posterior given ``h`` for every draw.
    """

    def potential(self, position: Position) -> Array:
        psi = self.model.features(position["hidden"], self.x)
        value = log_marginal_likelihood(psi, self.y, self.gaussian_scale(position))
        return -value - self.log_correction(position)

    def reference_position(self, parameters: Parameters, unknowns: dict[str, Array]) -> Position:
        return {"hidden": parameters["hidden"], "unknowns": unknowns}

    def readout(self, key: Array, position: Position, factor: Factor, z: Array) -> Array:
        return draw_from_factor(key, factor, z)

    def position_of(self, parameters: Parameters, unknowns: Mapping[str, Array]) -> Position:
        return {"hidden": parameters["hidden"], "unknowns": dict(unknowns)}
