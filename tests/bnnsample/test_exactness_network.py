"""One small network, many samplers: every way to draw from its posterior agrees with NumPyro."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import scipy.stats as st

import bnnsample
from bnnsample.kernels._registry import KERNELS
from bnnsample.likelihoods import Gaussian
from bnnsample.results._ess import effective_sample_size, r_hat

N, WIDTH = 20, 8
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 2))
Y = np.stack([np.sin(X[:, 0]), X[:, 0] * X[:, 1] / 2], axis=1) + 0.3 * RNG.normal(size=(N, 2))
X_EVAL = 1.5 * RNG.normal(size=(10, 2))
NOISE = {"known": Gaussian(0.3), "unknown": Gaussian(dist.HalfNormal(1.0))}
SAMPLES = 4000
FAMILY_ERROR = 1e-3


def network(y, noise):
    """The network of ``models.mlp(1, "tanh")`` written by hand."""
    w = numpyro.sample("w", dist.Normal(0, 1).expand([2, WIDTH]).to_event(2))
    b = numpyro.sample("b", dist.Normal(0, 1).expand([WIDTH]).to_event(1))
    W = numpyro.sample("W", dist.Normal(0, 1).expand([WIDTH + 1, y.shape[1]]).to_event(2))
    sigma = 0.3 if noise == "known" else numpyro.sample("noise_scale", dist.HalfNormal(1.0))

    def function(x):
        hidden = jnp.tanh(2**0.5 / 2**0.5 * x @ w + 0.1 * b) / WIDTH**0.5
        return hidden @ W[:-1] + 0.1 * W[-1]

    numpyro.deterministic("f", function(X_EVAL))
    numpyro.sample("y", dist.Normal(function(X), sigma).to_event(2), obs=y)


@functools.cache
def reference(noise, outputs):
    """``f`` and the noise scale of a long run of NumPyro's NUTS."""
    mcmc = numpyro.infer.MCMC(
        numpyro.infer.NUTS(network, target_accept_prob=0.9),
        num_warmup=1000,
        num_samples=SAMPLES,
        num_chains=4,
        chain_method="sequential",
        progress_bar=False,
    )
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        mcmc.run(jax.random.key(1), Y[:, :outputs], noise)
    draws = {k: np.asarray(v) for k, v in mcmc.get_samples(group_by_chain=True).items()}
    return {name: draws[name] for name in ("f", "noise_scale") if name in draws}


def draws_of(noise, outputs=1, samples=SAMPLES, **options):
    result = bnnsample.run(
        bnnsample.models.mlp(1, "tanh"),
        (X, Y[:, :outputs]),
        width=WIDTH,
        likelihood=NOISE[noise],
        num_warmup=1000,
        num_samples=samples,
        x_eval=X_EVAL,
        keep="none",
        progress=False,
        **options,
    )
    names = ["f", "noise_scale"] if noise == "unknown" else ["f"]
    return {name: result.idata.posterior[name].values for name in names}


def moments(draws):
    """Mean and variance of every quantity, and their Monte-Carlo standard errors."""
    q = draws.reshape(*draws.shape[:2], -1)
    assert np.nanmax(r_hat(q)) < 1.02
    assert np.min(effective_sample_size(q)) > 300
    squares = (q - q.mean(axis=(0, 1))) ** 2
    error = [v.std(axis=(0, 1)) / np.sqrt(effective_sample_size(q)) for v in (q, squares)]
    return np.concatenate([q.mean(axis=(0, 1)), squares.mean(axis=(0, 1))]), np.concatenate(error)


def assert_agree(draws, noise, outputs=1):
    expected = reference(noise, outputs)
    z = []
    for name, values in draws.items():
        (a, error_a), (b, error_b) = moments(values), moments(expected[name])
        z.extend((a - b) / np.hypot(error_a, error_b))
    assert np.abs(z).max() < st.norm.isf(FAMILY_ERROR / (2 * len(z)))


CASES = [
    pytest.param("collapsed", "unknown", marks=pytest.mark.slow),
    pytest.param("standard", "known", marks=pytest.mark.slow),
    pytest.param("repriorised", "known", marks=pytest.mark.slow),
    pytest.param("collapsed", "known", marks=pytest.mark.slow),
    pytest.param("standard", "unknown", marks=pytest.mark.slow),
    pytest.param("repriorised", "unknown", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("coordinates", "noise"), CASES)
def test_coordinates_agree_with_numpyro(coordinates, noise):
    assert_agree(draws_of(noise, coordinates=coordinates), noise)


@pytest.mark.slow
@pytest.mark.parametrize("noise", NOISE)
def test_unitwise_agrees_with_numpyro(noise):
    options = {"num_blocks": 4}
    assert_agree(draws_of(noise, kernel="unitwise", kernel_options=options), noise)


@pytest.mark.slow
def test_several_outputs_agree_with_numpyro():
    assert_agree(draws_of("unknown", outputs=2), "unknown", outputs=2)


@pytest.mark.slow
@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize(
    "kernel",
    [
        name
        for name, spec in KERNELS.items()
        if spec.is_exact and spec.is_chain and not spec.needs_surrogate
    ],
)
def test_every_exact_kernel_agrees_with_numpyro(kernel, noise):
    slow = {"pcn": 20, "mala": 40, "infinite_mala": 4, "ghmc": 10, "elliptical_slice": 5}
    assert_agree(draws_of(noise, kernel=kernel, thin=slow.get(kernel, 1)), noise)
