"""Convolutional and residual networks through ``run``, on images of digits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st
from network_oracles import conv, resnet_features, with_readout
from sklearn.datasets import load_digits

import bnnsample
from bnnsample import models
from bnnsample.likelihoods import Gaussian
from bnnsample.results import effective_sample_size

N, OUTPUTS = 16, 10
STEPS = {"step_size": 0.3, "num_integration_steps": 4}
FAMILY_ERROR = 1e-3


def digits(n):
    """``x [n, 8, 8, 1]`` and shifted one-hot targets ``[n, 10]``, in single precision."""
    x, labels = load_digits(return_X_y=True)
    images = ((x - x.mean()) / x.std()).reshape(-1, 8, 8, 1)
    targets = np.eye(OUTPUTS)[labels] - 1 / OUTPUTS
    return images[:n].astype(np.float32), targets[:n].astype(np.float32)


X, Y = digits(2 * N)


def run(model, y, width, num_samples, **settings):
    return bnnsample.run(
        model,
        (X[:N], y[:N]),
        width=width,
        likelihood=Gaussian(0.5),
        num_warmup=0,
        num_samples=num_samples,
        keep="all",
        progress=False,
        **settings,
    )


def cnn_features(hidden, x):
    z = x
    for layer in hidden:
        z = np.maximum(conv(z, layer, 2**0.5, 0.1, 2), 0)
    return with_readout(z.mean((1, 2)), 1.0, 0.1)


def resnet8_features(hidden, x):
    variances = [(1 / 2, 1 / 2), (2 / 3, 1 / 3), (3 / 4, 1 / 4)]
    return with_readout(resnet_features(hidden, x, variances, 2**0.5, 0.1), 1.0, 0.1)


def check(result, features, path):
    """Draws are the network's by its definition, are judged, predict, and come back from disk."""
    f = result.idata.posterior["f"].values
    assert f.dtype == np.float32
    parameters = result.parameters(1, f.shape[1] - 1)
    own = features(parameters["hidden"], X[:N]) @ np.asarray(parameters["readout"])
    np.testing.assert_allclose(f[1, -1], own, rtol=1e-3, atol=1e-4)
    assert "Function space" in result.report()
    prediction = result.predict(X[N:])
    assert prediction.mean.shape == own.shape
    assert (prediction.predictive_std > prediction.std).all()
    result.save(path)
    loaded = bnnsample.load(path)
    assert loaded.report() == result.report()
    np.testing.assert_array_equal(loaded.predict(X[N:]).mean, prediction.mean)
    for one, other in zip(
        jax.tree.leaves(loaded.parameters(0, 0)),
        jax.tree.leaves(result.parameters(0, 0)),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_resnet_8(tmp_path):
    result = run(models.resnet(8), Y, 4, 20, num_chains=2, kernel_options=STEPS)
    assert 0.2 < result.idata.sample_stats["acceptance_rate"].values.mean() <= 1
    check(result, resnet8_features, tmp_path / "run")


WIDTH, PRIOR_DRAWS, SAMPLES = 8, 20_000, 600
CNN = models.cnn(2, strides=2)


@pytest.fixture(scope="module")
def weighted_prior():
    """``E[f | h]`` of prior draws, weighted by their marginal likelihood: of the posterior."""
    x = jnp.asarray(X[:N])

    def features(key):
        return CNN.features(CNN.init_hidden(key, x, WIDTH), x)

    keys = jax.random.split(jax.random.key(5), PRIOR_DRAWS)
    psi = np.asarray(jax.jit(lambda keys: jax.lax.map(features, keys))(keys), float)
    kernel = psi @ psi.transpose(0, 2, 1)
    noisy = kernel + 0.25 * np.eye(N)
    solved = np.linalg.solve(noisy, Y[None, :N, :1])
    log_weight = -(np.sum(Y[:N, :1] * solved, (1, 2)) + np.linalg.slogdet(noisy)[1]) / 2
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    assert 1 / np.sum(weight**2) > 1000
    f = (kernel @ solved)[:, :, 0]
    mean = weight @ f
    return mean, np.sqrt(weight**2 @ (f - mean) ** 2)


@pytest.mark.parametrize(
    "kernel", [pytest.param(k, marks=pytest.mark.slow) for k in ("infinite_hmc", "unitwise")]
)
def test_cnn_agrees_with_weighted_draws_from_the_prior(kernel, weighted_prior, tmp_path):
    result = run(CNN, Y[:, :1], WIDTH, SAMPLES, kernel=kernel, kernel_options=STEPS)
    if kernel == "infinite_hmc":
        check(result, cnn_features, tmp_path / "run")
    f = result.idata.posterior["f_mean"].values[:, SAMPLES // 5 :, :, 0]
    ess = effective_sample_size(f)
    assert ess.min() > 100
    mean, error = weighted_prior
    z = (f.mean((0, 1)) - mean) / np.hypot(error, f.std((0, 1)) / np.sqrt(ess))
    assert np.abs(z).max() < st.norm.isf(FAMILY_ERROR / (2 * N))
