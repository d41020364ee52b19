"""Regression with scikit-learn's interface."""

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin

from bnnsample.likelihoods import Bernoulli, Categorical
from bnnsample.sklearn._base import BNNEstimator


class BNNRegressor(RegressorMixin, BNNEstimator):
    """Regression by the posterior of a wide Bayesian neural network.

    Settings are stored as given and checked by ``fit``, which calls ``bnnsample.run`` with them.

    Args:
        model: a network from ``bnnsample.models``; default ``mlp(depth=1, activation="gelu")``.
        width: units of each hidden layer, an int or one per layer.
        likelihood: of ``bnnsample.likelihoods``; default ``Gaussian()``, noise of unknown
            standard deviation. Not one of labels.
        coordinates, kernel, kernel_options, num_chains, num_warmup, num_samples, thin,
            temperature, tempering, precision: as in ``bnnsample.run``.
        devices: None (all), or a ``jax.sharding.Mesh`` as for ``run`` (a list cannot be cloned); an
            estimator with one cannot be pickled.
        keep: whole parameter draws kept for ``predict``: ``"auto"`` or ``"all"``.
        standardize: standardise X and y for the sampler and undo it in every prediction; a
            likelihood's noise scale then is in units of y's standard deviation.
        random_state: an int is the seed of ``bnnsample.run``; a RandomState, or None for NumPy's
            own, draws one at every ``fit``.
        progress: True (a bar), False, or an object with ``start``, ``update`` and ``close``.

    Attributes:
        result_: the ``bnnsample.Result``: draws, diagnostics, ``report()``.
        n_features_in_: length of X's second axis.
        feature_names_in_: its names, where X has them.

    X ``[n, ...]`` keeps float32 and, in JAX's 64-bit mode, float64; outside that mode, float64
    becomes float32. Sample weights are not supported. A fitted estimator can be pickled where its
    model can: ``mlp``, ``cnn`` and ``resnet`` with a named activation always, ``from_functions``
    of functions that can, modules of Flax and Equinox by cloudpickle, which is what ``n_jobs`` of
    scikit-learn takes.
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any) -> "BNNRegressor":
        """Sample the posterior given ``X [n, ...]`` and ``y [n]`` or ``[n, d]``.

        Raises:
            TypeError, ValueError: an argument or setting that cannot be meant, before anything
                is compiled.
            FloatingPointError: no chain start with a finite potential was found.
        """
        X, y = self._validated(X, y, multi_output=True, y_numeric=True)
        if isinstance(self.likelihood, (Bernoulli, Categorical)):
            name = type(self.likelihood).__name__
            raise ValueError(
                f"likelihood {name}() is of labels; BNNClassifier takes it, BNNRegressor takes "
                "Gaussian() and others of numbers"
            )
        self.result_ = self._run(X, y, self.likelihood)
        return self

    def predict(
        self, X: Any, return_std: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Posterior predictive mean at ``X [m, ...]``: ``[m]`` or ``[m, d]``, as y was.

        Args:
            X: inputs.
            return_std: also return the standard deviation of a new observation, noise
                included, in the mean's shape. ``result_.predict(X).std`` is that of the noise-free
                function.

        Raises:
            sklearn.exceptions.NotFittedError: before ``fit``.
            ValueError: X has the wrong shape or is not finite; or ``return_std`` where the noise
                at new inputs is not known (a scale given per training point).
        """
        X = self._validated_inputs(X)
        prediction = self.result_.predict(X)
        if not return_std:
            return prediction.mean
        if prediction.predictive_std is None:
            raise ValueError(
                "return_std needs the noise at new inputs, which this likelihood does not tell: "
                "give Gaussian() one scale or a prior; result_.predict(X).std is that of "
                "the noise-free function"
            )
        return prediction.mean, prediction.predictive_std
