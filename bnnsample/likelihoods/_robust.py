"""Regression with heavy tails."""

import math
from typing import Any

import numpyro.distributions as dist
from jax import Array

from bnnsample._arguments import checked_number, shown
from bnnsample._scale import Scale
from bnnsample._unknowns import Unknown
from bnnsample.likelihoods._from_distribution import FromDistribution
from bnnsample.likelihoods._likelihood import Values


class StudentT(FromDistribution):
    """``y ~ f + scale * t_df``, independent over data and outputs: outliers pull less.

    Args:
        df: degrees of freedom, positive; the variance exists above 2, the mean above 1.
        scale: of the t distribution (not its standard deviation): a positive number, or a NumPyro
            prior of an unknown one, reported as ``noise_scale``. Default: half-normal of scale 1.
    """

    standardizes = True

    def __init__(self, df: float = 4.0, scale: Any = None):
        self.df = checked_number("df", df)
        if not (self.df > 0 and math.isfinite(self.df)):
            raise ValueError(f"df must be positive and finite, got {shown(df)}")
        self._scale = Scale(scale)

    @property
    def unknowns(self) -> dict[str, Unknown]:
        return self._scale.unknowns

    def distribution(self, f: Array, values: Values) -> dist.Distribution:
        return dist.StudentT(self.df, f, self._scale.value(values, f.dtype))

    def mean(self, f: Array, values: Values) -> Array | None:
        return f if self.df > 1 else None

    def variance(self, f: Array, values: Values, at_data: bool) -> Array | None:
        return super().variance(f, values, at_data) if self.df > 2 else None

    def describe(self) -> dict[str, Any]:
        return {"likelihood": "StudentT", "df": self.df, "scale": self._scale.describe()}


class Laplace(FromDistribution):
    """``p(y | f) = exp(-|y - f| / scale) / (2 scale)``, independent over data and outputs.

    Args:
        scale: the mean absolute deviation (the standard deviation is ``sqrt(2)`` times as large):
            a positive number, or a NumPyro prior of an unknown one, reported as ``noise_scale``.
            Default: half-normal of scale 1.
    """

    standardizes = True

    def __init__(self, scale: Any = None):
        self._scale = Scale(scale)

    @property
    def unknowns(self) -> dict[str, Unknown]:
        return self._scale.unknowns

    def distribution(self, f: Array, values: Values) -> dist.Distribution:
        return dist.Laplace(f, self._scale.value(values, f.dtype))

    def describe(self) -> dict[str, Any]:
        return {"likelihood": "Laplace", "scale": self._scale.describe()}
