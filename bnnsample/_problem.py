"""The data of a run: checked, of one dtype, standardised if asked for."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from bnnsample import _data
from bnnsample._arguments import shown
from bnnsample._standardize import Standardizer
from bnnsample.likelihoods import Gaussian, Likelihood


@dataclass(frozen=True)
class Problem:
    """Data in the user's units, and how the sampler sees them.

    Attributes:
        likelihood: completed by the targets (with its classes found, say).
        x: inputs ``[n, ...]``.
        y: targets ``[n, t]``.
        x_eval: evaluation inputs ``[m, ...]``.
        evaluates_x: the evaluation inputs are the training inputs.
        y_was_vector: the user gave ``y`` as ``[n]``.
        standardizer: from the user's units to the sampler's, and back.
    """

    likelihood: Likelihood
    x: np.ndarray
    y: np.ndarray
    x_eval: np.ndarray
    evaluates_x: bool
    y_was_vector: bool
    standardizer: Standardizer

    @property
    def dtype(self) -> np.dtype:
        return self.x.dtype

    def arrays(self) -> tuple[Array, Array, Array | None]:
        """``x``, ``y`` and, unless it is x, ``x_eval`` as the sampler sees them."""
        x, y = self.standardizer.inputs(self.x), self.standardizer.targets(self.y)
        evaluated = None if self.evaluates_x else self.standardizer.inputs(self.x_eval)
        return jnp.asarray(x), jnp.asarray(y), None if evaluated is None else jnp.asarray(evaluated)


def make_problem(
    data: Any,
    x_eval: Any,
    standardize: bool,
    likelihood: Likelihood | None,
    dtype: np.dtype | None = None,
) -> Problem:
    """The problem of ``run``'s arguments; errors name the argument that cannot be meant.

    ``dtype`` is the run's; None: that of x.
    """
    if not isinstance(standardize, (bool, np.bool_)):
        raise TypeError(f"standardize must be True or False, got {shown(standardize)}")
    likelihood = Gaussian() if likelihood is None else likelihood
    if not isinstance(likelihood, Likelihood):
        raise TypeError(f"likelihood must be a Likelihood, got {type(likelihood).__name__}")
    x_raw, y_raw = _data.as_pair(data)
    x = _data.as_inputs(x_raw)
    likelihood, y, y_was_vector = likelihood.prepared(y_raw, len(x))
    x_new = x if x_eval is None else _data.as_inputs(x_eval, "x_eval")
    if x_new.shape[1:] != x.shape[1:]:
        raise ValueError(
            f"x_eval must have the trailing shape of x, {x.shape[1:]}, got {x_new.shape[1:]}"
        )
    dtype = _data.common_dtype(x) if dtype is None else dtype
    x, y = _data.cast(x, dtype, "x"), _data.cast(y, dtype, "y")
    standardizer = Standardizer.identity(x, y)
    if standardize:
        standardizer = Standardizer.fit(x, y, targets=likelihood.standardizes)
    x_new = _data.cast(x_new, dtype, "x_eval")
    return Problem(likelihood, x, y, x_new, x_eval is None, y_was_vector, standardizer)
