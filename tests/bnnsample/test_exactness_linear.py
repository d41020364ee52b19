"""Fixed features: draws of ``run`` against Bayesian linear regression in closed form."""

import functools

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.integrate
import scipy.stats as st

import bnnsample
from bnnsample.coordinates import COORDINATES
from bnnsample.likelihoods import Gaussian
from bnnsample.results._ess import effective_sample_size, r_hat

N = 12
X = np.random.default_rng(0).normal(size=(N, 3))
X_NEW = np.random.default_rng(1).normal(size=(5, 3))
FREQUENCIES = np.random.default_rng(2).normal(size=(3, 40))
SIGMA = 0.4
PRIORS = {
    "half_normal": (dist.HalfNormal(0.8), st.halfnorm(scale=0.8)),
    # NumPyro has no quantile function for it: the chain's coordinate needs a correction.
    "weibull": (dist.Weibull(0.8, 2.5), st.weibull_min(2.5, scale=0.8)),
}
# One false alarm in a thousand runs of each test: 4 standard errors or a little more, by how
# many quantities it compares.
FAMILY_ERROR = 1e-3


def fixed_features(p):
    """``p - 1`` cosine features and the readout's bias: a model without hidden parameters."""

    def features(hidden, x):
        return jnp.cos(x @ jnp.asarray(FREQUENCIES[:, : p - 1], x.dtype))

    return bnnsample.models.from_functions(
        lambda key, x, width: {}, features, readout_weight_std=1.5, readout_bias_std=0.5
    )


def design(x, p):
    psi = np.cos(x @ FREQUENCIES[:, : p - 1]) * 1.5 / np.sqrt(p - 1)
    return np.hstack([psi, np.full((len(x), 1), 0.5)])


def targets(outputs):
    rng = np.random.default_rng(3)
    W = rng.normal(size=(2, outputs))
    return np.sin(X[:, :2]) @ W + SIGMA * rng.normal(size=(N, outputs))


def run(p, y, scale, coordinates, **options):
    return bnnsample.run(
        fixed_features(p),
        (X, y),
        width=1,
        likelihood=Gaussian(scale),
        coordinates=coordinates,
        x_eval=X_NEW,
        progress=False,
        **{"num_warmup": 300, "num_samples": 1000, "keep": "all", **options},
    )


def assert_moments(draws, mean, variance, label):
    """Mean and variance of ``draws [chain, draw, ...]`` within their Monte-Carlo errors."""
    threshold = st.norm.isf(FAMILY_ERROR / (4 * mean.size))
    assert np.nanmax(r_hat(draws)) < 1.02
    size = effective_sample_size(draws)
    squares = (draws - mean) ** 2
    for name, values, expected in (("mean", draws, mean), ("variance", squares, variance)):
        error = values.std(axis=(0, 1)) / np.sqrt(size)
        z = (values.mean(axis=(0, 1)) - expected) / error
        assert np.abs(z).max() < threshold, f"{name} of {label} is off by {np.abs(z).max():.1f}"


@pytest.mark.parametrize("p", [6, 25])
@pytest.mark.parametrize("coordinates", COORDINATES)
def test_known_noise(coordinates, p):
    y = targets(2)
    psi, psi_new = design(X, p), design(X_NEW, p)
    precision = np.eye(p) + psi.T @ psi / SIGMA**2
    mean = np.linalg.solve(precision, psi.T @ y / SIGMA**2)
    covariance = np.linalg.inv(precision)
    result = run(p, y, SIGMA, coordinates)
    both = (1, 2)
    f_variance = np.einsum("mp,pq,mq->m", psi_new, covariance, psi_new)
    posterior = result.idata.posterior
    assert_moments(posterior.f.values, psi_new @ mean, np.tile(f_variance[:, None], both), "f")
    W = result._record.kept.parameters["readout"]
    assert_moments(W, mean, np.tile(np.diag(covariance)[:, None], both), "W")
    # One projection for the correlations between the entries of W.
    direction = np.random.default_rng(5).normal(size=p) / np.sqrt(p)
    assert_moments(
        np.einsum("csp...,p->cs...", W, direction),
        direction @ mean,
        np.full(2, direction @ covariance @ direction),
        "projection",
    )
    # The mean given the features is exact, draw by draw.
    exact = np.broadcast_to(psi_new @ mean, posterior.f_mean.shape)
    np.testing.assert_allclose(posterior.f_mean.values, exact, rtol=1e-8)
    if coordinates == "collapsed":
        evidence = st.multivariate_normal(cov=psi @ psi.T + SIGMA**2 * np.eye(N)).logpdf(y.T).sum()
        np.testing.assert_allclose(result.idata.sample_stats.lp.values, evidence, rtol=1e-11)


