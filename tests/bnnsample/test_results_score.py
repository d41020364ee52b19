"""Scores, quantiles and calibration of predictions against direct computations."""

import functools

import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats as st
from scipy.special import logsumexp

import bnnsample
from bnnsample import likelihoods, models
from bnnsample.results._score import calibration_error

RNG = np.random.default_rng(0)
X, X_NEW = RNG.normal(size=(12, 2)), RNG.normal(size=(30, 2))
Y = 3 + 2 * np.tanh(X[:, 0]) + 0.3 * RNG.normal(size=12)
Y_NEW = 3 + 2 * np.tanh(X_NEW[:, 0]) + 0.3 * RNG.normal(size=30)
LABELS = np.where(X[:, 0] + 0.3 * X[:, 1] > 0, "up", "down")
LABELS_NEW = np.where(X_NEW[:, 0] > 0, "up", "down")
MODEL = models.mlp(1, "tanh", readout_weight_std=2.0)


def run(y, likelihood, **options):
    return bnnsample.run(
        MODEL,
        (X, y),
        width=8,
        likelihood=likelihood,
        num_warmup=150,
        num_samples=300,
        progress=False,
        **options,
    )


def test_gaussian_score_is_the_mixture_over_draws():
    """With the noise known and standardised targets; the readout integrated out by hand."""
    result = run(Y, likelihoods.Gaussian(0.2), standardize=True)
    found = result.score(X_NEW, Y_NEW)
    # The same from draws of f: many readouts for every h would be the integral.
    draws = result.predict(X_NEW, return_draws=True).draws
    noise = 0.2 * Y.std()
    density = st.norm(draws, noise).logpdf(Y_NEW)
    terms = logsumexp(density, axis=0) - np.log(len(density))
    # Weights of a mean of densities over correlated draws: good to a few per cent.
    weights = np.exp(density - density.max(axis=0))
    error = weights.std(axis=0) / weights.mean(axis=0) / np.sqrt(len(density) / 10)
    assert abs(found["lppd"] - terms.sum()) < 4 * np.sqrt((error**2).sum())
    assert found["nll"] == pytest.approx(-found["lppd"] / 30)
    mean = result.predict(X_NEW).mean
    assert found["rmse"] == pytest.approx(np.sqrt(np.mean((mean - Y_NEW) ** 2)), rel=1e-6)
    assert 0.6 < found["coverage_90"] <= 1
    assert found["coverage_50"] <= found["coverage_90"]


def test_score_of_classes():
    result = run(LABELS, likelihoods.Categorical())
    found = result.score(X_NEW, LABELS_NEW)
    p = result.predict(X_NEW, return_draws=True).draws
    code = (LABELS_NEW == "up").astype(int)
    chosen = p[:, np.arange(30), code]
    assert found["lppd"] == pytest.approx(np.log(chosen.mean(axis=0)).sum(), rel=1e-9)
    mean = p.mean(axis=0)
    assert found["accuracy"] == np.mean(mean.argmax(axis=1) == code)
    assert found["brier"] == pytest.approx(np.mean(2 * (1 - mean[np.arange(30), code]) ** 2))
    assert found["accuracy"] > 0.7
    with pytest.raises(ValueError, match=r"'left'.*classes"):
        result.score(X_NEW[:2], ["up", "left"])


def test_two_classes_score_alike_either_way():
    """Bernoulli gives one probability, and the same numbers are made of it."""
    result = run(LABELS, likelihoods.Bernoulli())
    found = result.score(X_NEW, LABELS_NEW)
    p = result.predict(X_NEW).mean
    code = LABELS_NEW == "up"
    assert found["accuracy"] == np.mean((p > 0.5) == code)
    assert found["brier"] == pytest.approx(np.mean(2 * (p - code) ** 2), rel=1e-6)
    assert found["lppd"] == pytest.approx(np.log(np.where(code, p, 1 - p)).sum(), rel=1e-6)


@pytest.mark.slow
def test_quantiles_of_a_student_t():
    result = run(Y, likelihoods.StudentT(4.0, 0.3), standardize=True)
    got = result.quantiles(X_NEW, [0.1, 0.5, 0.9])
    assert got.shape == (3, 30)
    assert (np.diff(got, axis=0) > 0).all()
    # The mixture's distribution function at the quantiles found.
    f = result.predict(X_NEW, return_draws=True).draws
    level = st.t(4, f[None], 0.3 * Y.std()).cdf(got[:, None]).mean(axis=1)
    error = np.sqrt(0.25 / (len(f) / 4))
    np.testing.assert_allclose(
        level, np.broadcast_to([[0.1], [0.5], [0.9]], (3, 30)), atol=4 * error
    )
    assert result.quantiles(X_NEW[:2], 0.5).shape == (2,)


def test_quantiles_are_refused():
    result = run(LABELS, likelihoods.Categorical())
    with pytest.raises(ValueError, match="probabilities of classes"):
        result.quantiles(X_NEW)
    own = likelihoods.from_log_prob(lambda y, f: -((y - f) ** 2).sum(1))
    result = run(Y, own)
    with pytest.raises(ValueError, match="sample="):
        result.quantiles(X_NEW)
    with pytest.raises(ValueError, match="between 0 and 1"):
        result.quantiles(X_NEW, 1.5)


@functools.cache
def _unknown_noise():
    return run(Y, likelihoods.Gaussian(dist.HalfNormal(1.0)))


@pytest.mark.parametrize("y", [Y_NEW[:3], np.full(30, np.nan), np.ones((30, 2))])
def test_targets_that_do_not_fit_are_refused(y):
    with pytest.raises(ValueError, match="y "):
        _unknown_noise().score(X_NEW, y)


def test_calibration_error():
    """Ten of confidence .8 of which 6 are right, ten of .55 of which 5 are: (.2 + .05) / 2."""
    confidence = np.repeat([0.8, 0.55], 10)
    correct = np.r_[np.ones(6), np.zeros(4), np.ones(5), np.zeros(5)].astype(bool)
    assert calibration_error(confidence, correct) == pytest.approx(0.125)
    assert calibration_error(np.ones(4), np.ones(4, bool)) == 0
