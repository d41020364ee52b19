"""Exact readout draws and predictions against dense Gaussian-process formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st

from bnnsample.repriorisation import draw_readout, predict

SIZES = [(9, 4), (4, 9), (6, 6)]
PREDICT = jax.jit(predict, static_argnames="side")


def problem(n, p, scale, outputs=2):
    rng = np.random.default_rng([n, p, 7])
    psi = rng.normal(size=(n, p)) / np.sqrt(p)
    y = rng.normal(size=(n,) if outputs is None else (n, outputs))
    sigma = 0.3 if scale == "scalar" else rng.uniform(0.2, 0.9, n)
    return psi, y, sigma


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("side", ["parameters", "data"])
@pytest.mark.parametrize("scale", ["scalar", "per_point"])
def test_draws_have_the_posterior_mean_and_covariance(size, side, scale):
    """Every entry within its Monte-Carlo error, at a level of 1e-3 shared by all entries."""
    psi, y, sigma = problem(*size, scale)
    weighted = psi / np.reshape(np.square(sigma), (-1, 1))
    Sigma = np.linalg.inv(np.eye(size[1]) + psi.T @ weighted)
    mu = Sigma @ weighted.T @ y
    count = 20_000
    keys = jax.random.split(jax.random.key(42), count)
    draws = jax.jit(jax.vmap(lambda k: draw_readout(k, psi, y, sigma, side)))(keys)
    assert draws.shape == (count, *mu.shape)
    flat = np.asarray(draws).transpose(0, 2, 1).reshape(count, -1)
    mean, cov = mu.T.ravel(), np.kron(np.eye(2), Sigma)
    entries = len(mean) + len(mean) ** 2
    threshold = st.norm.isf(1e-3 / (2 * entries * 12))
    variance = np.diag(cov)
    error = np.abs(flat.mean(axis=0) - mean) / np.sqrt(variance / count)
    assert error.max() < threshold
    centred = flat - mean
    standard_error = np.sqrt((np.outer(variance, variance) + cov**2) / count)
    assert (np.abs(centred.T @ centred / count - cov) / standard_error).max() < threshold


@pytest.mark.parametrize("side", ["auto", "parameters", "data"])
def test_draw_shapes_dtypes_and_keys(side):
    psi, y, sigma = problem(4, 9, "scalar", outputs=None)
    W = draw_readout(jax.random.key(0), psi, y, sigma, side)
    assert W.shape == (9,)
    assert W.dtype == jnp.float64
    again = draw_readout(jax.random.key(0), psi, y, sigma, side)
    np.testing.assert_array_equal(W, again)
    assert not np.allclose(W, draw_readout(jax.random.key(1), psi, y, sigma, side))
    single = jnp.asarray(psi, jnp.float32)
    column = draw_readout(jax.random.key(0), single, y[:, None], sigma, side)
    assert column.shape == (9, 1)
    assert column.dtype == jnp.float32


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", ["scalar", "per_point"])
@pytest.mark.parametrize("side", ["auto", "parameters", "data"])
@pytest.mark.parametrize("outputs", [None, 2])
def test_prediction_equals_the_gaussian_process(size, scale, side, outputs):
    """Rasmussen and Williams 2006, eq. 2.25 and 2.26, by dense inversion."""
    psi, y, sigma = problem(*size, scale, outputs)
    psi_new = np.random.default_rng(8).normal(size=(5, size[1]))
    M = psi @ psi.T + np.diag(np.broadcast_to(np.square(sigma), len(psi)))
    cross = psi_new @ psi.T
    mean = cross @ np.linalg.inv(M) @ y
    variance = np.diag(psi_new @ psi_new.T - cross @ np.linalg.inv(M) @ cross.T)
    got_mean, got_variance = PREDICT(psi_new, psi, y, sigma, side=side)
    assert got_mean.shape == mean.shape
    assert got_variance.shape == (5,)
    np.testing.assert_allclose(got_mean, mean, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(got_variance, variance, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("side", ["parameters", "data"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_variance_is_never_negative(side, dtype):
    """At the training inputs with almost no noise the true variance drowns in rounding."""
    psi = jnp.asarray(np.random.default_rng(0).normal(size=(20, 40)), dtype)
    y = jnp.ones((20, 1), dtype)
    scale = 10 * float(jnp.finfo(dtype).eps) ** 0.5
    _, variance = predict(psi, psi, y, scale, side)
    assert variance.dtype == dtype
    assert jnp.all(variance >= 0)
    assert jnp.all(jnp.isfinite(variance))


def test_prediction_under_jit_vmap_and_grad():
    psi, y, sigma = problem(5, 4, "scalar")
    psi_new = np.random.default_rng(8).normal(size=(3, 2, 4))
    batched = jax.jit(jax.vmap(lambda a: predict(a, psi, y, sigma)))(psi_new)
    for i in range(3):
        for b, e in zip(batched, predict(psi_new[i], psi, y, sigma), strict=True):
            np.testing.assert_allclose(b[i], e, rtol=1e-12)

    def total(s, side):
        mean, variance = predict(psi_new[0], psi, y, s, side)
        return jnp.sum(mean**2) + jnp.sum(variance)

    step = 1e-6
    for side in ("parameters", "data"):
        expected = (total(0.3 + step, side) - total(0.3 - step, side)) / (2 * step)
        np.testing.assert_allclose(jax.grad(total)(0.3, side), expected, rtol=1e-6)
