"""Distances between Gaussians and between kernels, against integrals, sampling and definitions."""

import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from bnnsample.theory import (
    alignment,
    centred_alignment,
    gaussian_kl,
    gaussian_wasserstein2,
    relative_frobenius,
)

RNG = np.random.default_rng(0)


def covariance(m, seed):
    a = np.random.default_rng(seed).normal(size=(m, m + 2))
    return a @ a.T / m


@pytest.mark.parametrize(("m1", "s1", "m2", "s2"), [(0.3, 1.0, -0.4, 2.5), (1.0, 0.2, 1.0, 0.9)])
def test_wasserstein_is_the_distance_of_quantiles(m1, s1, m2, s2):
    first, second = scipy.stats.norm(m1, s1), scipy.stats.norm(m2, s2)
    squared, _ = scipy.integrate.quad(lambda u: (first.ppf(u) - second.ppf(u)) ** 2, 0, 1)
    assert gaussian_wasserstein2(m1, s1, m2, s2) == pytest.approx(squared**0.5, rel=1e-6)


def test_kl_is_the_mean_log_ratio():
    mean1, mean2 = RNG.normal(size=(2, 4))
    first = scipy.stats.multivariate_normal(mean1, covariance(4, 1))
    second = scipy.stats.multivariate_normal(mean2, covariance(4, 2))
    x = first.rvs(100_000, random_state=1)
    ratios = first.logpdf(x) - second.logpdf(x)
    found = gaussian_kl(mean1, first.cov, mean2, second.cov)
    assert abs(found - ratios.mean()) < 4 * ratios.std() / len(x) ** 0.5


def test_kl_is_the_formula_and_refuses_what_is_no_covariance():
    mean1, mean2 = RNG.normal(size=(2, 5))
    c1, c2 = covariance(5, 3), covariance(5, 4)
    inverse, gap = np.linalg.inv(c2), mean1 - mean2
    log_ratio = np.linalg.slogdet(c2)[1] - np.linalg.slogdet(c1)[1]
    expected = (np.trace(inverse @ c1) + gap @ inverse @ gap - 5 + log_ratio) / 2
    assert gaussian_kl(mean1, c1, mean2, c2) == pytest.approx(expected, rel=1e-10)
    assert gaussian_kl(mean1, c1, mean1, c1) == pytest.approx(0, abs=1e-12)
    with pytest.raises(np.linalg.LinAlgError):
        gaussian_kl(mean1, c1, mean2, np.ones((5, 5)) - 2 * np.eye(5))


def test_kernel_distances_are_their_definitions():
    a, b = covariance(6, 5), covariance(6, 6)
    H = np.eye(6) - np.full((6, 6), 1 / 6)

    def cosine(k1, k2):
        return np.trace(k1 @ k2) / np.sqrt(np.trace(k1 @ k1) * np.trace(k2 @ k2))

    expected = np.sqrt(np.sum((a - b) ** 2) / np.sum(b**2))
    assert relative_frobenius(a, b) == pytest.approx(expected)
    assert alignment(a, b) == pytest.approx(cosine(a, b))
    assert centred_alignment(a, b) == pytest.approx(cosine(H @ a @ H, H @ b @ H))


def test_alignment_is_blind_to_a_factor_and_centred_to_a_constant():
    a, b = covariance(6, 7), covariance(6, 8)
    assert alignment(3 * a, b) == pytest.approx(alignment(a, b))
    assert centred_alignment(3 * a + 5, b) == pytest.approx(centred_alignment(a, b))
    assert alignment(3 * a + 5, b) != pytest.approx(alignment(a, b), abs=1e-3)


def test_one_point_and_nothing_are_defined():
    one = np.array([[2.0]])
    assert centred_alignment(one, 3 * one) == 1
    assert relative_frobenius(0 * one, 0 * one) == 0
