"""Gaussian-process regression against NumPy's inverses and scikit-learn."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

import ntk
from ntk import gp

NOISE = 0.3


def normal(*shape, seed=0):
    return np.random.default_rng(sum(shape) + 31 * seed + len(shape)).normal(size=shape)


@jax.jit
def rbf(x1, x2, variance=1.7, length=1.3):
    squares = jnp.sum((x1[:, None] - x2[None, :]) ** 2, -1)
    return variance * jnp.exp(-squares / (2 * length**2))


X, X_TEST, Y = normal(12, 3), normal(5, 3, seed=1), normal(12, 2, seed=2)
EACH = np.exp(normal(12, seed=3))


@functools.cache
def kernels(dtype=jnp.float64, get="covariance"):
    x, x_test = jnp.asarray(X), jnp.asarray(X_TEST)
    made = gp.kernel_matrices(rbf, x, x_test, get=get)
    return gp.Kernels(*(None if k is None else k.astype(dtype) for k in made))


def joint_oracle(kernels, y, noise):
    """Conditioning as the Schur complement read off the inverse of the joint covariance."""
    train, cross, test = (np.asarray(k, float) for k in kernels)
    n, m = len(train), len(test)
    joint = np.block([[train + np.diag(np.broadcast_to(noise, n)), cross.T], [cross, test]])
    precision = np.linalg.inv(joint + 1e-13 * np.eye(n + m))
    covariance = np.linalg.inv(precision[n:, n:])
    return -covariance @ precision[n:, :n] @ y, covariance


def between_outputs(o=3):
    """A kernel between outputs whose flat matrix is known: ``[a, b, o, o]`` and flat."""
    f = normal(12 + 5, o, 40) / 6

    def both(a, b):
        kernel = np.einsum("ank,bmk->abnm", a, b)
        return kernel, kernel.transpose(0, 2, 1, 3).reshape(len(a) * o, len(b) * o)

    pairs = [both(f[:12], f[:12]), both(f[12:], f[:12]), both(f[12:], f[12:])]
    return gp.Kernels(*(p[0] for p in pairs)), [p[1] for p in pairs]


@pytest.mark.parametrize("noise", [NOISE, EACH])
@pytest.mark.parametrize("settings", [{}, {"method": "cg", "tolerance": 1e-12}])
def test_against_the_joint_gaussian(noise, settings):
    mean, covariance = joint_oracle(kernels(), Y, noise)
    got = gp.posterior(kernels(), Y, noise, get="covariance", **settings)
    np.testing.assert_allclose(got.mean, mean, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(got.covariance, covariance, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(got.variance, np.diag(covariance), rtol=1e-7)
    assert got.report.converged
    assert got.report.residual < 1e-11
    assert (got.report.num_steps > 0) == bool(settings)


@pytest.mark.parametrize("settings", [{}, {"method": "cg", "tolerance": 1e-12}])
def test_what_is_asked_for(settings):
    """From the whole covariance of the test points, its diagonal, or nothing of it."""
    whole = gp.posterior(kernels(), Y, NOISE, get="covariance", **settings)
    for given in (kernels(), kernels(get="variance")):
        got = gp.posterior(given, Y, NOISE, **settings)
        np.testing.assert_allclose(got.variance, whole.variance, rtol=1e-9)
        assert got.covariance is None
    only = gp.posterior(kernels(get="mean"), Y[:, 0], NOISE, get="mean", **settings)
    np.testing.assert_allclose(only.mean, whole.mean[:, 0], rtol=1e-9)
    assert only.variance is only.covariance is None


@pytest.mark.parametrize("noise", [NOISE, EACH])
def test_against_scikit_learn(noise):
    kernel = ConstantKernel(1.7) * RBF(1.3)
    peer = GaussianProcessRegressor(kernel, alpha=noise, optimizer=None).fit(X, Y)
    mean, covariance = peer.predict(X_TEST, return_cov=True)
    got = gp.posterior(kernels(), Y, noise, get="covariance")
    np.testing.assert_allclose(got.mean, mean, rtol=1e-9)
    for output in range(2):
        np.testing.assert_allclose(got.covariance, covariance[..., output], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("settings", [{}, {"method": "cg", "tolerance": 1e-12}])
def test_a_kernel_between_outputs(settings):
    whole, (train, cross, test) = between_outputs()
    y = normal(12, 3)
    inverse = np.linalg.inv(train + np.kron(np.diag(EACH), np.eye(3)))
    got = gp.posterior(whole, y, EACH, get="covariance", **settings)
    np.testing.assert_allclose(got.mean, (cross @ inverse @ y.ravel()).reshape(5, 3), rtol=1e-8)
    covariance = (test - cross @ inverse @ cross.T).reshape(5, 3, 5, 3)
    expected = covariance.transpose(0, 2, 1, 3)
    np.testing.assert_allclose(got.covariance, expected, rtol=1e-8, atol=1e-10)
    variance = np.einsum("aabb->ab", expected)
    np.testing.assert_allclose(got.variance, variance, rtol=1e-8)
    diagonal = np.einsum("aabb->ab", whole.test)
    alone = gp.posterior((*whole[:2], diagonal), y, EACH, **settings)
    np.testing.assert_allclose(alone.variance, variance, rtol=1e-8)


def test_one_output_of_a_kernel_between_outputs():
    """``[n, n, 1, 1]`` with ``y [n]`` or ``[n, 1]`` is one kernel for one output."""
    shared, y = kernels(), Y[:, 0]
    expected = gp.posterior(shared, y, NOISE, get="covariance")
    whole = tuple(k[:, :, None, None] for k in shared)
    flat = gp.posterior(whole, y, NOISE, get="covariance")
    column = gp.posterior(whole, y[:, None], NOISE, get="covariance")
    for got, mean, covariance in (
        (flat, expected.mean, expected.covariance),
        (column, expected.mean[:, None], expected.covariance[:, :, None, None]),
    ):
        np.testing.assert_allclose(got.mean, mean, rtol=1e-12)
        np.testing.assert_allclose(got.covariance, covariance, rtol=1e-12)
    assert flat.variance.shape == (5,)
    assert column.variance.shape == (5, 1)


def test_kernel_matrices_of_a_tree_and_of_outputs():
    def kernel(x1, x2):
        one = rbf(x1["a"], x2["a"]) * (1 + x1["b"][:, None] * x2["b"][None])
        return one[:, :, None, None] * jnp.asarray([[2.0, 0.3], [0.3, 1.0]])[None, None]

    x = {"a": X, "b": normal(12)}
    x_test = {"a": normal(130, 3), "b": normal(130)}
    whole = gp.kernel_matrices(kernel, x, x_test, get="covariance")
    got = gp.kernel_matrices(kernel, x, x_test)
    np.testing.assert_allclose(got.test, np.einsum("aabb->ab", whole.test), rtol=1e-12)
    np.testing.assert_array_equal(got.test_train, kernel(x_test, x))
    assert gp.kernel_matrices(kernel, x, x_test, get="mean").test is None


@pytest.mark.parametrize("settings", [{}, {"method": "cg", "tolerance": 3e-6}])
def test_float32_in_and_out(settings):
    expected = gp.posterior(kernels(), Y, EACH, get="covariance")
    got = gp.posterior(kernels(jnp.float32), Y, EACH, get="covariance", **settings)
    for field in ("mean", "variance", "covariance"):
        array = getattr(got, field)
        assert array.dtype == jnp.float32
        np.testing.assert_allclose(array, getattr(expected, field), rtol=1e-4, atol=1e-5)
    assert got.report.converged


def test_half_precision_is_raised():
    half = gp.posterior(kernels(jnp.bfloat16), Y, EACH)
    assert half.mean.dtype == jnp.float32
    np.testing.assert_allclose(half.mean, gp.posterior(kernels(), Y, EACH).mean, atol=0.05)


def test_one_point():
    got = gp.posterior(([[2.0]], [[1.5]], [3.0]), [0.8], 0.5)
    np.testing.assert_allclose(got.mean, [1.5 * 0.8 / 2.5])
    np.testing.assert_allclose(got.variance, [3 - 1.5**2 / 2.5])


@pytest.mark.parametrize("settings", [{}, {"method": "cg", "tolerance": 1e-13}])
def test_a_duplicate_is_an_observation_of_half_the_noise(settings):
    once = gp.posterior(kernels(), Y, NOISE, **settings)
    x = jnp.concatenate([X, X])
    twice = gp.kernel_matrices(rbf, x, jnp.asarray(X_TEST))
    got = gp.posterior(twice, np.concatenate([Y, Y]), 2 * NOISE, **settings)
    np.testing.assert_allclose(got.mean, once.mean, rtol=1e-9)
    np.testing.assert_allclose(got.variance, once.variance, rtol=1e-9)


def test_interpolation_without_noise():
    """Kernel regression goes through the data, where nothing is left to know."""
    x = jnp.asarray(X)
    got = gp.posterior(gp.kernel_matrices(rbf, x, x), Y, 0)
    np.testing.assert_allclose(got.mean, Y, rtol=1e-8)
    assert (np.asarray(got.variance) >= 0).all()
    np.testing.assert_allclose(got.variance, 0, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-15, 1e15])
def test_any_units(scale):
    """A kernel in the squares of the units of y; a jitter needs none."""
    single = kernels(jnp.float32, "variance")
    expected = gp.posterior(single, Y, NOISE, jitter=1e-3)
    squared = gp.Kernels(*(jnp.float32(scale) ** 2 * k for k in single))
    for settings in ({}, {"method": "cg", "tolerance": 1e-5}):
        got = gp.posterior(squared, scale * Y, scale**2 * NOISE, jitter=1e-3, **settings)
        assert got.report.converged
        np.testing.assert_allclose(got.mean / scale, expected.mean, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(got.variance / scale**2, expected.variance, rtol=1e-3)
    rank = {"method": "cg", "preconditioner_rank": 4}
    alone = gp.posterior(single, scale**2 * Y, NOISE, jitter=1e-3, **rank)
    np.testing.assert_allclose(alone.mean / scale**2, expected.mean, atol=1e-3)


@pytest.mark.parametrize("settings", [{}, {"method": "cg", "tolerance": 1e-12}])
def test_jitter_is_relative_to_the_mean_of_the_diagonal(settings):
    given = kernels()
    got = gp.posterior(given, Y, NOISE, jitter=0.01, **settings)
    added = 0.01 * np.trace(given.train) / 12
    expected = gp.posterior(given, Y, NOISE + added, **settings)
    np.testing.assert_allclose(got.mean, expected.mean, rtol=1e-10)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_not_positive_definite_is_named_and_jitter_explicit(dtype):
    x = jnp.concatenate([X, X[:1]])
    twice = gp.kernel_matrices(rbf, x, jnp.asarray(X_TEST))
    twice = gp.Kernels(*(k.astype(dtype) for k in twice))
    y, compiled = np.concatenate([Y, Y[:1]]), jax.jit(gp.posterior)
    for train in (twice.train, twice.train - 2 * jnp.eye(13, dtype=dtype)):
        given = twice._replace(train=train)
        with pytest.raises(gp.NotPositiveDefiniteError, match=r"kernels.train .* eigenvalues"):
            gp.posterior(given, y, 0)
        assert not compiled(given, y, 0).report.converged
    with pytest.raises(ValueError, match="jitter"):  # the base class of the error
        gp.posterior(twice, y, 0)
    got = gp.posterior(twice, y, 0, jitter=1e-4)
    assert got.report.converged
    assert np.isfinite(got.mean).all()


def test_every_duplicate_is_found():
    """Rounding of a pivot that should be zero does not pass for a pivot."""
    for seed in range(10):
        for dtype in (np.float32, np.float64):
            a = normal(20, 40, seed=seed).astype(dtype)
            a = np.concatenate([a, a[seed % 20 :][:1]])
            with pytest.raises(gp.NotPositiveDefiniteError):
                gp.posterior((a @ a.T, a[:2] @ a.T), normal(21), 0, get="mean")


def test_conjugate_gradients_say_when_they_failed():
    given = kernels()
    got = gp.posterior(given, Y, 1e-4, method="cg", tolerance=1e-10, max_steps=3)
    assert not got.report.converged
    assert got.report.num_steps == 3
    assert got.report.residual > 1e-10
    assert np.isfinite(got.mean).all()
    zero = gp.posterior(given, np.zeros(12), NOISE, method="cg", get="mean")
    assert zero.report.converged
    assert not zero.mean.any()


def test_the_diagonal_preconditioner():
    """Noise over eight decades, and a kernel as small as the least of it."""
    noise = np.logspace(-4, 4, 12)
    given = gp.Kernels(*(1e-4 * k for k in kernels()))
    got = gp.posterior(given, Y, noise, method="cg", tolerance=1e-10)
    assert got.report.converged
    assert got.report.num_steps <= 10  # 31 without
    np.testing.assert_allclose(got.mean, gp.posterior(given, Y, noise).mean, rtol=1e-6)


class Opaque:
    """A symmetric operator that JAX knows nothing of."""

    def __init__(self, matrix):
        self.matrix, self.shape = jnp.asarray(matrix), matrix.shape

    def __matmul__(self, v):
        return self.matrix @ v


def test_operators():
    def mlp(p, x):
        return jnp.tanh(x @ p["w"]) @ p["v"]

    both = np.concatenate([X, X_TEST])
    w, v = normal(3, 8), normal(8, 2)
    h = np.tanh(both @ w)
    slopes = np.einsum("ak,ko->aok", 1 - h**2, v)  # of the outputs by the preactivations
    kernel = np.einsum("ab,aok,bpk->abop", both @ both.T, slopes, slopes)
    kernel += (h @ h.T)[:, :, None, None] * np.eye(2)
    diagonal = np.einsum("aaii->ai", kernel[12:, 12:])
    dense = gp.Kernels(kernel[:12, :12], kernel[12:, :12], diagonal)
    params = {"w": jnp.asarray(w), "v": jnp.asarray(v)}
    expected = gp.posterior(dense, Y, EACH)
    settings = {"method": "cg", "tolerance": 1e-11}
    for operator in (
        ntk.NTKOperator(mlp, params, X),
        Opaque(np.asarray(dense.train).transpose(0, 2, 1, 3).reshape(24, 24)),
    ):
        got = gp.posterior(dense._replace(train=operator), Y, EACH, **settings)
        assert got.report.converged
        np.testing.assert_allclose(got.mean, expected.mean, rtol=1e-7)
        np.testing.assert_allclose(got.variance, expected.variance, rtol=1e-7)
        with pytest.raises(ValueError, match='operator, which needs method="cg"'):
            gp.posterior(dense._replace(train=operator), Y, EACH)
        with pytest.raises(ValueError, match="jitter is relative"):
            gp.posterior(dense._replace(train=operator), Y, EACH, jitter=0.1, **settings)


@pytest.mark.parametrize(
    "settings", [{}, {"method": "cg", "tolerance": 1e-13, "preconditioner_rank": 4}]
)
def test_derivatives_against_finite_differences(settings):
    @jax.jit
    def loss(theta):
        length, variance, noise = theta["length"], theta["variance"], theta["noise"]
        made = gp.kernel_matrices(
            lambda a, b: rbf(a, b, variance, length), theta["x"], jnp.asarray(X_TEST)
        )
        got = gp.posterior(made, theta["y"], noise, jitter=theta["jitter"], **settings)
        return jnp.sum(jnp.sin(got.mean)) + jnp.sum(jnp.log(got.variance))

    theta = {
        "length": jnp.asarray(1.3),
        "variance": jnp.asarray(1.7),
        "noise": jnp.asarray(EACH),
        "x": jnp.asarray(X),
        "y": jnp.asarray(Y),
        "jitter": jnp.asarray(0.01),
    }
    flat, unravel = jax.flatten_util.ravel_pytree(theta)
    gradient = jax.flatten_util.ravel_pytree(jax.jit(jax.grad(loss))(theta))[0]
    for seed in range(3):
        direction, h = normal(flat.size, seed=seed), 1e-5
        slope = (loss(unravel(flat + h * direction)) - loss(unravel(flat - h * direction))) / 2 / h
        np.testing.assert_allclose(gradient @ direction, slope, rtol=1e-5)


def test_under_jit():
    given = kernels()
    got = jax.jit(gp.posterior)(given, Y, EACH)
    expected = gp.posterior(given, Y, EACH)
    np.testing.assert_allclose(got.mean, expected.mean, rtol=1e-10)
    np.testing.assert_allclose(got.variance, expected.variance, rtol=1e-10)


def test_bad_input():
    train, cross, test = kernels()
    nan = jnp.nan

    def call(k=(train, cross, test), y=Y, noise=NOISE, **settings):
        return lambda: gp.posterior(k, y, noise, **settings)

    bad = [
        (TypeError, r"kernels must be gp.Kernels.* got list", call([train, cross, test])),
        (TypeError, r"kernels must be gp.Kernels", call((train,))),
        (ValueError, r"kernels.test_train must have shape .m, n.*got .5,",
         call((train, cross[:, 0]))),
        (ValueError, r"kernels.train must have shape .*\(12, 12\), got \(11, 12\)",
         call((train[1:], cross, test))),
        (ValueError, r"kernels.train must be symmetric",
         call((train.at[0, 1].add(0.1), cross, test))),
        (ValueError, r"kernels.train must be finite", call((train.at[0, 0].set(nan), cross, test))),
        (ValueError, r"kernels.test must be finite", call((train, cross, test * nan))),
        (ValueError, r"kernels.test must have shape \(5, 5\), or \(5,\).*got \(4, 4\)",
         call((train, cross, test[1:, 1:]))),
        (ValueError, r'kernels.test is needed for get="variance"', call((train, cross))),
        (ValueError, r'must be all of it, \(5, 5\), for get="covariance"',
         call((train, cross, jnp.diagonal(test)), get="covariance")),
        (TypeError, r"kernels.train has dtype float32, test_train float64",
         call((train.astype(jnp.float32), cross, test))),
        (TypeError, r"floating point dtype, got int", call((jnp.eye(12, dtype=int), cross, test))),
        (TypeError, r"kernels.train must be an array of real numbers", call((None, cross, test))),
        (ValueError, r"y must have shape \(12,\) or \(12, outputs\).*got \(11, 2\)", call(y=Y[1:])),
        (ValueError, r"y must be finite", call(y=Y * np.inf)),
        (ValueError, r"y is too large for float32", call(kernels(jnp.float32), y=1e50 * Y)),
        (ValueError, r"noise_variance is too large", call(kernels(jnp.float32), noise=1e50)),
        (gp.NotPositiveDefiniteError, r"not positive definite: 0 on its diagonal",
         call((0 * train, cross, test), noise=0, method="cg")),
        (ValueError, r"get must be one of", call(get=np.ones(2))),
        (ValueError, r"noise_variance must be one number or of shape \(12,\), got \(2,\)",
         call(noise=np.ones(2))),
        (ValueError, r"noise_variance is a variance and must be at least 0, got -1",
         call(noise=-1)),
        (ValueError, r"noise_variance must be finite", call(noise=np.nan)),
        (ValueError, r"jitter must be at least 0", call(jitter=-1e-6)),
        (ValueError, r"jitter must be one number", call(jitter=np.ones(12))),
        (ValueError, r"get must be one of 'mean', 'variance', 'covariance', got 'std'",
         call(get="std")),
        (ValueError, r"method must be one of 'cholesky', 'cg', got 'lu'", call(method="lu")),
        (ValueError, r"tolerance must lie between 0 and 1", call(method="cg", tolerance=2)),
        (ValueError, r'tolerance and .* belong to method="cg"', call(tolerance=1e-3)),
        (ValueError, r"max_steps must be an integer", call(method="cg", max_steps=0)),
        (ValueError, r"operator, must have shape \(12, 12\)",
         call((Opaque(np.eye(3)), cross, test), method="cg")),
        (TypeError, r"kernel must be a function kernel\(x1, x2\), got int",
         lambda: gp.kernel_matrices(3, X, X)),
        (ValueError, r"get must be one of", lambda: gp.kernel_matrices(rbf, X, X, get="all")),
    ]  # fmt: skip
    for error, message, function in bad:
        with pytest.raises(error, match=message):
            function()
    whole, _ = between_outputs()
    with pytest.raises(ValueError, match=r"y must have shape \(12, 3\)"):
        gp.posterior(whole, Y, NOISE)


def test_integers_wider_than_those_of_jax():
    y = np.array([2**32 + 1, 2**33, -3])
    with jax.enable_x64(False):
        train = 2 * np.eye(3, dtype=np.float32)
        for given in (y, y.tolist()):
            got = gp.posterior((train, train), given, 2**40, get="mean")
            np.testing.assert_allclose(got.mean, 4 * y / (4 + 2.0**41), rtol=1e-6)
        flow = gp.gradient_flow((train, train), y, 2**40)
        np.testing.assert_allclose(flow.mean, y, rtol=1e-6)
    with pytest.raises(TypeError, match="noise_variance must be an array of real numbers"):
        gp.posterior((train, train), y, 10**400, get="mean")
