"""Estimators with scikit-learn's interface: ``BNNRegressor`` and ``BNNClassifier``.

scikit-learn 1.6 or later is an optional extra, ``pip install 'bnnsample[sklearn]'``; nothing else
of bnnsample imports it.
"""

try:
    import sklearn.utils.validation

    sklearn.utils.validation.validate_data  # noqa: B018
except (ImportError, AttributeError) as error:
    raise ImportError(
        "bnnsample.sklearn needs scikit-learn 1.6 or later: pip install 'bnnsample[sklearn]'"
    ) from error

from bnnsample.sklearn._classifier import BNNClassifier as BNNClassifier
from bnnsample.sklearn._regressor import BNNRegressor as BNNRegressor

__all__ = ["BNNClassifier", "BNNRegressor"]
