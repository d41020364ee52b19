"""One of two classes, or several yes-or-no targets."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bnnsample import _data
from bnnsample.likelihoods._classes import as_labels, checked_classes, encoded
from bnnsample.likelihoods._likelihood import Likelihood, Values


class Bernoulli(Likelihood):
    """``p(y = 1 | f) = 1 / (1 + exp(-f))``: one output of the network per target.

    ``y [n]`` holds two labels, strings or whole numbers, of which the second is the 1; or
    ``y [n, t]`` zeros and ones, independent given ``f``. ``predict`` and ``y_mean`` give the
    probability of the second label.

    Args:
        classes: the two labels; default those found in y, sorted.
    """

    def __init__(self, classes: Any = None):
        self.classes = checked_classes(classes)
        if self.classes is not None and len(self.classes) != 2:
            raise ValueError(
                f"Bernoulli() needs two classes, got {len(self.classes)} in classes: "
                f"{list(self.classes)}; Categorical() takes more"
            )

    @property
    def output_names(self) -> list[str] | None:
        return None if self.classes is None else [str(self.classes[1])]

    def prepared(self, y: Any, num_points: int) -> tuple["Bernoulli", np.ndarray, bool]:
        if _has_columns(y):
            if self.classes is not None:
                raise ValueError(
                    "classes name the labels of y [n]; for y [n, t] give zeros and ones"
                )
            array, _ = _data.as_targets(y, num_points)
            if not np.isin(array, (0, 1)).all():
                bad = array[~np.isin(array, (0, 1))].flat[0]
                raise ValueError(f"y [n, t] must hold zeros and ones for Bernoulli(), got {bad:g}")
            return self, array, False
        labels = as_labels(y, num_points)
        known = self.classes
        if known is None and set(labels.tolist()) <= {0, 1}:
            known = (0, 1)
        classes, codes = encoded(labels, known)
        if len(classes) != 2:
            raise ValueError(
                f"Bernoulli() needs two classes, got {len(classes)} in y: {list(classes)}; "
                "Categorical() takes more"
            )
        return Bernoulli(classes), codes[:, None].astype(float), np.ndim(y) == 1

    def log_prob(self, y: Array, f: Array, values: Values) -> Array:
        return jnp.sum(jax.nn.log_sigmoid(jnp.where(y > 0.5, f, -f)), axis=1)

    def sample(self, key: Array, f: Array, values: Values, at_data: bool) -> Array:
        return jax.random.bernoulli(key, self.mean(f, values)).astype(f.dtype)

    def mean(self, f: Array, values: Values) -> Array:
        return jax.nn.sigmoid(f)

    def variance(self, f: Array, values: Values, at_data: bool) -> Array:
        return jax.nn.sigmoid(f) * jax.nn.sigmoid(-f)

    def describe(self) -> dict[str, Any]:
        return {"likelihood": "Bernoulli", "classes": list(self.classes or ())}


def _has_columns(y: Any) -> bool:
    try:
        return np.ndim(y) == 2 and np.shape(y)[1] > 1
    except ValueError:
        # Rows of several lengths: ``as_labels`` refuses them.
        return False
