"""The log marginal likelihood against a dense multivariate normal, values and derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st

from bnnsample.repriorisation import log_marginal_likelihood

# n > p, n < p and n == p.
SIZES = [(9, 4), (4, 9), (6, 6)]
SIDES = ["auto", "parameters", "data"]
SCALES = ["scalar", "per_point"]


def problem(n, p, scale, outputs=2, seed=0):
    rng = np.random.default_rng([n, p, seed])
    psi = rng.normal(size=(n, p)) / np.sqrt(p)
    y = rng.normal(size=(n,) if outputs is None else (n, outputs))
    sigma = 0.3 if scale == "scalar" else rng.uniform(0.2, 0.9, n)
    return psi, y, sigma


def covariance(psi, sigma):
    return psi @ psi.T + np.diag(np.broadcast_to(np.square(sigma), len(psi)))


def dense(psi, y, sigma):
    """The definition, in JAX, for autodiff: through a determinant and an inverse."""
    n = psi.shape[0]
    M = psi @ psi.T + jnp.diag(jnp.broadcast_to(sigma**2, (n,)))
    y = y.reshape(n, -1)
    quadratic = jnp.sum(y * (jnp.linalg.inv(M) @ y))
    log_determinant = jnp.linalg.slogdet(2 * jnp.pi * M)[1]
    return -0.5 * quadratic - 0.5 * y.shape[1] * log_determinant


# One program per shape: compilation would otherwise be most of the time.
VALUE = jax.jit(log_marginal_likelihood, static_argnames="side")
GRADIENT = jax.jit(
    lambda *a, side: jax.grad(lambda *b: log_marginal_likelihood(*b, side), (0, 1, 2))(*a),
    static_argnames="side",
)
DENSE_GRADIENT = jax.jit(jax.grad(dense, argnums=(0, 1, 2)))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("outputs", [None, 3])
@pytest.mark.parametrize("side", SIDES)
def test_value_equals_scipy(size, scale, outputs, side):
    psi, y, sigma = problem(*size, scale, outputs)
    columns = y.reshape(len(y), -1).T
    expected = sum(st.multivariate_normal(cov=covariance(psi, sigma)).logpdf(c) for c in columns)
    got = VALUE(psi, y, sigma, side=side)
    assert got.shape == ()
    np.testing.assert_allclose(got, expected, rtol=1e-10)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("side", ["parameters", "data"])
@pytest.mark.parametrize("outputs", [None, 2])
def test_gradient_equals_autodiff_of_the_definition(size, scale, side, outputs):
    arguments = tuple(map(jnp.asarray, problem(*size, scale, outputs)))
    expected = DENSE_GRADIENT(*arguments)
    got = GRADIENT(*arguments, side=side)
    for g, e, argument in zip(got, expected, arguments, strict=True):
        assert g.shape == argument.shape
        np.testing.assert_allclose(g, e, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("side", ["parameters", "data"])
def test_hessian_vector_product_equals_autodiff_of_the_definition(size, scale, side):
    """Second derivatives pass through the closed form of the first, in both orders."""
    arguments = tuple(map(jnp.asarray, problem(*size, scale)))
    rng = np.random.default_rng(1)
    vector = tuple(jnp.asarray(rng.normal(size=a.shape)) for a in arguments)

    def products(function):
        gradient = jax.grad(function, argnums=(0, 1, 2))
        return jax.jit(lambda: both(gradient))()

    def both(gradient):
        forward = jax.jvp(gradient, arguments, vector)[1]

        def directional(*a):
            return sum(jnp.sum(g * v) for g, v in zip(gradient(*a), vector, strict=True))

        return forward, jax.grad(directional, argnums=(0, 1, 2))(*arguments)

    expected = products(dense)[0]
    for got in products(lambda *a: log_marginal_likelihood(*a, side)):
        for g, e in zip(got, expected, strict=True):
            np.testing.assert_allclose(g, e, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("size", [*SIZES, (40, 25), (25, 40)])
@pytest.mark.parametrize("side", ["parameters", "data"])
def test_float32_is_as_good_as_the_condition_number_allows(size, side):
    """Relative error below ``10 eps cond(I + P P^T)``, of the value's terms and the gradient."""
    psi, y, sigma = problem(*size, "per_point")
    arguments = tuple(jnp.asarray(a) for a in (psi, y, sigma))
    single = tuple(a.astype(jnp.float32) for a in arguments)
    P = psi / np.reshape(sigma, (-1, 1))
    bound = 10 * np.finfo(np.float32).eps * np.linalg.cond(np.eye(len(P)) + P @ P.T)
    assert bound < 5e-2

    def value_and_grad(a):
        return VALUE(*a, side=side), GRADIENT(*a, side=side)

    value, gradient = value_and_grad(arguments)
    value32, gradient32 = value_and_grad(single)
    assert value32.dtype == jnp.float32
    quadratic = np.sum(y * np.linalg.solve(covariance(psi, sigma), y))
    assert abs(float(value32) - float(value)) < bound * (abs(float(value)) + quadratic)
    for g32, g in zip(gradient32, gradient, strict=True):
        assert g32.dtype == jnp.float32
        assert np.linalg.norm(np.asarray(g32, float) - g) < bound * np.linalg.norm(g)


