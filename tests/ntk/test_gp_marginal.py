"""The log marginal likelihood against SciPy and scikit-learn, and its maximum."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize
import scipy.stats
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from ntk import gp


def normal(*shape, seed=0):
    return np.random.default_rng(sum(shape) + 31 * seed + len(shape)).normal(size=shape)


@jax.jit
def rbf(h, x1, x2):
    """Hyperparameters are logarithms, as scikit-learn's ``theta``."""
    squares = jnp.sum((x1[:, None] - x2[None, :]) ** 2, -1)
    return jnp.exp(h["variance"]) * jnp.exp(-squares * jnp.exp(-2 * h["length"]) / 2)


X, EACH = normal(14, 2), np.exp(normal(14, seed=3) - 1)
Y = np.stack([np.sin(X[:, 0]), np.cos(X[:, 1])], 1) + 0.1 * normal(14, 2, seed=2)
H = {"variance": jnp.asarray(0.4), "length": jnp.asarray(0.2)}
K = rbf(H, X, X)


def density(covariance, y):
    """Output by output."""
    normal = scipy.stats.multivariate_normal(np.zeros(len(covariance)), covariance)
    return sum(normal.logpdf(column) for column in y.T)


@pytest.mark.parametrize("noise", [0.3, EACH])
def test_against_the_density(noise):
    expected = density(np.asarray(K) + np.diag(np.broadcast_to(noise, 14)), Y)
    got = gp.log_marginal_likelihood(K, Y, noise)
    assert got.shape == ()
    np.testing.assert_allclose(got, expected, rtol=1e-10)
    each = [gp.log_marginal_likelihood(K, Y[:, k], noise) for k in range(2)]
    np.testing.assert_allclose(sum(each), expected, rtol=1e-10)
    added = density(np.asarray(K) + np.diag(noise + 0.1 * np.full(14, np.trace(K) / 14)), Y)
    np.testing.assert_allclose(gp.log_marginal_likelihood(K, Y, noise, jitter=0.1), added)


def test_a_kernel_between_outputs():
    f = normal(14, 2, 30) / 5
    kernel = np.einsum("ank,bmk->abnm", f, f)
    flat = f.reshape(28, 30) @ f.reshape(28, 30).T
    expected = density(flat + np.diag(np.repeat(EACH, 2)), Y.reshape(-1, 1))
    np.testing.assert_allclose(gp.log_marginal_likelihood(kernel, Y, EACH), expected, rtol=1e-10)


def theta(h):
    return np.asarray([h["variance"], h["length"]], float)


def test_value_and_gradient_against_scikit_learn():
    kernel = ConstantKernel(np.exp(0.4)) * RBF(np.exp(0.2))
    peer = GaussianProcessRegressor(kernel, alpha=EACH, optimizer=None).fit(X, Y)
    value, gradient = peer.log_marginal_likelihood(theta(H), eval_gradient=True)
    function = jax.value_and_grad(lambda h: gp.log_marginal_likelihood(rbf(h, X, X), Y, EACH))
    got, slopes = jax.jit(function)(H)
    np.testing.assert_allclose(got, value, rtol=1e-10)
    np.testing.assert_allclose(theta(slopes), gradient, rtol=1e-8)


def test_derivatives_of_every_argument_against_finite_differences():
    """In reverse, forward, and the second derivative, along a line through all of them."""
    start = {"h": H, "x": jnp.asarray(X), "y": jnp.asarray(Y), "noise": jnp.asarray(EACH)}
    flat, unravel = jax.flatten_util.ravel_pytree({**start, "jitter": jnp.asarray(0.05)})
    direction = jnp.asarray(normal(flat.size)) / 10

    @jax.jit
    def value(s):
        p = unravel(flat + s * direction)
        kernel = rbf(p["h"], p["x"], p["x"])
        return gp.log_marginal_likelihood(kernel, p["y"], p["noise"], jitter=p["jitter"])

    forward, reverse = jax.jit(jax.jacfwd(value)), jax.jit(jax.grad(value))
    second, h = jax.jit(jax.jacfwd(jax.grad(value))), 1e-5
    slope = (value(h) - value(-h)) / (2 * h)
    np.testing.assert_allclose(forward(0.0), slope, rtol=1e-7)
    np.testing.assert_allclose(reverse(0.0), slope, rtol=1e-7)
    np.testing.assert_allclose(second(0.0), (reverse(h) - reverse(-h)) / (2 * h), rtol=1e-6)


