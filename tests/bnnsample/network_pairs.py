"""Likelihoods and priors twice: ours, and by hand as a NumPyro model in the network's weights."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import scipy.stats as st
from flax import linen as nn

from bnnsample import likelihoods, models

N, WIDTH = 8, 3
RNG = np.random.default_rng(2)
X, X_NEW = RNG.normal(size=(N, 2)), 1.5 * RNG.normal(size=(5, 2))
REAL = np.sin(2 * X[:, 0]) + 0.3 * RNG.normal(size=N)
BIAS_STD, READOUT_BIAS_STD = 0.5, 0.1


class Case(NamedTuple):
    """A likelihood of ours, its targets, and ``family(f [n, d], **unknowns)`` for NumPyro."""

    ours: likelihoods.Likelihood
    y: np.ndarray
    family: Any
    unknowns: dict[str, Any]


def logistic(y, f, spread):
    z = (y - f) / spread
    return jnp.sum(-z - 2 * jnp.logaddexp(0, -z) - jnp.log(spread), axis=1)


def learned_noise(prior):
    def family(f, noise_scale):
        return dist.Normal(f[:, 0], noise_scale)

    return Case(likelihoods.Gaussian(prior), REAL, family, {"noise_scale": prior})


SPREAD = {"spread": dist.LogNormal(-1.0, 0.5)}
CASES = {
    "gaussian": Case(likelihoods.Gaussian(0.4), REAL, lambda f: dist.Normal(f[:, 0], 0.4), {}),
    "gaussian_half_normal": learned_noise(dist.HalfNormal(0.7)),
    "gaussian_log_normal": learned_noise(dist.LogNormal(-1.0, 0.6)),
    "gaussian_half_cauchy": learned_noise(dist.HalfCauchy(0.5)),
    "gaussian_exponential": learned_noise(dist.Exponential(2.0)),
    # Without a quantile map of ours: its density and a Jacobian enter the chain's target.
    "gaussian_gamma": learned_noise(dist.Gamma(2.0, 4.0)),
    "categorical": Case(
        likelihoods.Categorical(),
        np.array([0, 2, 1, 1, 0, 2, 2, 1]),
        lambda f: dist.Categorical(logits=f),
        {},
    ),
    "bernoulli": Case(
        likelihoods.Bernoulli(),
        np.array([0, 1, 1, 0, 0, 1, 1, 1]),
        lambda f: dist.Bernoulli(logits=f[:, 0]),
        {},
    ),
    "poisson": Case(
        likelihoods.Poisson(),
        np.array([0, 3, 1, 0, 2, 5, 1, 0]),
        lambda f: dist.Poisson(jnp.exp(f[:, 0])),
        {},
    ),
    "student_t": Case(
        likelihoods.StudentT(3.0, dist.Exponential(2.0)),
        REAL,
        lambda f, noise_scale: dist.StudentT(3.0, f[:, 0], noise_scale),
        {"noise_scale": dist.Exponential(2.0)},
    ),
    "laplace": Case(likelihoods.Laplace(0.4), REAL, lambda f: dist.Laplace(f[:, 0], 0.4), {}),
    "heteroscedastic": Case(
        likelihoods.HeteroscedasticGaussian(),
        REAL,
        lambda f: dist.Normal(f[:, 0], jnp.exp(f[:, 1])),
        {},
    ),
    "log_prob": Case(
        likelihoods.from_log_prob(logistic, unknowns=SPREAD),
        REAL,
        lambda f, spread: dist.Logistic(f[:, 0], spread),
        SPREAD,
    ),
}
EACH_STD = np.array([[0.4, 0.8, 1.2], [1.6, 0.6, 1.0]])
# Priors of the hidden layer's weights, beside N(0, BIAS_STD^2) biases: NumPyro's, and SciPy's.
PRIORS = {
    "normal": (dist.Normal(0.0, EACH_STD), st.norm(0.0, EACH_STD)),
    "laplace": (dist.Laplace(0.0, 0.7), st.laplace(0.0, 0.7)),
    "student_t": (dist.StudentT(3.0, 0.0, 0.7), st.t(3.0, 0.0, 0.7)),
    "cauchy": (dist.Cauchy(0.0, 0.5), st.cauchy(0.0, 0.5)),
    "log_normal": (dist.LogNormal(-0.3, 0.6), st.lognorm(0.6, scale=np.exp(-0.3))),
    "half_normal": (dist.HalfNormal(1.0), st.halfnorm(scale=1.0)),
}


class Net(nn.Module):
    outputs: int = 1

    @nn.compact
    def __call__(self, x):
        hidden = jnp.tanh(nn.Dense(WIDTH)(x))
        return nn.Dense(self.outputs)(hidden)


def outputs_of(name):
    likelihood, y, _ = CASES[name].ours.prepared(CASES[name].y, N)
    return likelihood.num_outputs(y)


def model_of(prior, outputs):
    """Ours, and its width; with weights N(0, 1) where ``prior`` is None."""
    if prior is None:
        # sqrt(2) / sqrt(fan-in of 2) is 1.
        return models.mlp(1, "tanh", weight_std=2.0**0.5, bias_std=BIAS_STD), WIDTH
    weights = EACH_STD if prior == "normal" else PRIORS[prior][0]
    priors = {"Dense_0": {"kernel": weights, "bias": BIAS_STD}}
    return models.from_flax(Net(outputs), priors), None


def by_hand(y, family, unknowns, prior, outputs):
    """The posterior for NumPyro; ``w [2, WIDTH]``, ``b`` and ``W`` are as in ``weights_of``."""
    normal = dist.Normal(0.0, 1.0)
    w = drawn_weights(prior)
    b = numpyro.sample("b", normal.expand([WIDTH]).to_event(1))
    W = numpyro.sample("W", normal.expand([WIDTH + 1, outputs]).to_event(2))
    values = {name: numpyro.sample(name, p) for name, p in unknowns.items()}

    def function(x):
        return jnp.tanh(x @ w + BIAS_STD * b) @ W[:-1] / WIDTH**0.5 + READOUT_BIAS_STD * W[-1]

    numpyro.deterministic("f", function(jnp.asarray(X_NEW)))
    numpyro.sample("y", family(function(jnp.asarray(X)), **values).to_event(1), obs=y)


def drawn_weights(prior):
    """``w [2, WIDTH]`` of the NumPyro model."""
    if prior == "cauchy":
        # NUTS does not come back from tails as heavy: by the tangent of a uniform angle.
        angles = dist.Uniform(-np.pi / 2, np.pi / 2).expand([2, WIDTH]).to_event(2)
        scale = PRIORS[prior][0].scale
        return numpyro.deterministic("w", scale * jnp.tan(numpyro.sample("angle", angles)))
    weights = dist.Normal(0.0, 1.0) if prior is None else PRIORS[prior][0]
    return numpyro.sample("w", weights.expand([2, WIDTH]).to_event(2))


def weights_of(parameters, prior):
    """``w``, ``b`` and ``W`` of our draws, the priors' quantile maps being SciPy's."""
    hidden = parameters["hidden"]
    (layer,) = hidden if prior is None else hidden.layers
    u = np.asarray(jax.tree.leaves({k: v for k, v in layer.items() if k != "bias"})[0])
    w = (
        u
        if prior is None
        else np.where(
            u < 0, PRIORS[prior][1].ppf(st.norm.cdf(u)), PRIORS[prior][1].isf(st.norm.sf(u))
        )
    )
    return {"w": w, "b": np.asarray(layer["bias"]), "W": np.asarray(parameters["readout"])}
