"""Collapsed coordinates: the readout integrated out, the chain moves in the hidden layers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from bnnsample.coordinates._posterior import Parameters, Position, Posterior
from bnnsample.kernels import UnitTarget
from bnnsample.repriorisation import Factor, log_marginal_likelihood
from bnnsample.repriorisation._factor import whiten_features
from bnnsample.repriorisation._readout import draw_from_factor


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Collapsed(Posterior):
    """Position ``h``; the potential is minus the log marginal likelihood of the hidden layers.

    The readout is drawn afresh, exactly, from its posterior given ``h`` for every draw.
    """

    def potential(self, position: Position) -> Array:
        psi = self.features(position, self.x)
        value = log_marginal_likelihood(psi, self.y, self.gaussian_scale(position))
        return -value - self.gaussian_constant(position) - self.log_correction(position)

    def whitened_features(self, position: Position) -> Array:
        psi = self.features(position, self.x)
        return whiten_features(psi, self.gaussian_scale(position))[0]

    def unit_target(self) -> UnitTarget:
        """The potential as a function of a sum over the units of the last hidden layer."""
        layer = self.model.units
        assert layer is not None, "refused before a run: the model has no units"

        def split(position):
            hidden = position["hidden"]
            return layer.get(hidden), {**position, "hidden": layer.put(hidden, None)}

        def join(units, rest):
            return {**rest, "hidden": layer.put(rest["hidden"], units)}

        def column_scale(rest):
            scale = self.gaussian_scale(rest)
            return scale[:, None] if scale.ndim else scale

        def columns(units, rest):
            model = self.model.at(self.unknown_values(rest))
            assert model.units is not None
            hidden, units = self.tempering.enlarged((rest["hidden"], units))
            phi = model.units.features(units, model.units.lower(hidden, self.x))
            return self.tempering.enlarged(model.scaled(phi)) / column_scale(rest)

        def base(rest):
            scale, (n, d) = column_scale(rest), self.y.shape
            bias = jnp.asarray(
                self.model.at(self.unknown_values(rest)).readout_bias_std, self.y.dtype
            )
            ones = self.tempering.enlarged(jnp.broadcast_to(bias, (n, 1))) / scale
            log_scale = jnp.sum(jnp.log(jnp.broadcast_to(scale, (n, 1))))
            constant = d * (log_scale + 0.5 * n * math.log(2 * math.pi))
            M0 = jnp.eye(n, dtype=self.y.dtype) + ones @ ones.T
            constant -= self.gaussian_constant(rest) + self.log_correction(rest)
            return M0, self.y / scale, constant

        return UnitTarget(self.potential, split, join, columns, base)

    def reference_position(self, parameters: Parameters, unknowns: dict[str, Array]) -> Position:
        return {"hidden": parameters["hidden"], "unknowns": unknowns}

    def readout(self, key: Array, position: Position, factor: Factor, z: Array) -> Array:
        return draw_from_factor(key, factor, z)

    def position_of(self, parameters: Parameters, unknowns: Mapping[str, Array]) -> Position:
        return {"hidden": parameters["hidden"], "unknowns": dict(unknowns)}
