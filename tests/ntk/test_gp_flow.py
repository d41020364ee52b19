"""Gradient flow against differential equations, matrix exponentials and trained networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg

import ntk
from ntk import gp

TIMES = [0.0, 0.3, 2.0, 1e3, np.inf]


def normal(*shape, seed=0):
    return np.random.default_rng(sum(shape) + 31 * seed + len(shape)).normal(size=shape)


def joint(n, m, rank, seed):
    """A kernel of n + m points with this rank: train, test-train, test."""
    f = normal(n + m, rank, seed=seed) / rank**0.5
    kernel = f @ f.T
    return gp.Kernels(kernel[:n, :n], kernel[n:, :n], kernel[n:, n:])


N, M = 8, 4
NTK, NNGP, Y = joint(N, M, 20, 0), joint(N, M, 16, 1), normal(N, 2)


def exponential(ntk, t):
    """``[outputs on test; outputs on training points]`` at time t is ``A f(0) + B y``.

    By the exponential of the linear differential equation of both: no inverse is taken.
    """
    train, cross = np.asarray(ntk[0], float), np.asarray(ntk[1], float)
    n, m = len(train), len(cross)
    t = 1e6 if np.isinf(t) else t
    rates = np.zeros((2 * n + m, 2 * n + m))  # test outputs, training outputs, y
    rates[:m, m : m + n], rates[:m, m + n :] = -cross, cross
    rates[m : m + n, m : m + n], rates[m : m + n, m + n :] = -train, train
    flow = scipy.linalg.expm(t * rates)
    return flow[:m, : m + n], flow[:m, m + n :]


def ensemble(ntk, nngp, t):
    """The covariance at time t of outputs that start with the NNGP kernel's."""
    start, _ = exponential(ntk, t)
    train, cross, test = (np.asarray(k, float) for k in nngp)
    return start @ np.block([[test, cross], [cross.T, train]]) @ start.T


