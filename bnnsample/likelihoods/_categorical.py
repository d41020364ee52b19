"""One of several classes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bnnsample.likelihoods._classes import as_labels, checked_classes, encoded
from bnnsample.likelihoods._likelihood import Likelihood, Values


class Categorical(Likelihood):
    """``p(y = k | f) = softmax(f)_k``: one output of the network per class.

    ``y [n]`` holds labels, strings or whole numbers. ``predict`` and ``y_mean`` give class
    probabilities, in the order of ``classes``.

    Args:
        classes: the labels, in the order of the outputs; default those found in y, sorted. Give
            them where the data may lack one.
    """

    def __init__(self, classes: Any = None):
        self.classes = checked_classes(classes)

    @property
    def output_names(self) -> list[str] | None:
        return None if self.classes is None else [str(label) for label in self.classes]

    def prepared(self, y: Any, num_points: int) -> tuple["Categorical", np.ndarray, bool]:
        classes, codes = encoded(as_labels(y, num_points), self.classes)
        return Categorical(classes), codes[:, None].astype(float), True

    def num_outputs(self, y: Any) -> int:
        assert self.classes is not None, "the likelihood is not prepared"
        return len(self.classes)

    def log_prob(self, y: Array, f: Array, values: Values) -> Array:
        # Not by indices: their gradient is a scatter, which XLA does not split into uneven rows.
        chosen = y == jnp.arange(f.shape[1], dtype=y.dtype)[None]
        return jnp.sum(jnp.where(chosen, jax.nn.log_softmax(f, axis=1), 0), axis=1)

    def sample(self, key: Array, f: Array, values: Values, at_data: bool) -> Array:
        return jax.random.categorical(key, f, axis=1)[:, None].astype(f.dtype)

    def mean(self, f: Array, values: Values) -> Array:
        return jax.nn.softmax(f, axis=1)

    def variance(self, f: Array, values: Values, at_data: bool) -> Array:
        p = self.mean(f, values)
        return p * (1 - p)

    def describe(self) -> dict[str, Any]:
        return {"likelihood": "Categorical", "classes": list(self.classes or ())}
