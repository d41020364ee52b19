"""The scikit-learn estimators: parameters, fitting through ``run``, predictions, pickling."""

import copy
import importlib
import inspect
import pickle
import subprocess
import sys

import jax
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import bnnsample
from bnnsample import likelihoods, models
from bnnsample.sklearn import BNNClassifier, BNNRegressor, _base

# Kernels and coordinates that compile fast.
FAST = {
    "width": 8,
    "num_chains": 2,
    "num_warmup": 50,
    "num_samples": 25,
    "coordinates": "standard",
    "kernel": "pcn",
    "random_state": 0,
}
LONGER = {"num_warmup": 1000, "thin": 20}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 2))
Y = 50 + 10 * X[:, 0] + RNG.normal(size=30)
X_NEW = RNG.normal(size=(7, 2))
NAMES = np.array(["ox", "cat", "dog"])
LABELS = NAMES[np.digitize(X[:, 0], [-0.5, 0.5])]


@pytest.fixture(scope="module")
def regressor():
    frame = pd.DataFrame(X, columns=["a", "b"])
    return BNNRegressor(likelihood=likelihoods.Gaussian(0.3), **FAST).fit(frame, Y)


@pytest.fixture(scope="module")
def classifier():
    return BNNClassifier(**{**FAST, **LONGER}).fit(X, LABELS)


@pytest.fixture
def calls(monkeypatch):
    """The arguments of every call of ``run``, which does nothing."""
    recorded = []
    monkeypatch.setattr(_base, "run", lambda *args, **options: recorded.append((args, options)))
    return recorded


@pytest.mark.parametrize("kind", [BNNRegressor, BNNClassifier])
def test_parameters_are_those_of_run_stored_as_given(kind, calls):
    ours = set(inspect.signature(kind).parameters)
    theirs = set(inspect.signature(bnnsample.run).parameters)
    of_one_run = {"data", "seed", "x_eval", "init", "checkpoint_dir", "checkpoint_every"}
    assert ours == theirs - of_one_run | {"random_state"}
    family = likelihoods.Gaussian if kind is BNNRegressor else likelihoods.Bernoulli
    given = {
        "model": models.mlp(2, "relu"),
        "width": (3, 4),
        "likelihood": family(),
        "coordinates": "standard",
        "kernel": "pcn",
        "kernel_options": {"step_size": 0.1},
        "num_chains": 3,
        "num_warmup": 7,
        "num_samples": 11,
        "thin": 2,
        "keep": "all",
        "standardize": False,
        "temperature": 0.5,
        "tempering": "likelihood",
        "precision": "mixed",
        "devices": jax.make_mesh((1,), ("chains",)),
        "random_state": 5,
        "progress": True,
    }
    assert set(given) == ours
    estimator = kind().set_params(**given)
    assert all(estimator.get_params()[name] is value for name, value in given.items())
    assert clone(estimator).get_params(deep=False).keys() == given.keys()
    estimator.fit(X, (X[:, 0] > 0).astype(int))
    ((model, data), options) = calls[0]
    options.pop("likelihood")
    assert model is given.pop("model")
    assert options == {**{k: v for k, v in given.items() if k in options}, "seed": 5}
    np.testing.assert_array_equal(data[0], X)


def test_clone_keeps_the_model_and_its_compiled_programs():
    model = models.mlp(1, "tanh")
    assert clone(BNNRegressor(model)).model is model


def test_random_state(calls):
    for state in (3, np.random.RandomState(1), np.random.RandomState(1)):
        BNNRegressor(random_state=state).fit(X, Y)
    again = np.random.RandomState(1)
    for _ in range(2):
        BNNRegressor(random_state=again).fit(X, Y)
    seeds = [options["seed"] for _, options in calls]
    assert seeds[0] == 3
    assert seeds[1] == seeds[2] == seeds[3] != seeds[4]
    np.random.seed(0)
    BNNRegressor().fit(X, Y)
    np.random.seed(0)
    BNNRegressor().fit(X, Y)
    assert calls[-1][1]["seed"] == calls[-2][1]["seed"]


