"""scikit-learn's own checks of the two estimators, each of which fits and compiles."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from bnnsample import likelihoods
from bnnsample.sklearn import BNNClassifier, BNNRegressor

# Kernels and coordinates that compile fast.
FAST = {
    "width": 8,
    "num_chains": 1,
    "coordinates": "standard",
    "kernel": "pcn",
    "random_state": 0,
}
REGRESSOR = BNNRegressor(likelihood=likelihoods.Gaussian(0.3), num_warmup=5, num_samples=10, **FAST)
CLASSIFIER = BNNClassifier(num_warmup=300, num_samples=30, **FAST)


@pytest.mark.slow
@parametrize_with_checks([REGRESSOR, CLASSIFIER])
def test_scikit_learn_checks(estimator, check):
    check(estimator)