def test_gradient_in_the_kernel_itself():
    """``(alpha alpha^T - d M^-1) / 2``, each entry on its own."""
    inverse = np.linalg.inv(np.asarray(K) + np.diag(EACH))
    expected = (inverse @ Y @ Y.T @ inverse - 2 * inverse) / 2
    got = jax.grad(gp.log_marginal_likelihood)(K, Y, EACH)
    np.testing.assert_allclose(got, expected, rtol=1e-8, atol=1e-10)
    # Of one entry alone: of a kernel that is not quite symmetric, the symmetric part counts.
    value, h = jax.jit(gp.log_marginal_likelihood), 1e-5
    slope = (value(K.at[0, 3].add(h), Y, EACH) - value(K.at[0, 3].add(-h), Y, EACH)) / (2 * h)
    np.testing.assert_allclose(got[0, 3], slope, rtol=1e-7)
    slopes = jax.grad(gp.log_marginal_likelihood, argnums=2)(K, Y, jnp.asarray(EACH))
    np.testing.assert_allclose(slopes, np.diag(expected), rtol=1e-8)


def test_float32_and_one_point():
    single = K.astype(jnp.float32)
    got = gp.log_marginal_likelihood(single, Y, EACH)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, gp.log_marginal_likelihood(K, Y, EACH), rtol=1e-5)
    one = gp.log_marginal_likelihood([[2.0]], [0.7], 0.5)
    np.testing.assert_allclose(one, scipy.stats.norm(0, 2.5**0.5).logpdf(0.7))


def test_not_positive_definite():
    x = np.concatenate([X, X[:1]])
    y, kernel = np.concatenate([Y, Y[:1]]), rbf(H, x, x)
    with pytest.raises(gp.NotPositiveDefiniteError, match=r"k_train \+ noise is not positive"):
        gp.log_marginal_likelihood(kernel, y, 0)
    assert np.isfinite(gp.log_marginal_likelihood(kernel, y, 1e-6))
    assert np.isfinite(gp.log_marginal_likelihood(kernel, y, 0, jitter=1e-6))
    indefinite = kernel - jnp.eye(15)
    with pytest.raises(gp.NotPositiveDefiniteError, match="give a larger noise_variance"):
        gp.log_marginal_likelihood(indefinite, y, 0)
    assert np.isnan(jax.jit(gp.log_marginal_likelihood)(indefinite, y, 0))


def test_bad_input():
    bad = [
        (ValueError, r"k_train must have shape .*, here \(14, 14\), got \(14, 13\)",
         (K[:, 1:], Y, 1)),
        (ValueError, r"k_train must be symmetric", (K.at[0, 1].set(9), Y, 1)),
        (ValueError, r"k_train must be finite", (K * jnp.inf, Y, 1)),
        (ValueError, r"y must have shape \(14,\) or \(14, outputs\)", (K, Y[1:], 1)),
        (ValueError, r"noise_variance is a variance", (K, Y, -EACH)),
    ]  # fmt: skip
    for error, message, arguments in bad:
        with pytest.raises(error, match=message):
            gp.log_marginal_likelihood(*arguments)
    with pytest.raises(ValueError, match="jitter must be at least 0"):
        gp.log_marginal_likelihood(K, Y, 1, jitter=-1)


# Fitting.


def noise_of(h):
    return jnp.exp(h["noise"])


FULL = {**H, "noise": jnp.asarray(-1.0)}


def test_fit_against_scikit_learn():
    """The learned noise included."""
    kernel = ConstantKernel(np.exp(0.4)) * RBF(np.exp(0.2)) + WhiteKernel(np.exp(-1.0))
    peer = GaussianProcessRegressor(kernel, alpha=0, n_restarts_optimizer=0).fit(X, Y)
    got = gp.fit(rbf, FULL, X, Y, noise_of)
    assert got.converged
    assert 0 < got.num_steps < 50
    assert got.gradient_norm <= 1.5e-8 * max(1, abs(float(got.value)))
    np.testing.assert_allclose(got.value, peer.log_marginal_likelihood_value_, rtol=1e-7)
    found = [float(got.hyperparameters[k]) for k in ("variance", "length", "noise")]
    np.testing.assert_allclose(found, peer.kernel_.theta, atol=2e-3)