@pytest.mark.parametrize("t", TIMES)
def test_against_the_matrix_exponential(t):
    mean, covariance = exponential(NTK, t)[1] @ Y, ensemble(NTK, NNGP, t)
    got = gp.gradient_flow(NTK, Y, t, nngp=NNGP, get="covariance")
    assert got.ok
    np.testing.assert_allclose(got.mean, mean, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(got.covariance, covariance, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(got.variance, np.diag(covariance), rtol=1e-6, atol=1e-8)
    for test in (NNGP.test, np.diag(NNGP.test)):
        alone = gp.gradient_flow(NTK, Y, t, nngp=(*NNGP[:2], test), get="variance")
        np.testing.assert_allclose(alone.variance, got.variance, rtol=1e-9)
    only = gp.gradient_flow(NTK[:2], Y[:, 0], t)
    np.testing.assert_allclose(only.mean, got.mean[:, 0], rtol=1e-12)
    assert only.variance is only.covariance is None


def test_exact_at_the_start():
    got = gp.gradient_flow(NTK, Y, 0, nngp=NNGP, get="covariance")
    assert not np.asarray(got.mean).any()
    np.testing.assert_array_equal(got.covariance, NNGP.test)


def test_the_limit_is_kernel_regression():
    got = gp.gradient_flow(NTK, Y, jnp.inf)
    expected = np.asarray(NTK.test_train) @ np.linalg.solve(NTK.train, Y)
    np.testing.assert_allclose(got.mean, expected, rtol=1e-9)
    np.testing.assert_allclose(got.mean, gp.posterior(NTK, Y, 0).mean, rtol=1e-9)
    np.testing.assert_allclose(gp.gradient_flow(NTK, Y, 1e9).mean, expected, rtol=1e-9)


def test_a_trained_readout_ends_in_the_posterior():
    got = gp.gradient_flow(NNGP, Y, jnp.inf, nngp=NNGP, get="covariance")
    expected = gp.posterior(NNGP, Y, 0, get="covariance")
    for field in ("mean", "variance", "covariance"):
        np.testing.assert_allclose(
            getattr(got, field), getattr(expected, field), rtol=1e-8, atol=1e-10
        )


def test_against_an_integrator():
    """The outputs' differential equation, step by step, from one network's outputs."""
    start, shift, t = normal(N, seed=5), normal(M, seed=6), 1.7

    def rates(_, f):
        return np.concatenate([-NTK.train @ (f[:N] - Y[:, 0]), -NTK.test_train @ (f[:N] - Y[:, 0])])

    solved = scipy.integrate.solve_ivp(
        rates, (0, t), np.concatenate([start, shift]), rtol=1e-10, atol=1e-12
    )
    got = gp.gradient_flow(NTK, Y[:, 0], t, initial=(start, shift))
    np.testing.assert_allclose(got.mean, solved.y[N:, -1], rtol=1e-7)
    at_start = gp.gradient_flow(NTK, Y[:, 0], 0, initial=(start, shift))
    np.testing.assert_array_equal(at_start.mean, shift)


def mlp(p, x):
    return jnp.tanh(x @ p["w"]) @ p["v"]


def test_a_linearised_network_trained_by_small_steps():
    """Explicit Euler: its error is of the order of the step, and halves with it."""
    params = {"w": jnp.asarray(normal(3, 6)), "v": jnp.asarray(normal(6, 2)) / 3}
    x, x_test, y, t = normal(5, 3), normal(M, 3), jnp.asarray(normal(5, 2)), 0.8
    linear = ntk.linearize(mlp, params)
    slope = jax.grad(lambda p: jnp.sum((linear(p, x) - y) ** 2) / 2)

    @jax.jit
    def trained(steps):
        def step(_, p):
            return jax.tree.map(lambda a, b: a - t / steps * b, p, slope(p))

        return linear(jax.lax.fori_loop(0, steps, step, params), x_test)

    kernels = (ntk.empirical_ntk(mlp, params, x), ntk.empirical_ntk(mlp, params, x_test, x))
    initial = (mlp(params, x), mlp(params, x_test))
    got = gp.gradient_flow(kernels, y, t, initial=initial).mean
    errors = [np.linalg.norm(trained(steps) - got) for steps in (2000, 4000)]
    assert errors[1] < 1e-3 * np.linalg.norm(got)
    assert abs(np.log2(errors[0] / errors[1]) - 1) < 0.02


@pytest.mark.parametrize("shared", [True, False])
def test_an_ntk_between_outputs(shared):
    """One NNGP kernel for all outputs is that kernel times the identity."""

    def unflat(kernel, a, b):
        return kernel.reshape(a, 2, b, 2).transpose(0, 2, 1, 3)

    flat = joint(2 * N, 2 * M, 40, 3)
    sizes = ((N, N), (M, N), (M, M))
    whole = tuple(unflat(k, *s) for k, s in zip(flat, sizes, strict=True))
    expected_nngp = gp.Kernels(*(np.kron(k, np.eye(2)) for k in NNGP))
    nngp = NNGP
    if not shared:
        expected_nngp = joint(2 * N, 2 * M, 33, 4)
        nngp = tuple(unflat(k, *s) for k, s in zip(expected_nngp, sizes, strict=True))
    mean = (exponential(flat, 0.9)[1] @ Y.ravel()).reshape(M, 2)
    covariance = unflat(ensemble(flat, expected_nngp, 0.9), M, M)
    got = gp.gradient_flow(whole, Y, 0.9, nngp=nngp, get="covariance")
    np.testing.assert_allclose(got.mean, mean, rtol=1e-8)
    np.testing.assert_allclose(got.covariance, covariance, rtol=1e-7, atol=1e-10)
    variance = np.einsum("aabb->ab", covariance)
    diagonal = np.diag(NNGP.test) if shared else np.einsum("aabb->ab", nngp[2])
    alone = gp.gradient_flow(whole, Y, 0.9, nngp=(*nngp[:2], diagonal), get="variance")
    for result in (got, alone):
        np.testing.assert_allclose(result.variance, variance, rtol=1e-7)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("t", TIMES[1:])
def test_singular_kernels(t, dtype):
    """Rank 5 on 8 points, two of them one: at infinity, the least squares of least norm."""
    rank, n = 5, N + 1
    features = normal(n + M, rank, seed=7)
    features[N] = features[0]
    kernel = features @ features.T
    single = gp.Kernels(jnp.asarray(kernel[:n, :n], dtype), jnp.asarray(kernel[n:, :n], dtype))
    y = normal(n)
    got = gp.gradient_flow(single, y, t)
    assert got.ok
    assert got.mean.dtype == dtype
    # In the weights, where the problem has full rank.
    square = features[:n].T @ features[:n]
    rest = np.zeros((rank, rank)) if np.isinf(t) else scipy.linalg.expm(-t * square)
    weights = np.linalg.solve(square, (np.eye(rank) - rest) @ features[:n].T @ y)
    tolerance = 1e-4 if dtype == jnp.float32 else 1e-9
    np.testing.assert_allclose(got.mean, features[n:] @ weights, rtol=tolerance, atol=tolerance)


def test_float32_covariance_one_point_and_any_units():
    single = gp.Kernels(*(np.float32(k) for k in NTK))
    nngp = gp.Kernels(*(np.float32(k) for k in NNGP))
    got = gp.gradient_flow(single, Y, 2.0, nngp=nngp, get="covariance")
    expected = gp.gradient_flow(NTK, Y, 2.0, nngp=NNGP, get="covariance")
    assert got.covariance.dtype == jnp.float32
    np.testing.assert_allclose(got.mean, expected.mean, atol=1e-4)
    np.testing.assert_allclose(got.covariance, expected.covariance, atol=1e-4)
    one = gp.gradient_flow(([[2.0]], [[1.5]]), [0.8], 0.4)
    np.testing.assert_allclose(one.mean, [1.5 * 0.8 * (1 - np.exp(-0.8)) / 2])
    for scale in (1e-20, 1e20):
        units = gp.Kernels(*(np.float32(scale * k) for k in NTK))
        scaled = gp.gradient_flow(units, Y, 2.0 / scale)
        np.testing.assert_allclose(scaled.mean, expected.mean, atol=1e-4)


def test_transformations():
    """Times by vmap; derivatives in time, targets and kernels against finite differences."""
    times = jnp.asarray(TIMES)
    together = jax.vmap(lambda t: gp.gradient_flow(NTK, Y, t).mean)(times)
    for t, mean in zip(TIMES, together, strict=True):
        np.testing.assert_allclose(mean, gp.gradient_flow(NTK, Y, t).mean, rtol=1e-9)
    start = {"t": jnp.asarray(0.7), "y": Y, "ntk": NTK[:2], "nngp": NNGP}
    flat, unravel = jax.flatten_util.ravel_pytree(start)

    @jax.jit
    def value(flat):
        p = unravel(flat)
        train = p["ntk"][0]
        got = gp.gradient_flow((train, p["ntk"][1]), p["y"], p["t"], nngp=p["nngp"], get="variance")
        return jnp.sum(jnp.sin(got.mean)) + jnp.sum(jnp.cos(got.variance))

    gradient, h = jax.jit(jax.grad(value))(flat), 1e-5
    direction = jnp.asarray(normal(flat.size)) / 10
    slope = (value(flat + h * direction) - value(flat - h * direction)) / (2 * h)
    np.testing.assert_allclose(gradient @ direction, slope, rtol=1e-6)


@pytest.mark.parametrize("t", [0.7, np.inf])
def test_derivatives_where_eigenvalues_are_equal(t):
    """In the training kernel, of features: a threefold eigenvalue, and a null space."""
    features = np.diag([1.0, 1.0, 1.0, 2.0, 0.5])[:, :4] * 1.3
    features = np.linalg.qr(normal(5, 5))[0] @ features  # rank 4, on 5 points
    test, y, direction = normal(M, 4), normal(5), normal(5, 4) / 5

    @jax.jit
    def value(f):
        return jnp.sum(jnp.sin(gp.gradient_flow((f @ f.T, test @ f.T), y, t).mean))

    h = 1e-5
    slope = (value(features + h * direction) - value(features - h * direction)) / (2 * h)
    got = jnp.sum(jax.jit(jax.grad(value))(jnp.asarray(features)) * direction)
    np.testing.assert_allclose(got, slope, rtol=1e-7)


def test_an_indefinite_kernel_is_named():
    bad = NTK._replace(train=NTK.train - 0.5 * np.eye(N))
    with pytest.raises(gp.NotPositiveDefiniteError, match="not positive semi-definite"):
        gp.gradient_flow(bad, Y, 1.0)
    got = jax.jit(gp.gradient_flow)(bad, Y, 1.0)
    assert not got.ok
    assert np.isfinite(got.mean).all()


def test_bad_input():
    def call(ntk=NTK, y=Y, t=1.0, **settings):
        return lambda: gp.gradient_flow(ntk, y, t, **settings)

    other = joint(N, M + 1, 20, 0)
    bad = [
        (TypeError, r"ntk must be gp.Kernels", call(NTK.train)),
        (ValueError, r"ntk.train must be finite", call((NTK.train * np.nan, NTK.test_train))),
        (ValueError, r"y must have shape \(8,\) or", call(y=Y[1:])),
        (ValueError, r"t must be at least 0 \(jnp.inf for the limit\), got -1", call(t=-1)),
        (ValueError, r"t must be at least 0", call(t=np.nan)),
        (ValueError, r"t must be one real number, got shape \(2,\)", call(t=np.ones(2))),
        (ValueError, r'nngp is needed for get="variance", got None', call(get="variance")),
        (ValueError, r'nngp is for get="variance" or', call(nngp=NNGP)),
        (ValueError, r"get must be one of", call(get="std")),
        (ValueError, r"nngp.test is needed", call(nngp=NNGP[:2], get="variance")),
        (ValueError, r"nngp must be of the points and outputs of ntk, \(4, 8\).*got \(5, 8\)",
         call(nngp=other, get="variance")),
        (ValueError, r"initial\[0\] must have shape \(8, 2\), got \(4, 2\)",
         call(initial=(np.ones((M, 2)), np.ones((M, 2))))),
        (TypeError, r"initial must be .on training", call(initial=Y)),
        (ValueError, r"initial is of one network",
         call(initial=(Y, Y[:M]), nngp=NNGP, get="variance")),
        (TypeError, r"nngp has dtype float32, ntk float64",
         call(nngp=tuple(np.float32(k) for k in NNGP), get="variance")),
        (TypeError, r"ntk.train must be an array, which gradient_flow decomposes, got Opaque",
         call((Opaque(), NTK.test_train))),
    ]  # fmt: skip
    for error, message, function in bad:
        with pytest.raises(error, match=message):
            function()


class Opaque:
    shape = (N, N)

    def __matmul__(self, v):
        return v
