"""Standard coordinates: the chain moves in the network's own parameters."""

from collections.abc import Mapping
from dataclasses import dataclass

import jax
from jax import Array

from bnnsample.coordinates._posterior import Parameters, Position, Posterior
from bnnsample.repriorisation import Factor


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Standard(Posterior):
    """Position ``(h, W)``; the potential is minus the log likelihood."""

    def potential(self, position: Position) -> Array:
        f = self.features(position, self.x) @ position["readout"]
        log_prob = self.log_prob(f, self.unknown_values(position))
        return -log_prob - self.log_correction(position)

    def readout(self, key: Array, position: Position, factor: Factor, z: Array) -> Array:
        return position["readout"]

    def network_parameters(self, position: Position) -> Parameters:
        return {"hidden": position["hidden"], "readout": position["readout"]}

    def position_of(self, parameters: Parameters, unknowns: Mapping[str, Array]) -> Position:
        return {
            "hidden": parameters["hidden"],
            "readout": parameters["readout"],
            "unknowns": dict(unknowns),
        }