def test_fit_with_known_noise_and_another_optimiser():
    def minus(theta):
        h = {"variance": theta[0], "length": theta[1]}
        return -density(np.asarray(rbf(h, X, X)) + np.diag(EACH), Y)

    best = scipy.optimize.minimize(minus, theta(H), method="Nelder-Mead", tol=1e-8)
    settings = {"optimizer": optax.adam(0.05), "tolerance": 1e-5, "max_steps": 3000}
    got = gp.fit(rbf, H, X, Y, EACH, **settings)
    assert got.converged
    np.testing.assert_allclose(got.value, -best.fun, rtol=1e-7)
    np.testing.assert_allclose(theta(got.hyperparameters), best.x, atol=1e-3)
    value = gp.log_marginal_likelihood(rbf(got.hyperparameters, X, X), Y, EACH)
    np.testing.assert_allclose(got.value, value, rtol=1e-10)


def test_fit_in_float32_and_out_of_steps():
    h = {k: v.astype(jnp.float32) for k, v in FULL.items()}
    got = gp.fit(rbf, h, X.astype(np.float32), Y, noise_of)
    assert got.converged
    assert {v.dtype for v in got.hyperparameters.values()} == {jnp.dtype(jnp.float32)}
    long = gp.fit(rbf, FULL, X, Y, noise_of)
    np.testing.assert_allclose(got.value, long.value, rtol=1e-4)
    short = gp.fit(rbf, FULL, X, Y, noise_of, max_steps=2)
    assert not short.converged
    assert short.num_steps == 2
    assert short.value < long.value
    assert short.gradient_norm > 1e-3


def test_fit_steps_back_from_where_there_is_no_likelihood():
    """The first step of steepest ascent lands where the kernel is indefinite."""

    def kernel(h, x1, x2):
        return h["a"] * rbf(H, x1, x2)

    start = {"a": jnp.asarray(0.02)}
    got = gp.fit(kernel, start, X, 0.3 * Y, 1e-3)
    assert got.converged
    assert got.hyperparameters["a"] > 0
    # A little uphill, where every step is worse than where it began, and then lost.
    astray = optax.sgd(lambda step: jnp.where(step < 4, -1e-6, 1.0))
    lost = gp.fit(kernel, start, X, 0.3 * Y, 1e-3, optimizer=astray, max_steps=9)
    assert not lost.converged
    assert lost.num_steps == 9
    assert lost.hyperparameters == start
    value = gp.log_marginal_likelihood(kernel(start, X, X), 0.3 * Y, 1e-3)
    np.testing.assert_allclose(lost.value, value, rtol=1e-10)
    with pytest.raises(gp.NotPositiveDefiniteError):
        gp.fit(kernel, {"a": -1.0}, X, Y, 1e-3)


def test_fit_bad_input():
    bad = [
        (TypeError, "kernel must be a function kernel.hyperparameters", {"kernel": 3}),
        (TypeError, "hyperparameters must be floating point, got 1 at .'a'",
         {"hyperparameters": {"a": 1}}),
        (ValueError, "hyperparameters holds no number", {"hyperparameters": {}}),
        (ValueError, "or an empty array", {"hyperparameters": {"a": np.zeros(0)}}),
        (TypeError, "must be floating point, got 'a'", {"hyperparameters": {"a": "a"}}),
        (ValueError, "hyperparameters is not finite",
         {"hyperparameters": {**H, "length": jnp.nan}}),
        (ValueError, "x is not finite", {"x": X * np.nan}),
        (ValueError, "y must have shape", {"y": Y[1:]}),
        (ValueError, "noise_variance is a variance", {"noise_variance": -1.0}),
        (TypeError, "optimizer must be an optax.GradientTransformation, got str",
         {"optimizer": "adam"}),
        (ValueError, "tolerance must lie between 0 and 1", {"tolerance": 0}),
        (ValueError, "max_steps must be an integer", {"max_steps": 0}),
    ]  # fmt: skip
    given = {"kernel": rbf, "hyperparameters": H, "x": X, "y": Y, "noise_variance": 0.1}
    for error, message, change in bad:
        with pytest.raises(error, match=message):
            gp.fit(**{**given, **change})
