"""The repriorising bijection against the dense posterior of a linear model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnnsample import repriorisation as rp
from bnnsample.repriorisation import factorise, log_det

SIZES = [(9, 4), (4, 9), (6, 6)]
SIDES = ["auto", "parameters", "data"]

# One program per shape: compilation would otherwise be most of the time.
_forward = jax.jit(rp.forward, static_argnames="side")
_inverse = jax.jit(rp.inverse, static_argnames="side")
_jacobian = jax.jit(jax.jacobian(rp.forward), static_argnames="side")


def forward(phi, psi, y, sigma, side):
    return _forward(phi, psi, y, sigma, side=side)


def inverse(W, psi, y, sigma, side):
    return _inverse(W, psi, y, sigma, side=side)


def problem(n, p, scale, outputs=2):
    rng = np.random.default_rng([n, p])
    psi = rng.normal(size=(n, p)) / np.sqrt(p)
    y = rng.normal(size=(n,) if outputs is None else (n, outputs))
    sigma = 0.3 if scale == "scalar" else rng.uniform(0.2, 0.9, n)
    return psi, y, sigma


def posterior(psi, y, sigma):
    """Mean and covariance by inversion of the precision ``I + Psi^T D^{-2} Psi``."""
    weighted = psi / np.reshape(np.square(sigma), (-1, 1))
    Sigma = np.linalg.inv(np.eye(psi.shape[1]) + psi.T @ weighted)
    return Sigma @ weighted.T @ y, Sigma


@pytest.fixture(params=[(s, c, d) for s in SIZES for c in ("scalar", "per_point") for d in SIDES])
def case(request):
    size, scale, side = request.param
    return *problem(*size, scale), side


def test_root_squares_to_the_posterior_covariance_and_zero_maps_to_the_mean(case):
    psi, y, sigma, side = case
    p, d = psi.shape[1], y.shape[1]
    mu, Sigma = posterior(psi, y, sigma)
    np.testing.assert_allclose(forward(jnp.zeros((p, d)), psi, y, sigma, side), mu, atol=1e-11)
    jacobian = _jacobian(jnp.zeros((p, d)), psi, y, sigma, side=side)
    for i in range(d):
        A = jacobian[:, i, :, i]
        np.testing.assert_allclose(A @ A.T, Sigma, atol=1e-11)
    np.testing.assert_allclose(jacobian[:, 0, :, 1], 0, atol=1e-14)


def test_map_is_affine_and_inverse_undoes_it(case):
    psi, y, sigma, side = case
    shape = (psi.shape[1], y.shape[1])
    phi = jax.random.normal(jax.random.key(0), shape)
    W = forward(phi, psi, y, sigma, side)
    np.testing.assert_allclose(inverse(W, psi, y, sigma, side), phi, atol=1e-10)
    np.testing.assert_allclose(
        forward(inverse(phi, psi, y, sigma, side), psi, y, sigma, side), phi, atol=1e-10
    )
    zero = forward(jnp.zeros(shape), psi, y, sigma, side)
    twice = forward(2 * phi, psi, y, sigma, side)
    np.testing.assert_allclose(twice - zero, 2 * (W - zero), atol=1e-12)


def test_log_det_is_that_of_the_jacobian(case):
    psi, y, sigma, side = case
    size = psi.shape[1] * y.shape[1]
    shape = (psi.shape[1], y.shape[1])
    jacobian = _jacobian(jnp.ones(shape), psi, y, sigma, side=side)
    expected = np.linalg.slogdet(np.asarray(jacobian).reshape(size, size))[1]
    np.testing.assert_allclose(log_det(psi, sigma, y.shape[1], side), expected, rtol=1e-11)


@pytest.mark.parametrize("side", ["parameters", "data"])
@pytest.mark.parametrize("size", SIZES)
def test_one_output_keeps_its_shape(size, side):
    psi, y, sigma = problem(*size, "per_point", outputs=None)
    phi = jax.random.normal(jax.random.key(1), (size[1],))
    W = forward(phi, psi, y, sigma, side)
    assert W.shape == phi.shape
    column = forward(phi[:, None], psi, y[:, None], sigma, side)
    np.testing.assert_allclose(W, column[:, 0], rtol=1e-13)
    assert inverse(W, psi, y, sigma, side).shape == phi.shape


@pytest.mark.parametrize("size", SIZES)
def test_factor(size):
    psi, _, sigma = problem(*size, "per_point")
    P = psi / sigma[:, None]
    for side, square in (("parameters", P.T @ P), ("data", P @ P.T)):
        factor = factorise(psi, sigma, side)
        assert factor.on_parameter_side == (side == "parameters")
        np.testing.assert_allclose(factor.P, P, rtol=1e-14)
        np.testing.assert_allclose(np.triu(factor.L, 1), 0)
        np.testing.assert_allclose(
            factor.L @ factor.L.T, np.eye(len(square)) + square, rtol=1e-12, atol=1e-13
        )
    assert factorise(psi, sigma).on_parameter_side == (size[1] <= size[0])


@pytest.mark.parametrize("side", ["parameters", "data"])
def test_float32_round_trip(side):
    psi, y, sigma = problem(6, 6, "per_point")
    single = [jnp.asarray(a, jnp.float32) for a in (psi, y, sigma)]
    phi = jax.random.normal(jax.random.key(0), (6, 2), jnp.float32)
    W = forward(phi, *single, side)
    back = inverse(W, *single, side)
    P = psi / sigma[:, None]
    bound = 10 * np.finfo(np.float32).eps * np.linalg.cond(np.eye(6) + P @ P.T)
    assert W.dtype == back.dtype == log_det(single[0], single[2], 2).dtype == jnp.float32
    assert float(jnp.linalg.norm(back - phi)) < bound * float(jnp.linalg.norm(phi))
    exact = forward(phi.astype(jnp.float64), psi, y, sigma, side)
    assert float(jnp.linalg.norm(W.astype(jnp.float64) - exact)) < bound * float(
        jnp.linalg.norm(exact)
    )


@pytest.mark.parametrize("side", ["parameters", "data"])
def test_under_jit_vmap_and_grad(side):
    psi, y, sigma = problem(5, 4, "per_point")
    phi = jax.random.normal(jax.random.key(0), (3, 4, 2))
    batched = jax.jit(jax.vmap(lambda a: forward(a, psi, y, sigma, side)))(phi)
    for i in range(3):
        np.testing.assert_allclose(batched[i], forward(phi[i], psi, y, sigma, side), atol=1e-12)

    # Derivatives with respect to the features, by central differences.
    direction = np.random.default_rng(0).normal(size=psi.shape)

    def total(t):
        W = forward(phi[0], psi + t * direction, y, sigma, side)
        return jnp.sum(W**3) + log_det(psi + t * direction, sigma, 2, side)

    step = 1e-5
    expected = (total(step) - total(-step)) / (2 * step)
    np.testing.assert_allclose(jax.jit(jax.grad(total))(0.0), expected, rtol=1e-7)
