"""Tempered (cold or warm) posteriors: of the likelihood alone, or of the whole posterior."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from bnnsample._arguments import checked_number, shown

TEMPERINGS = ("posterior", "likelihood")
Pytree = Any


@dataclass(frozen=True)
class Tempering:
    """A temperature, and what it tempers.

    ``"likelihood"``: ``p(y | q)^(1/T) N(q; 0, I)``. ``"posterior"``: ``(p(y | q) N(q; 0, I))``
    to the power 1 / T (Wenzel et al. 2020, How good is the Bayes posterior in deep neural networks
    really?, eq. 1), over parameters and unknowns as the standard normals ``q`` that they are
    functions of. Its prior ``N(q; 0, I)^(1/T)`` is N(0, T): a chain moves in ``q / sqrt(T)``, whose
    reference is N(0, I). An unknown whose prior has no quantile function in closed form here is
    tempered in NumPyro's unconstrained coordinate: its density there is what is raised.

    Attributes:
        temperature: T; 1 leaves everything as it is.
        tempers: one of ``TEMPERINGS``.
    """

    temperature: float = 1.0
    tempers: str = "posterior"

    @property
    def noise_root(self) -> float:
        """What tempering multiplies the standard deviation of Gaussian noise by."""
        return math.sqrt(self.temperature)

    @property
    def prior_root(self) -> float:
        """The same for the prior's."""
        return math.sqrt(self.temperature) if self.tempers == "posterior" else 1.0

    def enlarged(self, tree: Pytree) -> Pytree:
        """Parameters, or features, of positions: times the prior's root."""
        return self._times(tree, self.prior_root)

    def reduced(self, tree: Pytree) -> Pytree:
        """Positions of parameters."""
        return self._times(tree, 1 / self.prior_root)

    def gaussian_constant(self, scale: Array, shape: tuple[int, ...]) -> Array:
        """``log N(y; f, s^2)^(1/T) - log N(y; f, T s^2)`` for y ``[n, d]``; free of y and f."""
        n, d = shape
        log_scale = jnp.mean(jnp.log(scale)) + 0.5 * math.log(2 * math.pi)
        surplus = n * d * (1 - 1 / self.temperature)
        return surplus * log_scale + 0.5 * n * d * math.log(self.temperature)

    def _times(self, tree: Pytree, factor: float) -> Pytree:
        if factor == 1.0:
            return tree
        return jax.tree.map(lambda a: a * jnp.asarray(factor, a.dtype), tree)


def checked_tempering(temperature: Any, tempering: Any) -> Tempering:
    """The tempering of ``run``'s arguments.

    Raises:
        TypeError, ValueError: a temperature that is not a positive number, or another name.
    """
    number = checked_number("temperature", temperature)
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"temperature must be positive and finite, got {shown(temperature)}")
    if not isinstance(tempering, str) or tempering not in TEMPERINGS:
        raise ValueError(
            f"tempering must be one of {', '.join(TEMPERINGS)}: what is raised to the power "
            f"1 / temperature, got {shown(tempering)}"
        )
    return Tempering(number, tempering)