def test_dtype_follows_x_and_the_mode(calls):
    for x in (X, X.astype("float32"), (10 * X).astype(int)):
        BNNRegressor().fit(x, Y)
    with jax.enable_x64(False):
        BNNRegressor().fit(X, Y)
    assert [args[1][0].dtype.name for args, _ in calls] == [
        "float64",
        "float32",
        "float64",
        "float32",
    ]


def test_regressor_is_run(regressor):
    options = {**FAST, "seed": FAST["random_state"], "standardize": True, "progress": False}
    del options["random_state"]
    result = bnnsample.run(
        models.mlp(1, "gelu"), (X, Y), likelihood=likelihoods.Gaussian(0.3), **options
    )
    frame = pd.DataFrame(X_NEW, columns=["a", "b"])
    mean, std = regressor.predict(frame, return_std=True)
    assert mean.shape == std.shape == (7,)
    assert mean.dtype == np.float64
    np.testing.assert_array_equal(mean, result.predict(X_NEW).mean)
    np.testing.assert_array_equal(std, result.predict(X_NEW).predictive_std)
    np.testing.assert_array_equal(mean, regressor.predict(frame))
    assert list(regressor.feature_names_in_) == ["a", "b"]
    assert regressor.n_features_in_ == 2
    assert regressor.score(pd.DataFrame(X, columns=["a", "b"]), Y) > 0.8


def test_several_outputs_and_noise_that_is_not_known_elsewhere():
    targets = np.stack([Y, -Y], 1)
    noise = likelihoods.Gaussian(np.full(len(Y), 0.3))
    estimator = BNNRegressor(likelihood=noise, **FAST).fit(X, targets)
    assert estimator.predict(X_NEW).shape == (7, 2)
    assert estimator.score(X, targets) > 0.8
    with pytest.raises(ValueError, match="return_std needs the noise at new inputs"):
        estimator.predict(X_NEW, return_std=True)


def test_classifier_with_names(classifier):
    assert classifier.classes_.tolist() == ["cat", "dog", "ox"]
    assert classifier.result_.settings["likelihood"] == "Categorical"
    assert classifier.result_.idata.posterior.y_mean.output.values.tolist() == ["cat", "dog", "ox"]
    probabilities = classifier.predict_proba(X)
    assert probabilities.shape == (30, 3)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-12)
    np.testing.assert_array_equal(probabilities, classifier.result_.predict(X).mean)
    np.testing.assert_allclose(np.exp(classifier.predict_log_proba(X)), probabilities)
    far = np.array([[-2.0, 0.0], [0.0, 0.0], [2.0, 0.0]])
    assert classifier.predict(far).tolist() == ["ox", "cat", "dog"]
    assert classifier.score(X, LABELS) > 0.6


def test_two_classes_have_one_output():
    labels = X[:, 0] > 0
    estimator = BNNClassifier(**{**FAST, **LONGER}).fit(X, labels)
    assert estimator.result_.settings["likelihood"] == "Bernoulli"
    assert estimator.classes_.tolist() == [False, True]
    probabilities = estimator.predict_proba(np.array([[-2.0, 0.0], [2.0, 0.0]]))
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-12)
    assert probabilities.argmax(1).tolist() == [0, 1]
    predicted = estimator.predict(X)
    assert predicted.dtype == bool
    assert (predicted == labels).mean() == estimator.score(X, labels) > 0.8


@pytest.mark.parametrize(
    ("y", "likelihood", "classes", "outputs"),
    [
        (np.array([3.0, -1.0, 3.0]), None, [-1.0, 3.0], (-1, 3)),
        (np.array([5, 7, 6]), None, [5, 6, 7], (5, 6, 7)),
        (np.array(["b", "a", "b"], object), None, ["a", "b"], ("a", "b")),
        (np.array([1, 1, 1]), likelihoods.Categorical([2, 1, 0]), [0, 1, 2], (0, 1, 2)),
        (np.array(["b", "a", "b"]), likelihoods.Categorical(), ["a", "b"], ("a", "b")),
    ],
)
def test_labels(calls, y, likelihood, classes, outputs):
    estimator = BNNClassifier(likelihood=likelihood).fit(X[:3], y)
    assert estimator.classes_.tolist() == classes
    _, options = calls[0]
    assert options["likelihood"].classes == outputs
    assert options["likelihood"] is not likelihood
    (_, (_, labels)), _ = calls[0]
    assert list(labels) == y.tolist()


