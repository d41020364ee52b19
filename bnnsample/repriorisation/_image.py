"""Whitened outputs ``P W`` of repriorised readouts, without forming the readout.

On the data side they are a function of the image ``P phi [n, d]`` alone: with ``v = (L + I)^{-1} P
phi`` the map's root gives ``P A phi = v + L^{-T} v``, two triangular solves, and a chain that moves
``phi`` with the hidden layers fixed can be followed in its image.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from bnnsample.repriorisation._factor import Factor, posterior_mean, solve_lower, solve_upper


class Image(NamedTuple):
    """The image of ``phi [p, d]`` under ``P``; on the parameter side ``phi`` itself.

    Attributes:
        factor: the readout's factor given the hidden layers.
        mean: ``P mu [n, d]``, the whitened outputs of ``phi = 0``.
        log_marginal: ``log N(z; 0, I + P P^T)`` without the constant in pi, over all outputs.
    """

    factor: Factor
    mean: Array
    log_marginal: Array

    def of(self, phi: Array) -> Array:
        """The image of ``phi``."""
        return phi if self.factor.on_parameter_side else self.factor.P @ phi

    def back(self, direction: Array) -> Array:
        """The adjoint: what a gradient in the image is for ``phi``."""
        return direction if self.factor.on_parameter_side else self.factor.P.T @ direction

    def gram(self, direction: Array) -> Array:
        """``of(back(direction))``, from the factor: ``P P^T = L L^T - I``."""
        if self.factor.on_parameter_side:
            return direction
        L = self.factor.L
        return L @ (L.T @ direction) - direction

    def outputs(self, image: Array) -> Array:
        """The whitened outputs ``P W [n, d]`` of an image."""
        P, L = self.factor.P, self.factor.L
        if self.factor.on_parameter_side:
            return self.mean + P @ solve_upper(L, image)
        v = solve_lower(L + jnp.eye(len(L), dtype=L.dtype), image)
        return self.mean + v + solve_upper(L, v)


def image_of(factor: Factor, z: Array) -> Image:
    """The image of readouts given a factor and whitened targets ``z [n, d]``."""
    L, d = factor.L, z.shape[1]
    if factor.on_parameter_side:
        mu = posterior_mean(factor, z)
        mean = factor.P @ mu
        # A sum of squares, as in the marginal likelihood, where a difference would cancel.
        squares = jnp.sum((z - mean) ** 2) + jnp.sum(mu * mu)
    else:
        white = solve_lower(L, z)
        mean, squares = z - solve_upper(L, white), jnp.sum(white * white)
    log_marginal = -0.5 * squares - d * jnp.sum(jnp.log(jnp.diagonal(L)))
    return Image(factor, mean, log_marginal)
