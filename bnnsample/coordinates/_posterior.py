"""The posterior of a network as a potential over a pytree, and the map back to parameters."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from bnnsample._unknowns import log_correction_of, values_of
from bnnsample.likelihoods import Likelihood
from bnnsample.models import Model
from bnnsample.repriorisation import Factor
from bnnsample.repriorisation._factor import condition

Position = dict[str, Any]
Parameters = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Posterior(ABC):
    """Target ``N(position; 0, I) * exp(-potential(position))`` up to a constant.

    A position is ``{"hidden": h, "unknowns": {name: u}}``, with ``"readout"`` beside them in
    the coordinates that move the readout. Data are leaves, so that a compiled program takes
    them as arguments.

    Attributes:
        model: the network.
        likelihood: how ``y`` is observed.
        width: the width given at run time.
        x: inputs ``[n, ...]``.
        y: targets ``[n, d]``.
        location, spread: mean and standard deviation of the Gaussian reference of each unknown's
            ``u``: a position holds ``v`` with ``u = location + spread * v``. With 0 and 1 the
            reference is the prior; the warm-up moves it to the posterior, which is exact for
            any value and spares the network's chain the step size of a well-determined unknown.
    """

    model: Model = field(metadata={"static": True})
    likelihood: Likelihood = field(metadata={"static": True})
    width: Any = field(metadata={"static": True})
    x: Array
    y: Array
    location: dict[str, Array] = field(default_factory=dict)
    spread: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self):
        if not self.location:
            zero = {name: jnp.zeros((), self.y.dtype) for name in self.likelihood.unknowns}
            object.__setattr__(self, "location", zero)
            object.__setattr__(self, "spread", jax.tree.map(jnp.ones_like, zero))

    @abstractmethod
    def potential(self, position: Position) -> Array:
        """Minus the log density relative to N(0, I), a scalar."""

    @abstractmethod
    def position_of(self, parameters: Parameters, unknowns: Mapping[str, Array]) -> Position:
        """The position of network parameters and of the unknowns' coordinates."""

    @property
    def num_outputs(self) -> int:
        """Outputs ``d`` of the network."""
        return self.likelihood.num_outputs(self.y)

    def prior_draw(self, key: Array) -> Position:
        """A draw of the position from its reference measure N(0, I)."""
        parameter_key, unknown_key = jax.random.split(key)
        parameters = self.prior_parameters(parameter_key)
        unknowns = self.prior_unknowns(unknown_key)
        return self.reference_position(parameters, unknowns)

    def numbered_prior_draw(self, key: Array, number: Array) -> Position:
        """Draw ``number`` of the stream of ``key``: the same every time it is asked for."""
        return self.prior_draw(jax.random.fold_in(key, number))

    def reference_position(self, parameters: Parameters, unknowns: dict[str, Array]) -> Position:
        """Prior draws in the shape of a position."""
        return {**parameters, "unknowns": unknowns}

    def prior_parameters(self, key: Array) -> Parameters:
        """A draw of the network's parameters from their prior."""
        return self.model.init(key, self.x, self.width, self.num_outputs)

    def prior_unknowns(self, key: Array) -> dict[str, Array]:
        """A draw of the unknowns' coordinates ``u`` from N(0, 1)."""
        names = sorted(self.likelihood.unknowns)
        draws = jax.random.normal(key, (len(names),), self.y.dtype)
        return {name: draws[i] for i, name in enumerate(names)}

    def unknown_coordinates(self, position: Position) -> dict[str, Array]:
        """``u = location + spread * v`` of each unknown."""
        return {
            name: self.location[name] + self.spread[name] * v
            for name, v in position["unknowns"].items()
        }

    def unknown_values(self, position: Position) -> dict[str, Array]:
        """The unknowns by name, their transforms undone."""
        return values_of(self.likelihood.unknowns, self.unknown_coordinates(position))

    def log_correction(self, position: Position) -> Array:
        """What the unknowns add to the log density relative to N(v; 0, 1), up to a constant."""
        u, v = self.unknown_coordinates(position), position["unknowns"]
        correction = log_correction_of(self.likelihood.unknowns, u)
        correction += sum((v[name] ** 2 - u[name] ** 2) / 2 for name in u)
        return jnp.asarray(correction, self.y.dtype)

    def with_reference(self, location: dict[str, Array], spread: dict[str, Array]) -> "Posterior":
        """The same posterior with another Gaussian reference for its unknowns."""
        return dataclasses.replace(self, location=location, spread=spread)

    def rebase(self, position: Position, old: "Posterior") -> Position:
        """A position of ``old``, the same posterior under another reference, in this one's."""
        u = old.unknown_coordinates(position)
        v = {name: (u[name] - self.location[name]) / self.spread[name] for name in u}
        return {**position, "unknowns": v}

    @property
    def is_fitted(self) -> bool:
        """Whether ``fitted`` learns from where chains are."""
        return False

    def fitted(self, positions: Position) -> "Posterior":
        """The posterior with what it learns from positions ``[chain, ...]``; here nothing."""
        del positions
        return self

    def condition(self, position: Position) -> tuple[Factor, Array]:
        """The readout's factor given the hidden layers, and the whitened targets ``[n, d]``.

        For a Gaussian likelihood, in any coordinates.
        """
        psi = self.model.features(position["hidden"], self.x)
        return condition(psi, self.y, self.gaussian_scale(position))

    def readout(self, key: Array, position: Position, factor: Factor, z: Array) -> Array:
        """The readout ``W [p, d]`` of a position, for a Gaussian likelihood.

        ``factor`` and ``z`` as ``condition`` gives them.
        """
        raise NotImplementedError(f"{type(self).__name__} has no conditioned readout")

    def network_parameters(self, position: Position) -> Parameters:
        """``{"hidden", "readout"}`` of a position in coordinates that move the readout."""
        raise NotImplementedError(f"{type(self).__name__} does not move the readout")

    def gaussian_scale(self, position: Position) -> Array:
        """The noise standard deviation, as the closed forms of the readout need it."""
        scale = self.likelihood.gaussian_scale(self.unknown_values(position))
        return jnp.asarray(scale, self.y.dtype)
