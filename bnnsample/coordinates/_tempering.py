"""Tempered (cold or warm) posteriors: of the likelihood alone, or of the whole posterior."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bnnsample._arguments import checked_number, shown

TEMPERINGS = ("posterior", "likelihood")
Pytree = Any


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True)
class Tempering:
    """A temperature, and what it tempers.

    ``"likelihood"``: ``p(y | q)^(1/T) N(q; 0, I)``. ``"posterior"``: ``(p(y | q) N(q; 0, I))``
    to the power 1 / T (Wenzel et al. 2020, How good is the Bayes posterior in deep neural networks
    really?, eq. 1), over parameters and unknowns as the standard normals ``q`` that they are
    functions of. Its prior ``N(q; 0, I)^(1/T)`` is N(0, T): a chain moves in ``q / sqrt(T)``, whose
    reference is N(0, I). An unknown whose prior has no quantile function in closed form here is
    tempered in NumPyro's unconstrained coordinate: its density there is what is raised.

    A temperature other than 1 is a leaf, so that one compiled program serves all of them.

    Attributes:
        temperature: T; 1 leaves everything as it is.
        tempers: one of ``TEMPERINGS``.
    """

    temperature: Any = 1.0
    tempers: str = "posterior"

    @property
    def is_none(self) -> bool:
        """The temperature is 1, in every program that is made of it."""
        return isinstance(self.temperature, int | float) and self.temperature == 1

    @property
    def noise_root(self) -> Any:
        """What tempering multiplies the standard deviation of Gaussian noise by."""
        return self.temperature**0.5

    @property
    def prior_root(self) -> Any:
        """The same for the prior's."""
        return self.temperature**0.5 if self.tempers == "posterior" else 1.0

    def cast(self, dtype: np.dtype) -> "Tempering":
        """The same with a temperature of a dtype."""
        return self if self.is_none else Tempering(dtype.type(self.temperature), self.tempers)

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
        return surplus * log_scale + 0.5 * n * d * jnp.log(self.temperature)

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[bool, str]]:
        return () if self.is_none else (self.temperature,), (self.is_none, self.tempers)

    @classmethod
    def tree_unflatten(cls, static: tuple[bool, str], leaves: tuple[Any, ...]) -> "Tempering":
        is_none, tempers = static
        return cls(1.0 if is_none else leaves[0], tempers)

    def _times(self, tree: Pytree, factor: Any) -> Pytree:
        if self.is_none or self.tempers == "likelihood":
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
