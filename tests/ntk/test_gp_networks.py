"""Networks of width 8192 trained by gradient flow, against the theory of infinite width."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntk
from ntk import gp
from ntk.layers import Activation, Dense, Serial

N, M, D, WIDTH = 6, 3, 5, 8192
# The outputs of one wide network are as many draws; of one training set, each learns the same.
SEEDS, OUTPUTS = 10, 10
NETWORK = Serial(Dense(1.4, 0.3), Activation("relu"), Dense(1.0, 0.1))


def normal(*shape):
    return np.random.default_rng(sum(shape) + len(shape)).normal(size=shape)


X, Y = normal(N + M, D), normal(N)


@functools.cache
def theory():
    """The NNGP and NTK between training and test points."""

    def split(k):
        return gp.Kernels(k[:N, :N], k[N:, :N], k[N:, N:])

    return tuple(split(k) for k in ntk.infinite_kernel(NETWORK)(X))


@jax.grad
def slope(p):
    return jnp.sum((NETWORK.apply(p, X[:N]) - Y[:, None]) ** 2) / 2


def flow(p, t, steps):
    """The classical Runge-Kutta method."""
    h = t / steps

    def step(_, p):
        def moved(by, k):
            return jax.tree.map(lambda a, b: a - by * b, p, k)

        k1 = slope(p)
        k2 = slope(moved(h / 2, k1))
        k3 = slope(moved(h / 2, k2))
        k4 = slope(moved(h, k3))
        return moved(h / 6, jax.tree.map(lambda a, b, c, d: a + 2 * b + 2 * c + d, k1, k2, k3, k4))

    return jax.lax.fori_loop(0, steps, step, p)


@functools.cache
def trained():
    """A time of change and the end; outputs at 0 and then ``[seeds, 3, outputs, N + M]``."""
    rates = np.linalg.eigvalsh(theory()[1].train)
    early, late = 1 / rates.mean(), 20 / rates[0]
    # Only on the way, and not where it ends, do large steps matter.
    steps = [int(np.ceil(k * t * rates[-1])) for k, t in ((4, early), (1, late - early))]

    @jax.jit
    def all_of(keys):
        def one(key):
            start, _ = NETWORK.init(key, (D,), iter((WIDTH, OUTPUTS)), jnp.float64)
            middle = flow(start, early, steps[0])
            end = flow(middle, late - early, steps[1])
            return jnp.stack([NETWORK.apply(p, X).T for p in (start, middle, end)])

        return jax.lax.map(one, keys)

    return (early, jnp.inf), np.asarray(all_of(jax.random.split(jax.random.key(0), SEEDS)))


def within_four_standard_errors(draws, expected):
    error = draws.std(0, ddof=1) / len(draws) ** 0.5
    assert (np.abs(draws.mean(0) - expected) < 4 * error).all()


def test_training_ends():
    """Nothing is left to learn at the time that stands for infinity."""
    f = trained()[1][:, 2, :, :N]
    np.testing.assert_allclose(f, np.broadcast_to(Y, f.shape), atol=1e-7)


@pytest.mark.parametrize("when", [0, 1])
def test_mean_and_covariance_over_seeds(when):
    nngp, tangent = theory()
    t, f = trained()[0][when], trained()[1][:, when + 1, :, N:].reshape(-1, M)
    expected = gp.gradient_flow(tangent, Y, t, nngp=nngp, get="covariance")
    within_four_standard_errors(f, expected.mean)
    if when == 1:
        within_four_standard_errors(f, gp.posterior(tangent, Y, 0, get="mean").mean)
    covariance, variance = np.asarray(expected.covariance), np.asarray(expected.variance)
    error = np.sqrt((np.outer(variance, variance) + covariance**2) / (len(f) - 1))
    assert (np.abs(np.cov(f.T) - covariance) < 4 * error).all()


@pytest.mark.parametrize("when", [0, 1])
def test_every_network_from_its_own_start(when):
    """What is left is the fluctuation of a finite width, without a bias."""
    (_, tangent), (times, f) = theory(), trained()

    @jax.jit
    @jax.vmap
    def expected(start):
        y = jnp.broadcast_to(Y[:, None], (N, OUTPUTS))
        initial = (start[:, :N].T, start[:, N:].T)
        return gp.gradient_flow(tangent, y, times[when], initial=initial).mean.T

    gaps = f[:, when + 1, :, N:] - np.asarray(expected(f[:, 0]))
    assert gaps.std() < 0.05
    within_four_standard_errors(gaps.mean(1), 0.0)