@functools.cache
def noise_posterior(p, prior):
    """``p(sigma | y)`` by quadrature of the exact marginal likelihood times the prior."""
    psi, y = design(X, p), targets(1)
    spectrum, vectors = np.linalg.eigh(psi @ psi.T)
    squares = np.sum((vectors.T @ y) ** 2, axis=1)
    grid = np.exp(np.linspace(np.log(1e-4), np.log(20), 40001))
    variance = spectrum[None] + grid[:, None] ** 2
    log_density = -0.5 * np.sum(np.log(variance) + squares / variance, axis=1)
    log_density += PRIORS[prior][1].logpdf(grid)
    density = np.exp(log_density - log_density.max())
    cumulative = scipy.integrate.cumulative_trapezoid(density, grid, initial=0)
    return grid, density / cumulative[-1], cumulative / cumulative[-1]


NOISE_CASES = [(c, prior, p) for c in COORDINATES for prior in PRIORS for p in (6, 25)]
QUICK = [("collapsed", "half_normal", 6), *((c, "weibull", 25) for c in COORDINATES)]
SLOW = [pytest.param(*case, marks=pytest.mark.slow) for case in NOISE_CASES if case not in QUICK]


@pytest.mark.parametrize(("coordinates", "prior", "p"), [*QUICK, *SLOW])
def test_unknown_noise(coordinates, prior, p):
    grid, density, cumulative = noise_posterior(p, prior)
    options = {"num_samples": 2000, "keep": "none"}
    if coordinates == "collapsed":
        # The noise is the only unknown there, and infinite HMC would take single steps to a quarter
        # turn, which stay long in a tail that they seldom meet: the errors of so few draws are not
        # normal. Its own exactness is tested by simulation (``test_calibration``).
        options |= {"num_samples": 4000, "kernel": "elliptical_slice"}
    result = run(p, targets(1), PRIORS[prior][0], coordinates, **options)
    draws = result.idata.posterior.noise_scale.values
    mean = np.trapezoid(grid * density, grid)
    variance = np.trapezoid((grid - mean) ** 2 * density, grid)
    assert_moments(draws[..., None], np.array([mean]), np.array([variance]), "noise_scale")
    # The distribution: probabilities below its own quantiles, each with its own error.
    probabilities = np.array([0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98])
    below = (draws[..., None] <= np.interp(probabilities, cumulative, grid)).astype(float)
    error = np.sqrt(probabilities * (1 - probabilities) / effective_sample_size(below))
    z = (below.mean(axis=(0, 1)) - probabilities) / error
    assert np.abs(z).max() < st.norm.isf(FAMILY_ERROR / (2 * len(z)))
    # The function, the noise integrated out: the mixture over the quadrature's grid.
    psi, psi_new = design(X, p), design(X_NEW, p)
    weights = density * np.gradient(grid)
    keep = weights > 1e-9 * weights.max()
    means, variances = zip(*(closed_form(psi, psi_new, s) for s in grid[keep][::20]), strict=True)
    weights = weights[keep][::20] / weights[keep][::20].sum()
    f_mean = weights @ np.stack(means)
    f_variance = weights @ (np.stack(variances) + (np.stack(means) - f_mean) ** 2)
    assert_moments(result.idata.posterior.f.values[..., 0], f_mean, f_variance, "f")


def closed_form(psi, psi_new, sigma):
    M = psi @ psi.T + sigma**2 * np.eye(N)
    cross = psi_new @ psi.T
    mean = cross @ np.linalg.solve(M, targets(1)[:, 0])
    reduction = np.einsum("mn,nm->m", cross, np.linalg.solve(M, cross.T))
    return mean, np.sum(psi_new**2, axis=1) - reduction
