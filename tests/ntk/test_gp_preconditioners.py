"""Partial Cholesky factors against LAPACK's, and what they save on a kernel of images."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from sklearn.datasets import load_digits

import ntk
from ntk import gp
from ntk.gp import _preconditioners
from ntk.layers import Activation, Dense, Serial


def normal(*shape, seed=0):
    return np.random.default_rng(sum(shape) + 31 * seed + len(shape)).normal(size=shape)


def kernel_of_rank(rank, n=30):
    f = normal(n, rank) * np.exp(-np.arange(rank) / 10)
    return f @ f.T


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rank", [7, 30])
def test_partial_cholesky_against_lapack(rank, dtype):
    kernel = kernel_of_rank(40).astype(dtype)
    upper, pivots, _, _ = scipy.linalg.lapack.dpstrf(kernel.astype(float))
    expected = np.zeros((30, 30))
    expected[pivots - 1] = np.triu(upper).T
    factor, left = _preconditioners.partial_cholesky(jnp.asarray(kernel), rank)
    assert factor.dtype == dtype
    tolerance = 1e-4 if dtype == np.float32 else 1e-9
    np.testing.assert_allclose(factor, expected[:, :rank], atol=tolerance)
    rest = np.diag(kernel - expected[:, :rank] @ expected[:, :rank].T)
    np.testing.assert_allclose(left, rest, atol=tolerance)


def test_a_factor_ends_at_the_rank():
    factor, left = _preconditioners.partial_cholesky(jnp.asarray(kernel_of_rank(5)), 9)
    assert not factor[:, 5:].any()
    assert factor[:, :5].any(axis=0).all()
    np.testing.assert_allclose(factor @ factor.T, kernel_of_rank(5), atol=1e-12)
    np.testing.assert_allclose(left, 0, atol=1e-12)


@pytest.mark.parametrize("noise", [0.1, 0.0, np.exp(normal(30))])
def test_the_inverse_against_numpy(noise):
    kernel, noise = kernel_of_rank(40), np.broadcast_to(noise, 30)
    factor, left = _preconditioners.partial_cholesky(jnp.asarray(kernel), 7)
    matrix = factor @ factor.T + np.diag(noise + np.mean(left))
    got = jax.vmap(_preconditioners.by_partial_cholesky(jnp.asarray(kernel), noise, 7))(np.eye(30))
    product = np.asarray(got) @ matrix  # up to its units
    np.testing.assert_allclose(product, product[0, 0] * np.eye(30), atol=1e-10 * product[0, 0])


def test_of_full_rank_it_is_the_inverse():
    """Of a noise that the kernel exceeds by sixteen decades."""
    kernel = kernel_of_rank(40)
    got = _preconditioners.by_partial_cholesky(jnp.asarray(kernel), jnp.zeros(30), 30)(kernel[0])
    np.testing.assert_allclose(got / got[0], np.eye(30)[0], atol=1e-7)


@functools.cache
def digits(dtype=np.float64, n=200, m=4):
    """The NNGP kernel of a deep ReLU network between images, and one column of class targets."""
    dense = Dense(2**0.5, 0.1)
    network = Serial(dense, Activation("relu"), dense, Activation("relu"), dense)
    x, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))[: n + m]
    k = np.asarray(ntk.infinite_kernel(network)(x[order] / 16, get="nngp"), dtype)
    y = np.where(labels[order[:n]] == 3, 0.9, -0.1)
    return gp.Kernels(k[:n, :n], k[n:, :n], k[n:, n:]), y


@pytest.mark.parametrize("noise", ["small", "none", "uneven"])
def test_steps_on_digits(noise):
    """Rank 60 takes at most a third of the steps, and ends in the same posterior."""
    kernels, y = digits()
    variance = {"small": 1e-2, "none": 0.0, "uneven": 10 ** np.linspace(-4, 0, 200)}[noise]
    expected = gp.posterior(kernels, y, variance)
    steps = []
    for rank in (0, 60):
        got = gp.posterior(kernels, y, variance, method="cg", preconditioner_rank=rank)
        assert got.report.converged
        np.testing.assert_allclose(got.mean, expected.mean, atol=1e-6)
        np.testing.assert_allclose(got.variance, expected.variance, atol=1e-6)
        steps.append(int(got.report.num_steps))
    assert steps[1] <= steps[0] / 3


def test_float32_where_rounding_stops_progress():
    """Many more steps than help: the iterates stay about as good as Cholesky's."""
    kernels, y = digits(np.float32)
    direct = gp.posterior(kernels, y, 1e-5, get="mean")
    settings = {"get": "mean", "method": "cg", "tolerance": 1e-6, "preconditioner_rank": 60}
    got = gp.posterior(kernels, y, 1e-5, **settings)
    assert not got.report.converged
    assert got.report.residual < 10 * direct.report.residual


def test_bad_input():
    kernels, y = digits()

    class Opaque:
        shape = (200, 200)

        def __matmul__(self, v):
            return v

    bad = [
        (r"preconditioner_rank must be an integer between 0 and 200, got 201", kernels, 201),
        (r"preconditioner_rank must be an integer between 0 and 200, got -1", kernels, -1),
        (r"preconditioner_rank must be 0 for an operator, whose rows are not known, got 3",
         kernels._replace(train=Opaque()), 3),
    ]  # fmt: skip
    for message, given, rank in bad:
        with pytest.raises(ValueError, match=message):
            gp.posterior(given, y, 0.1, method="cg", preconditioner_rank=rank)
    with pytest.raises(ValueError, match=r'preconditioner_rank belong to method="cg"'):
        gp.posterior(kernels, y, 0.1, preconditioner_rank=3)