def test_float32_does_not_cancel_on_the_parameter_side():
    """Targets far larger than their residuals: ``|z|^2 - z^T P mu`` would lose every digit."""
    rng = np.random.default_rng(3)
    psi = rng.normal(size=(200, 3))
    sigma = 0.01
    y = psi @ rng.normal(size=(3, 1)) + sigma * rng.normal(size=(200, 1))
    exact = float(log_marginal_likelihood(psi, y, sigma, "parameters"))
    single = log_marginal_likelihood(jnp.asarray(psi, jnp.float32), y, sigma, "parameters")
    # The squares are about n, their terms y / sigma about 200 with relative error eps: the
    # residual's absolute error is 200 eps per point, its square's 2 * 200 eps, times n points.
    assert abs(float(single) - exact) < 4 * 200 * 200 * np.finfo(np.float32).eps


@pytest.mark.parametrize("size", SIZES)
def test_sides_agree(size):
    psi, y, sigma = problem(*size, "per_point", 3)
    values = [float(log_marginal_likelihood(psi, y, sigma, side)) for side in SIDES]
    np.testing.assert_allclose(values, values[0], rtol=1e-12)


@pytest.mark.parametrize("side", ["parameters", "data"])
def test_under_jit_vmap_and_grad(side):
    batch = [problem(5, 3, "scalar", 2, seed) for seed in range(3)]
    psi, y = (jnp.stack([jnp.asarray(b[i]) for b in batch]) for i in (0, 1))
    sigma = jnp.asarray([0.2, 0.4, 0.8])

    def gradient(*a):
        return jax.grad(lambda *b: log_marginal_likelihood(*b, side), argnums=(0, 1, 2))(*a)

    batched = jax.jit(jax.vmap(gradient))(psi, y, sigma)
    for i in range(3):
        expected = DENSE_GRADIENT(psi[i], y[i], sigma[i])
        for b, e in zip(batched, expected, strict=True):
            np.testing.assert_allclose(b[i], e, rtol=1e-9, atol=1e-10)


def test_constant_scale_under_jit_and_python_numbers():
    psi, y, _ = problem(5, 3, "scalar")
    expected = log_marginal_likelihood(psi, y, 2.0)
    assert jax.jit(lambda a: log_marginal_likelihood(a, y, 2))(psi) == pytest.approx(
        float(expected), rel=1e-13
    )


def test_not_finite_under_jit_is_returned_not_raised():
    psi, y, sigma = problem(5, 3, "scalar")
    psi[0, 0] = np.nan
    assert jnp.isnan(jax.jit(log_marginal_likelihood)(psi, y, sigma))
