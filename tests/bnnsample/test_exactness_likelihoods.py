"""Every likelihood and every prior of weights: our coordinates and NumPyro's NUTS on one posterior.

The network is written twice: for us, and by hand as a NumPyro model in its own parameters, which
NUTS samples knowing nothing of ours. Functions and unknowns are compared, not weights, whose units
can be swapped.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import scipy.stats as st
from flax import linen as nn

import bnnsample
from bnnsample import likelihoods, models
from bnnsample.results import effective_sample_size, r_hat

N, WIDTH = 8, 3
RNG = np.random.default_rng(2)
X, X_NEW = RNG.normal(size=(N, 2)), 1.5 * RNG.normal(size=(5, 2))
REAL = np.sin(2 * X[:, 0]) + 0.3 * RNG.normal(size=N)
SAMPLES = 4000
FAMILY_ERROR = 1e-3
NORMAL = dist.Normal(0.0, 1.0)


def logistic(y, f, spread):
    z = (y - f) / spread
    return jnp.sum(-z - 2 * jnp.logaddexp(0, -z) - jnp.log(spread), axis=1)


# Ours, the targets, and the same as a function of outputs and unknowns for NumPyro.
SPREAD = {"spread": dist.LogNormal(-1.0, 0.5)}
CASES = {
    "gaussian": (likelihoods.Gaussian(0.4), REAL, lambda f: dist.Normal(f[:, 0], 0.4), {}),
    "gaussian_half_cauchy": (
        likelihoods.Gaussian(dist.HalfCauchy(0.5)),
        REAL,
        lambda f, noise_scale: dist.Normal(f[:, 0], noise_scale),
        {"noise_scale": dist.HalfCauchy(0.5)},
    ),
    "gaussian_gamma": (
        likelihoods.Gaussian(dist.Gamma(2.0, 4.0)),
        REAL,
        lambda f, noise_scale: dist.Normal(f[:, 0], noise_scale),
        {"noise_scale": dist.Gamma(2.0, 4.0)},
    ),
    "categorical": (
        likelihoods.Categorical(),
        np.array([0, 2, 1, 1, 0, 2, 2, 1]),
        lambda f: dist.Categorical(logits=f),
        {},
    ),
    "bernoulli": (
        likelihoods.Bernoulli(),
        np.array([0, 1, 1, 0, 0, 1, 1, 1]),
        lambda f: dist.Bernoulli(logits=f[:, 0]),
        {},
    ),
    "poisson": (
        likelihoods.Poisson(),
        np.array([0, 3, 1, 0, 2, 5, 1, 0]),
        lambda f: dist.Poisson(jnp.exp(f[:, 0])),
        {},
    ),
    "student_t": (
        likelihoods.StudentT(3.0, dist.Exponential(2.0)),
        REAL,
        lambda f, noise_scale: dist.StudentT(3.0, f[:, 0], noise_scale),
        {"noise_scale": dist.Exponential(2.0)},
    ),
    "laplace": (likelihoods.Laplace(0.4), REAL, lambda f: dist.Laplace(f[:, 0], 0.4), {}),
    "heteroscedastic": (
        likelihoods.HeteroscedasticGaussian(),
        REAL,
        lambda f: dist.Normal(f[:, 0], jnp.exp(f[:, 1])),
        {},
    ),
    "log_prob": (
        likelihoods.from_log_prob(logistic, unknowns=SPREAD),
        REAL,
        lambda f, spread: dist.Logistic(f[:, 0], spread),
        SPREAD,
    ),
}
# Priors of the weights of the hidden layer, beside N(0, 0.5^2) biases.
PRIORS = {
    "laplace": dist.Laplace(0.0, 0.7),
    "student_t": dist.StudentT(3.0, 0.0, 0.7),
    "cauchy": dist.Cauchy(0.0, 0.5),
    "log_normal": dist.LogNormal(-0.3, 0.6),
    "half_normal": dist.HalfNormal(1.0),
}


class Net(nn.Module):
    outputs: int = 1

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.outputs)(jnp.tanh(nn.Dense(WIDTH)(x)))


def model_of(prior, outputs):
    if prior is None:
        return models.mlp(1, "tanh", weight_std=2.0**0.5, bias_std=0.5)
    return models.from_flax(
        Net(outputs), lambda path, shape: PRIORS[prior] if path.endswith("kernel") else 0.5
    )


def by_hand(y, family, unknowns, prior, outputs):
    weights = dist.Normal(0.0, 1.0) if prior is None else PRIORS[prior]
    w = numpyro.sample("w", weights.expand([2, WIDTH]).to_event(2))
    b = numpyro.sample("b", NORMAL.expand([WIDTH]).to_event(1))
    W = numpyro.sample("W", NORMAL.expand([WIDTH + 1, outputs]).to_event(2))
    values = {name: numpyro.sample(name, p) for name, p in unknowns.items()}

    def function(x):
        # sqrt(2) / sqrt(fan-in of 2) is 1.
        return jnp.tanh(x @ w + 0.5 * b) @ W[:-1] / WIDTH**0.5 + 0.1 * W[-1]

    numpyro.deterministic("f", function(jnp.asarray(X_NEW)))
    numpyro.sample("y", family(function(jnp.asarray(X)), **values).to_event(1), obs=y)


def outputs_of(name):
    likelihood, y, _, _ = CASES[name]
    likelihood, y, _ = likelihood.prepared(y, N)
    return likelihood.num_outputs(y)


@functools.cache
def reference(name, prior):
    """A long run of NUTS in the network's own parameters."""
    _, y, family, unknowns = CASES[name]
    mcmc = numpyro.infer.MCMC(
        numpyro.infer.NUTS(by_hand, target_accept_prob=0.95),
        num_warmup=1500,
        num_samples=SAMPLES,
        num_chains=4,
        chain_method="sequential",
        progress_bar=False,
    )
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        mcmc.run(jax.random.key(1), jnp.asarray(y), family, unknowns, prior, outputs_of(name))
    draws = mcmc.get_samples(group_by_chain=True)
    return {k: np.asarray(draws[k]) for k in ("f", *unknowns)}