@pytest.mark.parametrize("name", ["regressor", "classifier"])
def test_a_fitted_estimator_is_pickled_and_copied(name, request):
    estimator = request.getfixturevalue(name)
    x = pd.DataFrame(X_NEW, columns=["a", "b"]) if name == "regressor" else X_NEW
    for other in (pickle.loads(pickle.dumps(estimator)), copy.deepcopy(estimator)):
        np.testing.assert_array_equal(other.predict(x), estimator.predict(x))
        assert other.result_.report() == estimator.result_.report()
    stored = pickle.dumps(estimator.result_)
    with jax.enable_x64(False):
        back = pickle.loads(stored)
    assert back.record.posterior.x.dtype == np.float64


def test_a_model_of_functions_is_pickled_by_its_functions():
    model = pickle.loads(pickle.dumps(models.from_functions(_init, _features)))
    assert model.init_hidden is _init
    with pytest.raises((AttributeError, pickle.PicklingError), match="lambda"):
        pickle.dumps(models.from_functions(lambda key, x, width: {}, _features))


def _init(key, x, width):
    return {}


def _features(h, x):
    return x


def test_cross_validation_of_a_pipeline():
    estimator = make_pipeline(StandardScaler(), BNNRegressor(**FAST))
    estimator.set_params(bnnregressor__likelihood=likelihoods.Gaussian(0.3))
    scores = cross_val_score(estimator, X, Y, cv=2)
    assert (scores > 0.5).all()


@pytest.mark.parametrize(
    ("estimator", "x", "y", "message"),
    [
        (BNNClassifier(), X, np.zeros(30), "at least two classes, got one class in y: 0.0"),
        (BNNClassifier(), X, Y, "Unknown label type"),
        (BNNClassifier(), X, LABELS[:-1], "inconsistent numbers of samples"),
        (BNNClassifier(likelihood=likelihoods.Gaussian()), X, LABELS, "must be Bernoulli"),
        (BNNClassifier(likelihood=likelihoods.Bernoulli()), X, LABELS, "needs two classes, got 3"),
        (
            BNNClassifier(likelihood=likelihoods.Categorical(["cat", "dog"])),
            X,
            LABELS,
            "has the label 'ox', which is not among the classes",
        ),
        (BNNRegressor(likelihood=likelihoods.Bernoulli()), X, Y, "BNNClassifier takes it"),
        (BNNRegressor(), np.where(X > 1, np.nan, X), Y, "X contains NaN"),
        (BNNRegressor(), X, np.where(Y > 60, np.nan, Y), "y contains NaN"),
        (BNNRegressor(num_chains=0), X, Y, "num_chains must be at least 1"),
        (BNNRegressor(kernel="metropolis"), X, Y, "kernel"),
        (BNNRegressor(random_state=-1), X, Y, "seed must lie between"),
    ],
)
def test_what_cannot_be_meant_is_refused(estimator, x, y, message):
    with pytest.raises(ValueError, match=message):
        estimator.fit(x, y)


def test_predictions_need_a_fit_and_the_same_features(regressor):
    with pytest.raises(NotFittedError):
        BNNRegressor().predict(X)
    for method in (BNNClassifier().predict, BNNClassifier().predict_proba):
        with pytest.raises(NotFittedError):
            method(X)
    with pytest.raises(ValueError, match="feature names"):
        regressor.predict(pd.DataFrame(X, columns=["b", "a"]))


def test_scikit_learn_is_optional(monkeypatch):
    program = "import sys, bnnsample; assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
    for name in [name for name in sys.modules if name.startswith("bnnsample.sklearn")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn.utils.validation", None)
    with pytest.raises(ImportError, match=r"scikit-learn 1.6 or later: pip install"):
        importlib.import_module("bnnsample.sklearn")
