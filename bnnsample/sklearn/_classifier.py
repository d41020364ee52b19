"""Classification with scikit-learn's interface."""

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets

from bnnsample.likelihoods import Bernoulli, Categorical
from bnnsample.sklearn._base import BNNEstimator


class BNNClassifier(ClassifierMixin, BNNEstimator):
    """Classification by the posterior of a wide Bayesian neural network.

    Settings are stored as given and checked by ``fit``, which calls ``bnnsample.run`` with them;
    they are those of ``BNNRegressor`` but for the likelihood, and the same holds of dtypes,
    sample weights and pickling.

    Args:
        likelihood: ``Bernoulli`` (one output of the network) or ``Categorical`` (one per class);
            default ``Bernoulli()`` for two classes and ``Categorical()`` for more. Give it
            ``classes`` where y may lack one, which is then predicted all the same.
        standardize: standardise X for the sampler.

    Attributes:
        result_: the ``bnnsample.Result``: draws, diagnostics, ``report()``.
        classes_: the labels, sorted: those in y, or the likelihood's.
        n_features_in_: length of X's second axis.
        feature_names_in_: its names, where X has them.
    """

    def fit(self, X: Any, y: Any) -> "BNNClassifier":
        """Sample the posterior given ``X [n, ...]`` and labels ``y [n]``.

        Labels are strings, whole numbers or booleans.

        Raises:
            TypeError, ValueError: an argument or setting that cannot be meant, such as fewer than
                two classes, before anything is compiled.
            FloatingPointError: no chain start with a finite potential was found.
        """
        X, y = self._validated(X, y)
        check_classification_targets(y)
        classes, codes = np.unique(y, return_inverse=True)
        likelihood = self._likelihood(classes)
        labels = classes.tolist()
        if len(classes) < 2 and likelihood.classes is None:
            raise ValueError(
                f"BNNClassifier needs at least two classes, got one class in y: {labels[0]!r}"
            )
        if likelihood.classes is None:
            likelihood = type(likelihood)(labels)
        else:
            likelihood = type(likelihood)(sorted(likelihood.classes))
            classes = np.asarray(likelihood.classes)
        self.classes_ = classes
        self.result_ = self._run(X, [labels[code] for code in codes], likelihood)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The most probable label at each of ``X [m, ...]``, ``[m]``."""
        most_probable = self.predict_proba(X).argmax(axis=1)
        return self.classes_[most_probable]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Posterior predictive probabilities ``[m, classes]``, in the order of ``classes_``.

        Raises:
            sklearn.exceptions.NotFittedError: before ``fit``.
            ValueError: X has the wrong shape or is not finite.
        """
        X = self._validated_inputs(X)
        mean = self.result_.predict(X).mean
        return mean if mean.ndim == 2 else np.stack([1 - mean, mean], axis=1)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithm of ``predict_proba``; minus infinity where that rounds to 0."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def _likelihood(self, classes: np.ndarray) -> Bernoulli | Categorical:
        likelihood = self.likelihood
        if likelihood is None:
            return Bernoulli() if len(classes) == 2 else Categorical()
        if not isinstance(likelihood, (Bernoulli, Categorical)):
            raise ValueError(
                "likelihood of BNNClassifier must be Bernoulli() or Categorical(), got "
                f"{type(likelihood).__name__}"
            )
        return likelihood
