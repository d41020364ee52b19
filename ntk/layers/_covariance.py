"""What a layer of infinite width turns into another: covariances between two sets of examples."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array


@dataclass(frozen=True)
class Covariances:
    """Of one channel of a layer, as its width grows without bound.

    A network on images has a covariance for every pair of positions. ``full``: all of them,
    ``[n1, n2, h, h', w, w', ...]``, as averages over positions need. Otherwise those of equal
    positions alone, ``[n1, n2, h, w, ...]``: a convolution makes them from themselves.

    Attributes:
        nngp: between x1 and x2.
        ntk: the tangent kernel between x1 and x2; None: zero so far, or not asked for.
        own1, own2: the covariance of an example with itself, ``[n1, ...]`` and ``[n2, ...]``.
        same: x1 and x2 are one example, and the same.
        spatial: the number of spatial axes.
        full: whether positions are paired.
        tangent: whether the tangent kernel is asked for.
        gaussian: whether the channel is Gaussian given the layer before: weights made it.
    """

    nngp: Array
    ntk: Array | None
    own1: Array
    own2: Array
    same: bool
    spatial: int
    full: bool
    tangent: bool
    gaussian: bool

    def mapped(self, fn: Callable[[Array, int], Array], **changes) -> "Covariances":
        """``fn(covariance, lead)`` of every covariance, linear, ``lead`` axes over examples."""
        return dataclasses.replace(
            self,
            nngp=fn(self.nngp, 2),
            ntk=None if self.ntk is None else fn(self.ntk, 2),
            own1=fn(self.own1, 1),
            own2=fn(self.own2, 1),
            **changes,
        )

    def agreeing(self) -> "Covariances":
        """With an example's covariance with itself of equal bits in ``nngp`` and in ``own1``.

        The angle between two Gaussians goes as the root of the rounding where they are one.
        """
        return dataclasses.replace(self, nngp=self.own1[:, None]) if self.same else self

    def at_equal_positions(self) -> "Covariances":
        """Without the pairs of different positions."""
        if not self.full:
            return self
        spatial = self.spatial

        def diagonal(array: Array, lead: int) -> Array:
            for _ in range(spatial):
                # The pair in front goes to the back as one axis.
                array = jnp.diagonal(array, axis1=lead, axis2=lead + 1)
            return array

        return self.mapped(diagonal, full=False)

    def variances(self) -> tuple[Array, Array]:
        """Of every position: ``[n1, *positions]`` and ``[n2, *positions]``."""
        same = self.at_equal_positions()
        return same.own1, same.own2

    def pair_of_variances(self) -> tuple[Array, Array]:
        """The variances of x1 and of x2, with axes of length 1 where ``nngp`` has the other's."""
        first, second = self.variances()
        return self._spread(first[:, None], 2, 0), self._spread(second[None], 2, 1)

    def own_pairs(self, variances: Array) -> tuple[Array, Array]:
        """The same for an example and itself, of ``variances [n, *positions]``."""
        return self._spread(variances, 1, 0), self._spread(variances, 1, 1)

    def _spread(self, variances: Array, lead: int, side: int) -> Array:
        if not self.full:
            return variances
        added = [lead + 2 * k + (1 - side) for k in range(self.spatial)]
        return jnp.expand_dims(variances, added)


def of_inputs(x1: Array, x2: Array, same: bool, paired: bool, tangent: bool) -> Covariances:
    """Covariances of a channel of the inputs: products of examples, divided by their channels.

    Args:
        x1, x2: ``[n1, *positions, channels]`` and ``[n2, ...]``.
        same: x1 and x2 are one example, and the same.
        paired: whether all pairs of positions are asked for.
        tangent: whether the tangent kernel is asked for.
    """
    spatial = x1.ndim - 2
    full = paired and spatial > 0
    positions = list(range(10, 10 + spatial))
    others = [p + spatial for p in positions] if full else positions
    out = [i for pair in zip(positions, others, strict=True) for i in dict.fromkeys(pair)]

    def products(a: Array, b: Array, examples: list[int]) -> Array:
        first, second = [examples[0], *positions, 2], [examples[-1], *others, 2]
        product = jnp.einsum(a, first, b, second, [*examples, *out], precision="highest")
        return product / a.shape[-1]

    own1 = products(x1, x1, [0])
    own2 = own1 if same else products(x2, x2, [0])
    cross = products(x1, x2, [0, 1])
    return Covariances(cross, None, own1, own2, same, spatial, full, tangent, False)
