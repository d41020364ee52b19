"""Elementwise activations."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from jax import Array

from ntk._activations import resolve_activation
from ntk._duals import dual_of
from ntk.layers._covariance import Covariances
from ntk.layers._layer import Layer


@dataclass(frozen=True)
class Activation(Layer):
    """``phi(x)``, elementwise: a name of ``ntk.ACTIVATIONS``, or any function.

    At infinite width in closed form where one is known, else by quadrature:
    ``Activation(f).dual.closed_form`` says which.
    """

    function: str | Callable[[Array], Array]
    fresh: ClassVar[bool | None] = False

    def __post_init__(self):
        resolve_activation(self.function)

    @property
    def dual(self):
        """The second moments of the activation under Gaussians."""
        return dual_of(self.function)

    def apply(self, parameters: tuple, x: Array) -> Array:
        return resolve_activation(self.function)(x)

    def spread(self, k: Covariances) -> Covariances:
        if not k.gaussian:
            raise ValueError(
                f"{self!r} must follow a layer with weights: at infinite width its input has to "
                "be Gaussian"
            )
        dual, k = self.dual, k.agreeing()
        first, second = k.variances()
        if k.ntk is None:
            nngp, ntk = dual.value(k.nngp, *k.pair_of_variances()), None
        else:
            nngp, slope = dual(k.nngp, *k.pair_of_variances())
            ntk = slope * k.ntk
        own1, own2 = (
            dual.value(own, *k.own_pairs(variances)) if k.full else dual.diagonal_value(own)
            for own, variances in ((k.own1, first), (k.own2, second))
        )
        return dataclasses.replace(k, nngp=nngp, ntk=ntk, own1=own1, own2=own2, gaussian=False)
