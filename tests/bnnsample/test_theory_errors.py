"""Standardised errors and the joint KL on made-up chains whose moments are known."""

import numpy as np
import pytest

from bnnsample.theory import gaussian_kl
from bnnsample.theory._joint import joint_kl
from bnnsample.theory._moments import Moments
from bnnsample.theory._points import compare_points

# Of the made-up function: the readout's share of a variance, and the hidden layers'.
WITHIN, BETWEEN = 0.3, 0.5


def chain(rng, shape, correlation):
    """Stationary draws ``[chain, draw, ...]`` of N(0, 1), autoregressive of order one."""
    z = rng.normal(size=shape)
    for t in range(1, shape[1]):
        z[:, t] = correlation * z[:, t - 1] + (1 - correlation**2) ** 0.5 * z[:, t]
    return z


def moments(rng, points=200, correlation=0.5, chains=4, draws=400):
    """Independent points with mean 1 and variance ``WITHIN + BETWEEN``."""
    mean = 1 + BETWEEN**0.5 * chain(rng, (chains, draws, points, 1), correlation)
    # One draw's variance around E[f | h] is noisy as well.
    variance = WITHIN * (1 + 0.3 * chain(rng, (chains, draws, points), correlation))
    return Moments(mean, variance, np.zeros((chains, draws, 1, 1)))


def limit(mean, variance, points=200):
    return Moments(
        np.full((1, 1, points, 1), mean),
        np.full((1, 1, points), variance),
        np.zeros((1, 1, 1, 1)),
    )


@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_standardised_errors_are_standard_normal(correlation):
    sampled = moments(np.random.default_rng(1), correlation=correlation)
    found = compare_points(sampled, limit(1.0, WITHIN + BETWEEN), 1e-8, np.ones(200))
    for errors in (found.mean_error, found.variance_error):
        # The mean square of 200 independent standard normals.
        assert abs(np.mean(errors**2) - 1) < 4 * (2 / 200) ** 0.5
        assert abs(errors.mean()) < 4 / 200**0.5
    noise = np.mean(found.wasserstein2**2) / np.mean(found.wasserstein2_noise**2)
    assert abs(noise - 1) < 4 * (2 / 200) ** 0.5


def test_a_shift_and_a_spread_are_found_in_their_units():
    sampled = moments(np.random.default_rng(2), correlation=0.0)
    theory = limit(0.0, 4 * (WITHIN + BETWEEN))
    found = compare_points(sampled, theory, 1e-8, np.ones(200))
    std = (WITHIN + BETWEEN) ** 0.5
    np.testing.assert_allclose(found.theory_std, 2 * std)
    assert abs(np.mean(found.sampled_mean - 1) / found.mean_standard_error.mean()) < 4 / 200**0.5
    # sqrt(1 + std^2), of a mean off by 1 and a standard deviation off by std.
    spread = found.wasserstein2_noise.max()
    np.testing.assert_allclose(found.wasserstein2, np.hypot(1, std), atol=5 * spread)
    assert (found.mean_error > 20).all()
    assert (found.variance_error < -20).all()


def test_what_never_changes_is_known_to_rounding():
    sampled = limit(1.0, 0.5, 3)._replace(
        mean=np.full((2, 10, 3, 1), 1.0), variance=np.full((2, 10, 3), 0.5)
    )
    same = compare_points(sampled, limit(1.0, 0.5, 3), 1e-8, np.zeros(3))
    assert all(np.isfinite(field).all() for field in same)
    assert not same.mean_error.any()
    other = compare_points(sampled, limit(1.1, 0.5, 3), 1e-8, np.ones(3))
    assert (np.abs(other.mean_error) > 1e6).all()
    assert (other.ess == 20).all()


