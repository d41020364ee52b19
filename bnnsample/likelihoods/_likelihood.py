"""What kernels, coordinates and results need to know of a likelihood."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from jax import Array

from bnnsample import _data
from bnnsample._unknowns import Unknown

Values = Mapping[str, Array]


class Likelihood(ABC):
    """``p(y | f, values)`` for targets ``y [n, t]`` and network outputs ``f [n, d]``.

    ``values`` are the unknowns' current values by name. A new likelihood implements the
    abstract methods; coordinates, kernels, chains and results need no change. One that is Gaussian
    in ``f`` gives ``gaussian_scale`` as well, and the readout is then integrated out; any other
    is sampled through a Gaussian surrogate, which takes nothing but ``log_prob``.

    Attributes:
        is_gaussian: ``y ~ N(f, scale^2)``: the readout has a closed form.
        standardizes: targets may be standardised, since ``f`` is in their units.
        splits_unevenly: data whose rows do not divide among devices may be split; false where
            ``log_prob`` may index ``f``, whose gradient XLA cannot split so.
    """

    is_gaussian: ClassVar[bool] = False
    standardizes: ClassVar[bool] = False
    splits_unevenly: ClassVar[bool] = True

    @property
    def unknowns(self) -> Mapping[str, Unknown]:
        """The unknown quantities sampled with the network, by the name they are reported under."""
        return {}

    @property
    def to_fit(self) -> tuple[str, ...]:
        """Names of the unknowns that maximise the marginal likelihood and are then held."""
        return ()

    def at(self, values: Mapping[str, Any]) -> "Likelihood":
        """The likelihood with these values of the unknowns to be fitted; others are ignored."""
        del values
        return self

    @property
    def output_names(self) -> list[str] | None:
        """Names of the network's outputs, such as classes; None: numbers."""
        return None

    def prepared(self, y: Any, num_points: int) -> tuple["Likelihood", np.ndarray, bool]:
        """The likelihood as these targets complete it, and the targets as the sampler sees them.

        Returns:
            the likelihood (with its classes found, say), the targets as floating point
            ``[n, t]``, and whether the user gave ``[n]``.

        Raises:
            TypeError, ValueError: targets and likelihood do not fit.
        """
        array, was_vector = _data.as_targets(y, num_points)
        self.check(array)
        return self, array, was_vector

    def check(self, y: np.ndarray) -> None:
        """Raise ``ValueError`` where the targets ``y [n, t]`` and the likelihood do not fit."""
        del y

    def num_outputs(self, y: Any) -> int:
        """Outputs ``d`` of the network for targets ``y [n, t]``."""
        return y.shape[1]

    @abstractmethod
    def log_prob(self, y: Array, f: Array, values: Values) -> Array:
        """Log density of each observation ``[n]``, summed over its targets."""

    @abstractmethod
    def sample(self, key: Array, f: Array, values: Values, at_data: bool) -> Array | None:
        """A draw of targets ``[m, t]`` at outputs ``f [m, d]``; None where it cannot be made.

        ``at_data``: the outputs are those of the training inputs, in their order.
        """

    @abstractmethod
    def mean(self, f: Array, values: Values) -> Array | None:
        """``E[y | f]``, ``[m, k]``: of the targets, or the probabilities of classes.

        None where it is not known.
        """

    @abstractmethod
    def variance(self, f: Array, values: Values, at_data: bool) -> Array | None:
        """Variance of an observation around ``mean``, ``[m, k]`` or broadcast to it.

        None where it is not known, as for noise given per data point away from the data.
        """

    def gaussian_scale(self, values: Values) -> Array:
        """The noise standard deviation (scalar or ``[n]``) of an exactly Gaussian likelihood."""
        raise NotImplementedError(f"{type(self).__name__} is not Gaussian")

    def surrogate(self, y: Array) -> tuple[Array, Array] | None:
        """The Gaussian ``N(target; f, scale^2)`` in its place, ``(target [n, d], scale [n])``.

        None: one is fitted.
        """
        del y
        return None

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Settings as plain values, for reports and stored results."""
