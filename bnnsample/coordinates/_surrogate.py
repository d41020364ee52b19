"""Repriorised coordinates for any likelihood, through a Gaussian surrogate of it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from bnnsample._mean_kernel import mean_kernel
from bnnsample.coordinates._posterior import Parameters, Position, Posterior
from bnnsample.kernels import AlternatingTarget, Conditioned
from bnnsample.repriorisation._factor import Factor, condition, posterior_mean, whiten_features
from bnnsample.repriorisation._image import Image, image_of
from bnnsample.repriorisation._map import apply_inverse_root, apply_root
from bnnsample.surrogates import FeaturePrior, KernelPrior, Prior, Surrogate, fit


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class SurrogateRepriorised(Posterior):
    """Position ``(h, phi_W)`` with ``W = mu + A phi_W`` of a Gaussian surrogate.

    With pseudo-targets ``z`` and precisions ``s`` in the likelihood's place the density of the
    position is that of repriorised coordinates times ``p(y | f) / N(z; f, 1 / s)``, exact for
    any surrogate. The better the surrogate, the flatter the potential.

    Attributes:
        surrogate: fitted to the hidden layers of prior draws, and again by the warm-up.
    """

    surrogate: Surrogate | None = None

    def potential(self, position: Position) -> Array:
        image = self._image(position)
        return self._potential(image, image.of(position["readout"]), position["unknowns"])

    def whitened_features(self, position: Position) -> Array:
        assert self.surrogate is not None
        psi = self.features(position, self.x)
        return whiten_features(psi, 1 / self.surrogate.root)[0]

    def network_parameters(self, position: Position) -> Parameters:
        """``{"hidden", "readout"}`` of a position."""
        factor, z = self._condition(position)
        readout = posterior_mean(factor, z) + apply_root(factor, position["readout"])
        return {"hidden": position["hidden"], "readout": readout}

    def position_of(self, parameters: Parameters, unknowns: Mapping[str, Array]) -> Position:
        position = {"hidden": parameters["hidden"], "unknowns": dict(unknowns)}
        factor, z = self._condition(position)
        phi = apply_inverse_root(factor, parameters["readout"] - posterior_mean(factor, z))
        return {**position, "readout": phi}

    def alternating_target(self) -> AlternatingTarget:
        """The potential, and what it is given the features: hidden layers and their scales."""
        scales = self.model.unknowns

        def split(position):
            unknowns = position["unknowns"]
            moved = {k: v for k, v in unknowns.items() if k not in scales}
            fixed = {k: v for k, v in unknowns.items() if k in scales}
            return position["readout"], moved, {"hidden": position["hidden"], "unknowns": fixed}

        def join(readout, moved, rest):
            return {**rest, "readout": readout, "unknowns": {**moved, **rest["unknowns"]}}

        def conditioned(rest) -> Conditioned:
            image = self._image(rest)

            def potential(at, moved):
                return self._potential(image, at, {**moved, **rest["unknowns"]})

            return Conditioned(image.of, image.back, image.gram, potential)

        return AlternatingTarget(self.potential, split, join, conditioned)

    def rebase(self, position: Position, old: "Posterior") -> Position:
        assert isinstance(old, SurrogateRepriorised)
        moved = super().rebase(position, old)
        return self.position_of(old.network_parameters(position), moved["unknowns"])

    @property
    def is_fitted(self) -> bool:
        return True

    def fitted(self, positions: Position) -> "SurrogateRepriorised":
        """The same posterior with the surrogate fitted to positions ``[chain, ...]``.

        To the kernel of their hidden layers and the middle of their unknowns, both averaged over
        chains. A likelihood that has one of its own keeps that.
        """
        given = self.likelihood.surrogate(self.y)
        if given is not None:
            target, scale = given
            root = 1 / (scale * jnp.asarray(self.tempering.temperature**0.5, scale.dtype))
            return dataclasses.replace(self, surrogate=Surrogate(root, target))
        prior = self._output_prior(positions)

        middle = jax.tree.map(lambda v: jnp.mean(v, axis=0), positions["unknowns"])
        values = self.unknown_values({"unknowns": middle})

        def log_prob(f):
            log_prob = self.likelihood.log_prob(self.y, f, values)
            return log_prob / jnp.asarray(self.tempering.temperature, log_prob.dtype)

        return dataclasses.replace(self, surrogate=fit(log_prob, prior, self.num_outputs))

    def _output_prior(self, positions: Position) -> Prior:
        """``mean_chain Psi Psi^T``, by features where chains together have fewer than points."""

        def features(position):
            return self.features(position, self.x)

        first = jax.tree.map(lambda a: a[0], positions)
        num_chains, n = jax.tree.leaves(positions)[0].shape[0], len(self.x)
        p = jax.eval_shape(features, first).shape[1]
        if num_chains * p <= n:
            psi = jax.lax.map(features, positions)
            stacked = psi.swapaxes(0, 1).reshape(n, -1)
            return FeaturePrior(stacked / jnp.asarray(num_chains**0.5, stacked.dtype))

        return KernelPrior(mean_kernel(features, positions))

    def _condition(self, position) -> tuple[Factor, Array]:
        assert self.surrogate is not None, "the surrogate is fitted before chains start"
        psi = self.features(position, self.x)
        return condition(psi, self.surrogate.target, 1 / self.surrogate.root)

    def _image(self, position) -> Image:
        return image_of(*self._condition(position))

    def _potential(self, image: Image, at: Array, unknowns: dict[str, Array]) -> Array:
        """Minus ``log p(y | f) + log N(z; 0, I + P P^T) - log N(z; P W, I)``, and the unknowns'."""
        assert self.surrogate is not None
        root = self.surrogate.root[:, None]
        whitened = image.outputs(at)
        residual = root * self.surrogate.target - whitened
        values = self.unknown_values({"unknowns": unknowns})
        log_prob = self.log_prob(whitened / root, values)
        log_density = log_prob + image.log_marginal + 0.5 * jnp.sum(residual * residual)
        return -log_density - self.log_correction({"unknowns": unknowns})
