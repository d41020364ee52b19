"""scikit-learn's own checks of the two estimators, each of which fits and compiles."""

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

from bnnsample import likelihoods
from bnnsample.sklearn import BNNClassifier, BNNRegressor

# Kernels and coordinates that compile fast; the width and the draws are those that scikit-learn's
# least scores on the training data take.
FAST = {"num_chains": 1, "coordinates": "standard", "kernel": "pcn", "random_state": 0}
REGRESSOR = BNNRegressor(
    likelihood=likelihoods.Gaussian(0.3), width=64, num_warmup=5, num_samples=10, **FAST
)
CLASSIFIER = BNNClassifier(width=8, num_warmup=300, num_samples=30, **FAST)
CHECKS = [
    pair for estimator in (REGRESSOR, CLASSIFIER) for pair in estimator_checks_generator(estimator)
]


def named(pair):
    """The same in every process: scikit-learn's own names hold the addresses of objects."""
    estimator, check = pair
    function = getattr(check, "func", check)
    options = [f"{name}={value}" for name, value in getattr(check, "keywords", {}).items()]
    return "-".join([type(estimator).__name__, function.__name__, *options])


@pytest.mark.slow
@pytest.mark.parametrize(("estimator", "check"), CHECKS, ids=map(named, CHECKS))
def test_scikit_learn_checks(estimator, check):
    check(estimator)
