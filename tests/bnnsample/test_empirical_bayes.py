"""Scales of greatest marginal likelihood against SciPy's optimum of the closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.optimize
import scipy.stats as st

import bnnsample
from bnnsample import models
from bnnsample._empirical_bayes import NUM_NETWORKS, empirical_bayes
from bnnsample.likelihoods import Bernoulli, Gaussian
from ntk import infinite_kernel

N = 24
RNG = np.random.default_rng(3)
X = RNG.normal(size=(N, 2))
Y = (np.sin(2 * X[:, 0]) + 0.2 * RNG.normal(size=N))[:, None]
FIT = "empirical-bayes"


def fixed_features(readout_weight_std):
    return models.from_functions(
        lambda key, x, width: {},
        lambda h, x: jnp.concatenate([x, x**2, jnp.sin(2 * x)], axis=1),
        readout_weight_std=readout_weight_std,
        readout_bias_std=0.0,
    )


def evidence(kernel, noise):
    return st.multivariate_normal(cov=kernel + noise**2 * np.eye(N)).logpdf(Y[:, 0])


def test_linear_regression():
    """Two scales against SciPy, on fixed features whose kernel is known by hand."""
    phi = np.hstack([X, X**2, np.sin(2 * X)])

    def minus(logs):
        scale, noise = np.exp(logs)
        return -evidence(scale**2 * phi @ phi.T / phi.shape[1], noise)

    best = scipy.optimize.minimize(minus, np.zeros(2), method="Nelder-Mead", tol=1e-10)
    model, likelihood, fitted = empirical_bayes(
        fixed_features(FIT), Gaussian(FIT), None, jnp.asarray(X), jnp.asarray(Y), jax.random.key(0)
    )
    np.testing.assert_allclose(list(fitted.values()), np.exp(best.x), rtol=1e-3)
    assert not model.to_fit
    assert not likelihood.to_fit
    assert float(likelihood.gaussian_scale({})) == fitted["noise_scale"]
    np.testing.assert_allclose(model.readout_weight_std, fitted["readout_weight_std"])


def test_infinite_width():
    """A scale of a network at the maximum over a grid of the closed-form kernel's evidence."""
    model = models.mlp(2, "erf", weight_std=FIT)
    _, _, fitted = empirical_bayes(
        model, Gaussian(0.2), 8, jnp.asarray(X), jnp.asarray(Y), jax.random.key(0)
    )
    grid = fitted["weight_std"] * np.exp(np.array([-0.02, 0.0, 0.02]))
    values = [
        evidence(np.asarray(infinite_kernel(models.mlp(2, "erf", s))(X, get="nngp")), 0.2)
        for s in grid
    ]
    assert np.argmax(values) == 1
    # By the parabola through them, the maximum is no further than the optimiser's tolerance.
    a, b = (values[0] + values[2]) / 2 - values[1], (values[2] - values[0]) / 2
    assert abs(0.02 * b / (2 * a)) < 1e-3


def test_networks_without_a_closed_form():
    """The mean of finite kernels over fixed prior draws stands for the limit."""
    width = 40
    model = models.from_functions(
        lambda key, x, width: jax.random.normal(key, (x.shape[1], width), x.dtype),
        lambda h, x: jnp.tanh(x @ h),
        readout_weight_std=FIT,
    )
    key = jax.random.key(4)
    _, _, fitted = empirical_bayes(model, Gaussian(0.2), width, jnp.asarray(X), jnp.asarray(Y), key)
    phi = [
        np.tanh(X @ np.asarray(jax.random.normal(k, (2, width)))) / np.sqrt(width)
        for k in jax.random.split(key, NUM_NETWORKS)
    ]
    mean = np.mean([p @ p.T for p in phi], axis=0)
    best = scipy.optimize.minimize_scalar(
        lambda s: -evidence(np.exp(2 * s) * mean + 0.01, 0.2), bracket=(-1, 1), tol=1e-10
    )
    np.testing.assert_allclose(fitted["readout_weight_std"], np.exp(best.x), rtol=1e-3)


def test_priors_are_moved_along_and_stay():
    model = models.mlp(1, "erf", weight_std=FIT, bias_std=dist.HalfNormal(1.0))
    found, likelihood, fitted = empirical_bayes(
        model, Gaussian(), 8, jnp.asarray(X), jnp.asarray(Y), jax.random.key(0)
    )
    assert list(fitted) == ["weight_std"]
    assert list(found.unknowns) == ["bias_std"]
    assert list(likelihood.unknowns) == ["noise_scale"]


def test_a_run_holds_what_was_found():
    """Settings and report name it; nothing is sampled under its name; a stored run comes back."""
    result = bnnsample.run(
        models.mlp(1, "erf", readout_weight_std=FIT),
        (X, Y[:, 0]),
        width=8,
        likelihood=Gaussian(FIT),
        num_chains=2,
        num_warmup=20,
        num_samples=20,
        progress=False,
    )
    fitted = result.settings["fitted"]
    assert set(fitted) == {"readout_weight_std", "noise_scale"}
    assert not set(fitted) & set(result.record.draws)
    assert f"noise_scale {fitted['noise_scale']:.3g}" in result.report()
    assert result.settings["model"]["readout_weight_std"] == fitted["readout_weight_std"]


def test_refused_where_no_marginal_likelihood_is_known():
    with pytest.raises(ValueError, match=r"weight_std='empirical-bayes'.*Gaussian noise alone"):
        bnnsample.run(models.mlp(weight_std=FIT), (X, Y[:, 0] > 0), width=4, likelihood=Bernoulli())
    with pytest.raises(ValueError, match="known prior scales"):
        bnnsample.theory.evidence(models.mlp(weight_std=FIT), (X, Y), width=4)