def together(rng, draws=100, points=5, outputs=2, correlation=0.0):
    """Draws with cov E[f | h] = B and cov[f | h] around C, and the root of B."""
    a, b = np.random.default_rng(7).normal(size=(2, points, points))
    B, C = a @ a.T / points / 4, b @ b.T / points + 0.1 * np.eye(points)
    z = chain(rng, (4, draws, points, outputs), correlation)
    mean = 0.2 + np.einsum("ij,ctjo->ctio", np.linalg.cholesky(B), z)
    factor = 1 + 0.2 * chain(rng, (4, draws, 1, 1), correlation)
    return Moments(mean, None, C * factor), B + C


def fixed(mean, covariance, outputs=2):
    means = np.full((1, 1, len(covariance), outputs), mean)
    return Moments(means, None, covariance[None, None])


REPEATS = 40


@pytest.mark.parametrize("correlation", [0.0, 0.4])
def test_the_bias_of_a_kl_is_taken_off(correlation):
    found = []
    for seed in range(REPEATS):
        sampled, total = together(np.random.default_rng(seed), correlation=correlation)
        found.append(joint_kl(sampled, fixed(0.2, total)))
    values = np.array([kl.value for kl in found])
    error = values.std(ddof=1) / REPEATS**0.5
    assert abs(values.mean()) < 4 * error
    # It is the bias that makes this a test: without it the values lie far off.
    assert np.mean([kl.noise for kl in found]) > 10 * error
    # The standard error says how much they vary: to within a factor of two.
    assert 0.5 < np.mean([kl.standard_error for kl in found]) / values.std(ddof=1) < 2


@pytest.mark.parametrize("noise_variance", [0.0, 0.3])
def test_a_kl_that_is_there_is_found(noise_variance):
    errors = []
    for seed in range(REPEATS):
        sampled, total = together(np.random.default_rng(seed))
        theory = 1.5 * total
        eye = noise_variance * np.eye(5)
        expected = 2 * gaussian_kl(np.full(5, 0.2), total + eye, np.zeros(5), theory + eye)
        kl = joint_kl(sampled, fixed(0.0, theory), noise_variance)
        errors.append((kl.value - expected) / kl.standard_error)
    assert abs(np.mean(errors)) < 4 / REPEATS**0.5
    assert abs(np.mean(np.square(errors)) - 1) < 4 * (2 / REPEATS) ** 0.5


def test_too_few_draws_are_refused_in_words():
    sampled, total = together(np.random.default_rng(0), draws=4)
    kl = joint_kl(sampled, fixed(0.2, total))
    assert kl.value is None
    assert kl.standard_error is None
    assert "too few effective draws" in kl.reason


def test_a_singular_covariance_is_refused_in_words():
    sampled, _ = together(np.random.default_rng(0))
    kl = joint_kl(sampled, fixed(0.2, np.ones((5, 5))))
    assert kl.value is None
    assert "singular" in kl.reason


def test_the_theory_s_own_spread_is_in_the_error_of_a_kl():
    """A draw of the noise scale moves the theory too: both sides' means, and its covariance."""
    direction = np.linspace(-1, 1, 5)
    errors = []
    for seed in range(REPEATS):
        rng = np.random.default_rng(seed)
        sampled, total = together(rng)
        shared = rng.normal(size=(4, 100, 1, 1))
        moved = shared * direction[:, None]
        growth = 1 + 0.8 * shared
        theory = Moments(np.broadcast_to(moved, (4, 100, 5, 2)), None, 1.5 * total * growth)
        sampled = sampled._replace(mean=sampled.mean + moved)
        # Of the shared move the covariance is one and the same on both sides.
        also = np.outer(direction, direction)
        expected = 2 * gaussian_kl(np.full(5, 0.2), total + also, np.zeros(5), 1.5 * total + also)
        kl = joint_kl(sampled, theory)
        errors.append((kl.value - expected) / kl.standard_error)
    assert abs(np.mean(errors)) < 4 / REPEATS**0.5
    assert abs(np.mean(np.square(errors)) - 1) < 4 * (2 / REPEATS) ** 0.5
