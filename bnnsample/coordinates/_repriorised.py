"""Repriorised coordinates: the readout mapped so that its posterior given h is N(0, I)."""

from collections.abc import Mapping
from dataclasses import dataclass

import jax
from jax import Array

from bnnsample.coordinates._collapsed import Collapsed
from bnnsample.coordinates._posterior import Parameters, Position
from bnnsample.repriorisation import Factor, inverse
from bnnsample.repriorisation._factor import posterior_mean
from bnnsample.repriorisation._map import apply_root


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Repriorised(Collapsed):
    """Position ``(h, phi_W)`` with ``W = mu + A phi_W`` (Hron et al. 2022, eq. 5 and 6).

    With a Gaussian likelihood the density of the position does not contain ``phi_W`` but in
    its own N(0, I): the potential is that of the collapsed coordinates.
    """

    def reference_position(self, parameters: Parameters, unknowns: dict[str, Array]) -> Position:
        return {**parameters, "unknowns": unknowns}

    def readout(self, key: Array, position: Position, factor: Factor, z: Array) -> Array:
        return posterior_mean(factor, z) + apply_root(factor, position["readout"])

    def position_of(self, parameters: Parameters, unknowns: Mapping[str, Array]) -> Position:
        position = super().position_of(parameters, unknowns)
        psi = self.features(position, self.x)
        scale = self.gaussian_scale(position)
        position["readout"] = inverse(parameters["readout"], psi, self.y, scale)
        return position
