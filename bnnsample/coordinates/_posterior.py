"""The posterior of a network as a potential over a pytree, and the map back to parameters."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from bnnsample._precision import fast_products
from bnnsample._unknowns import Unknown, log_correction_of, values_of
from bnnsample.coordinates._tempering import Tempering
from bnnsample.likelihoods import Likelihood
from bnnsample.models import Model
from bnnsample.repriorisation import Factor
from bnnsample.repriorisation._factor import condition

Position = dict[str, Any]
Parameters = dict[str, Any]
# Fields of arrays that nothing is learned of.
GIVEN = ("x", "y", "tempering")


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
        tempering: the temperature. Positions are those of ``Tempering``; parameters, and values of
            unknowns, are what they are without it.
        network_dtype: in which features are computed, by products as fast as the device makes
            them; None: that of the data.
    """

    model: Model = field(metadata={"static": True})
    likelihood: Likelihood = field(metadata={"static": True})
    width: Any = field(metadata={"static": True})
    x: Array
    y: Array
    location: dict[str, Array] = field(default_factory=dict)
    spread: dict[str, Array] = field(default_factory=dict)
    tempering: Tempering = field(default=Tempering())
    network_dtype: Any = field(default=None, metadata={"static": True})

    def __post_init__(self):
        if not self.location:
            zero = {name: jnp.zeros((), self.y.dtype) for name in self.unknowns}
            object.__setattr__(self, "location", zero)
            object.__setattr__(self, "spread", jax.tree.map(jnp.ones_like, zero))

    @abstractmethod
    def potential(self, position: Position) -> Array:
        """Minus the log density relative to N(0, I), a scalar."""

    @abstractmethod
    def position_of(self, parameters: Parameters, unknowns: Mapping[str, Array]) -> Position:
        """The position of network parameters and of the unknowns' coordinates."""

    @property
    def unknowns(self) -> dict[str, Unknown]:
        """The unknowns by name: prior scales of the network, and those of the likelihood."""
        return {**self.model.unknowns, **self.likelihood.unknowns}

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
        names = sorted(self.unknowns)
        draws = jax.random.normal(key, (len(names),), self.y.dtype)
        return {name: draws[i] for i, name in enumerate(names)}

    def unknown_coordinates(self, position: Position) -> dict[str, Array]:
        """``location + spread * v`` of each unknown: ``u``, where nothing is tempered."""
        return {
            name: self.location[name] + self.spread[name] * v
            for name, v in position["unknowns"].items()
        }

    def unknown_values(self, position: Position) -> dict[str, Array]:
        """Values of the unknowns that a position has, by name, their transforms undone."""
        u = self.tempering.enlarged(self.unknown_coordinates(position))
        return values_of(self.unknowns, u)

    def log_correction(self, position: Position) -> Array:
        """What the unknowns add to the log density relative to N(v; 0, 1), up to a constant."""
        u, v = self.unknown_coordinates(position), position["unknowns"]
        correction = log_correction_of(self.unknowns, self.tempering.enlarged(u))
        correction = correction / self.tempering.prior_root**2
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
        psi = self.features(position, self.x)
        return condition(psi, self.y, self.gaussian_scale(position))

    def whitened_features(self, position: Position) -> Array | None:
        """``P = Psi / scale [n, p]`` of the factorisation in the potential; None: there is none."""
        del position
        return None

    def features(self, position: Position, x: Array) -> Array:
        """Scaled features ``Psi [n, p]``, of which a position's readout has the prior N(0, I)."""
        hidden = self.tempering.enlarged(position["hidden"])
        return self.features_of(hidden, self.unknown_values(position), x)

    def features_of(self, hidden: Any, values: Mapping[str, Array], x: Array) -> Array:
        """The same of hidden parameters and values of the unknowns."""
        if self.network_dtype is None:
            return self.tempering.enlarged(self.model.at(values).features(hidden, x))
        hidden, values, x = jax.tree.map(
            lambda a: a.astype(self.network_dtype), (hidden, dict(values), x)
        )
        with fast_products():
            psi = self.model.at(values).features(hidden, x)
        return self.tempering.enlarged(psi.astype(self.y.dtype))

    def to_parameters(self, parameters: Parameters) -> Parameters:
        """The network's parameters of a position's."""
        return self.tempering.enlarged(parameters)

    def to_position(self, parameters: Parameters) -> Parameters:
        """A position's parameters of the network's."""
        return self.tempering.reduced(parameters)

    def log_prob(self, f: Array, values: Mapping[str, Array]) -> Array:
        """The tempered log-likelihood of outputs ``f [n, d]``, a scalar."""
        total = jnp.sum(self.likelihood.log_prob(self.y, f, values))
        return total / jnp.asarray(self.tempering.temperature, total.dtype)

    def readout(self, key: Array, position: Position, factor: Factor, z: Array) -> Array:
        """The readout ``W [p, d]`` of a position, for a Gaussian likelihood.

        ``factor`` and ``z`` as ``condition`` gives them; see ``to_parameters``.
        """
        raise NotImplementedError(f"{type(self).__name__} has no conditioned readout")

    def network_parameters(self, position: Position) -> Parameters:
        """``{"hidden", "readout"}`` of a position in coordinates that move the readout.

        As a position has them: see ``to_parameters``.
        """
        raise NotImplementedError(f"{type(self).__name__} does not move the readout")

    def gaussian_scale(self, position: Position) -> Array:
        """The noise standard deviation, tempered, as the closed forms of the readout need it."""
        return self.gaussian_scale_of(self.unknown_values(position))

    def gaussian_scale_of(self, values: Mapping[str, Array]) -> Array:
        """The same of values of the unknowns."""
        scale = self.likelihood.gaussian_scale(values)
        return jnp.asarray(scale, self.y.dtype) * jnp.asarray(
            self.tempering.noise_root, self.y.dtype
        )

    def gaussian_constant(self, position: Position) -> Array:
        """What the tempered Gaussian likelihood has beside that of the tempered noise scale."""
        if self.tempering.is_none:
            return jnp.zeros((), self.y.dtype)
        scale = self.likelihood.gaussian_scale(self.unknown_values(position))
        constant = self.tempering.gaussian_constant(scale, self.y.shape)
        return jnp.asarray(constant, self.y.dtype)


def learned(posterior: Posterior) -> dict[str, Any]:
    """What a warm-up has taught a posterior: its fields of arrays that are not given."""
    names = [f.name for f in dataclasses.fields(posterior) if not f.metadata.get("static")]
    return {name: getattr(posterior, name) for name in names if name not in GIVEN}