def moments(draws):
    """Means of q and of (q - centre)^2 with Monte-Carlo standard errors, for bounded functions.

    Functions have heavy tails under some of these priors; their arctangents have all moments.
    """
    q = np.arctan(draws.reshape(*draws.shape[:2], -1))
    assert np.nanmax(r_hat(q)) < 1.02
    values = np.concatenate([q, q**2], axis=-1)
    size = np.minimum(effective_sample_size(values), np.tile(effective_sample_size(q), 2))
    return values.mean(axis=(0, 1)), values.std(axis=(0, 1)) / np.sqrt(size)


def assert_agree(name, prior, coordinates):
    likelihood, y, _, _ = CASES[name]
    result = bnnsample.run(
        model_of(prior, outputs_of(name)),
        (X, y),
        width=WIDTH,
        likelihood=likelihood,
        coordinates=coordinates,
        num_warmup=1000,
        num_samples=SAMPLES,
        thin=4 if coordinates == "standard" else 2,
        x_eval=X_NEW,
        keep="none",
        progress=False,
    )
    z = []
    for quantity, expected in reference(name, prior).items():
        (a, error_a), (b, error_b) = moments(result.record.draws[quantity]), moments(expected)
        z.extend((a - b) / np.hypot(error_a, error_b))
    assert np.abs(z).max() < st.norm.isf(FAMILY_ERROR / (2 * len(z))), z


COORDINATES = [
    (name, coordinates)
    for name in CASES
    for coordinates in ("standard", "repriorised", "collapsed")
    if coordinates != "collapsed" or name.startswith("gaussian")
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "coordinates"), COORDINATES)
def test_likelihoods_agree_with_numpyro(name, coordinates):
    assert_agree(name, None, coordinates)


@pytest.mark.slow
@pytest.mark.parametrize("coordinates", ["standard", "repriorised", "collapsed"])
@pytest.mark.parametrize("prior", PRIORS)
def test_priors_of_weights_agree_with_numpyro(prior, coordinates):
    assert_agree("gaussian", prior, coordinates)
