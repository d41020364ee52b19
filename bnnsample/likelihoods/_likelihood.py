"""What kernels, coordinates and results need to know of a likelihood."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from jax import Array

from bnnsample._unknowns import Unknown

Values = Mapping[str, Array]


class Likelihood(ABC):
    """``p(y | f, values)`` for targets ``y [n, d]`` and noise-free outputs ``f [n, d]``.

    ``values`` are the unknowns' current values by name. A new likelihood implements the
    methods below; coordinates, kernels, chains and results need no change.
    """

    @property
    @abstractmethod
    def unknowns(self) -> Mapping[str, Unknown]:
        """The unknown quantities sampled with the network, by the name they are reported under."""

    @abstractmethod
    def check(self, y: Any) -> None:
        """Raise ``ValueError`` where the targets ``y [n, d]`` and the likelihood do not fit."""

    @abstractmethod
    def log_prob(self, y: Array, f: Array, values: Values) -> Array:
        """Log density of each observation ``[n]``, summed over its outputs."""

    @abstractmethod
    def sample(self, key: Array, f: Array, values: Values, at_data: bool) -> Array | None:
        """A draw of targets at outputs ``f [m, d]``; None where the noise there is not known.

        ``at_data``: the outputs are those of the training inputs, in their order.
        """

    @abstractmethod
    def noise_variance(self, values: Values, at_data: bool) -> Array | None:
        """Variance of an observation around ``f``, a scalar or one per point.

        ``None`` where it is not known: unless the points are the training inputs (``at_data``)
        when the noise is given per data point.
        """

    @abstractmethod
    def gaussian_scale(self, values: Values) -> Array | None:
        """The noise standard deviation (scalar or ``[n]``) of an exactly Gaussian likelihood.

        ``None`` when the likelihood is not Gaussian: the readout then has no closed form and
        the ``"repriorised"`` and ``"collapsed"`` coordinates need a Gaussian surrogate.
        """

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Settings as plain values, for reports and stored results."""
