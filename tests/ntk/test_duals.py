"""Dual activations against independent quadrature, published closed forms and Monte Carlo."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats as st
from dual_cases import (
    ALL,
    JUMPS,
    NODES,
    PIECEWISE_LINEAR,
    QUADRATURE,
    SMOOTH,
    WEIGHTS,
    expectation,
    grid,
)

import ntk
from ntk import _duals as duals
from ntk._duals._determinant import determinant


@pytest.mark.parametrize("name", {**SMOOTH, **QUADRATURE})
def test_smooth_activations_equal_quadrature_in_the_plane(name):
    dual, phi, slope = ALL[name]
    c, q1, q2 = grid()
    tolerance = 1e-12 if dual.closed_form else 1e-9
    for got, f in zip(dual(c, q1, q2), (phi, slope), strict=True):
        expected = expectation(f, c, q1, q2)
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=1e-15)


def angle(c, q1, q2):
    return np.arccos(np.clip(c / np.sqrt(q1 * q2), -1, 1))


def relu_closed(c, q1, q2):
    """Cho and Saul 2009, eq. 6, halved twice: theirs has the step function's factor 2."""
    theta = angle(c, q1, q2)
    j1 = np.sin(theta) + (np.pi - theta) * np.cos(theta)
    return np.sqrt(q1 * q2) * j1 / (2 * np.pi), (np.pi - theta) / (2 * np.pi)


def leaky_closed(c, q1, q2):
    """``leaky(x) = relu(x) - 0.2 relu(-x)``: relu's at theta, and at pi - theta with -0.2."""
    (same, slope), (opposite, other) = relu_closed(c, q1, q2), relu_closed(-c, q1, q2)
    return 1.04 * same - 0.4 * opposite, 1.04 * slope + 0.4 * other


def abs_closed(c, q1, q2):
    (same, slope), (opposite, other) = relu_closed(c, q1, q2), relu_closed(-c, q1, q2)
    return 2 * same + 2 * opposite, 2 * slope - 2 * other


def erf_closed(c, q1, q2):
    """Williams 1997, eq. 11, and its derivative in c."""
    scale = np.sqrt((1 + 2 * q1) * (1 + 2 * q2))
    sine = 2 * c / scale
    return 2 / np.pi * np.arcsin(sine), 4 / np.pi / scale / np.sqrt(1 - sine**2)


def gelu_closed(c, q1, q2):
    """Tsuchida et al. 2021, Proposition 4, in the correlation r and standard deviations."""
    s1, s2, r = np.sqrt(q1), np.sqrt(q2), c / np.sqrt(q1 * q2)
    a = (1 + q1) * (1 + q2)
    b = 1 + q1 + q2 + q1 * q2 * (1 - r**2)
    inner = r * np.arctan(s1 * s2 * r / np.sqrt(b)) / (2 * np.pi)
    inner += s1 * s2 * (r**2 + b) / (2 * np.pi * a * np.sqrt(b))
    return s1 * s2 * (r / 4 + inner), None


PUBLISHED = {
    "relu": relu_closed,
    "leaky_relu": leaky_closed,
    "abs": abs_closed,
    "erf": erf_closed,
    "gelu": gelu_closed,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_closed_forms(name):
    c, q1, q2 = grid()
    # Away from parallel vectors, where arccos itself loses half of the digits.
    keep = np.abs(c) < 0.995 * np.sqrt(q1 * q2)
    arguments = c[keep], q1[keep], q2[keep]
    for got, expected in zip(ALL[name][0](*arguments), PUBLISHED[name](*arguments), strict=True):
        if expected is not None:
            np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", PIECEWISE_LINEAR)
@pytest.mark.parametrize("r", [-0.9999, -0.6, 0.25, 0.9999])
def test_piecewise_linear_by_conditional_integration(name, r):
    """``E[phi(v) | u]`` of a piecewise linear phi is known; over u by adaptive quadrature."""
    dual, phi, slope = PIECEWISE_LINEAR[name]
    q1, q2 = 0.7, 1.9
    above, below = phi(1.0), -phi(-1.0)
    sd = math.sqrt(q2 * (1 - r**2))

    def given(u):
        mean = r * math.sqrt(q2 / q1) * u
        upper = mean * st.norm.cdf(mean / sd) + sd * st.norm.pdf(mean / sd)
        return above * upper + below * (mean - upper), st.norm.cdf(mean / sd)

    def value(u):
        return phi(u) * given(u)[0] * st.norm.pdf(u, scale=math.sqrt(q1))

    def derivative(u):
        probability = given(u)[1]
        mean = slope(1.0) * probability + slope(-1.0) * (1 - probability)
        return slope(u) * mean * st.norm.pdf(u, scale=math.sqrt(q1))

    points = np.array([-10, -1e-2, 0, 1e-2, 10]) * math.sqrt(q1)
    for got, f in zip(dual(r * math.sqrt(q1 * q2), q1, q2), (value, derivative), strict=True):
        pieces = [scipy.integrate.quad(f, *ends, epsabs=1e-14, epsrel=1e-13)[0]
                  for ends in itertools.pairwise(points)]  # fmt: skip
        np.testing.assert_allclose(got, sum(pieces), rtol=1e-11, atol=1e-12)


@functools.cache
def draws(r, q1, q2):
    z = np.random.default_rng(0).normal(size=(2, 10**6))
    return math.sqrt(q1) * z[0], math.sqrt(q2) * (r * z[0] + math.sqrt(1 - r**2) * z[1])


@pytest.mark.parametrize("name", {**ALL, **JUMPS})
@pytest.mark.parametrize("r", [-0.5, 0.9])
def test_monte_carlo(name, r):
    """Of 4.5 standard errors one in 150,000 is beyond."""
    q1, q2 = 0.8, 1.2
    u, v = draws(r, q1, q2)
    dual, phi, slope = {**ALL, **JUMPS}[name]
    arguments = r * math.sqrt(q1 * q2), q1, q2
    got = dual(*arguments) if dual.has_derivative else (dual.value(*arguments),)
    for mean, f in zip(got, (phi, slope), strict=False):
        products = f(u) * f(v)
        error = products.std() / math.sqrt(products.size)
        assert abs(products.mean() - float(mean)) <= 4.5 * error + 1e-12


@pytest.mark.optimized
@pytest.mark.parametrize("name", ALL)
def test_diagonal(name):
    """Of u = v: the same as a call, and as an integral over u."""
    dual, phi, slope = ALL[name]
    q = np.array([1e-3, 0.4, 1.0, 1.5])
    tolerance = 1e-12 if dual.closed_form else 1e-9
    for got, called, f in zip(dual.diagonal(q), dual(q, q, q), (phi, slope), strict=True):
        np.testing.assert_allclose(got, called, rtol=tolerance, atol=1e-15)
        if name not in PIECEWISE_LINEAR:
            np.testing.assert_allclose(got, expectation(f, q, q, q), rtol=tolerance, atol=1e-15)
    # Two programs of one formula.
    np.testing.assert_array_max_ulp(dual.diagonal_value(q), dual.diagonal(q)[0], 4)


@pytest.mark.parametrize("name", {**SMOOTH, **QUADRATURE})
def test_a_variance_of_zero(name):
    """``phi(0) E[phi(v)]``, and the same of phi'."""
    dual, phi, slope = ALL[name]
    for got, other, f in zip(dual(0.0, 0.0, 0.6), dual(0.0, 0.6, 0.0), (phi, slope), strict=True):
        mean = WEIGHTS @ f(math.sqrt(0.6) * NODES)
        np.testing.assert_allclose(got, f(np.zeros(1))[0] * mean, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(other, got, rtol=1e-14, atol=1e-16)
    for got, f in zip(dual(0.0, 0.0, 0.0), (phi, slope), strict=True):
        np.testing.assert_allclose(got, f(np.zeros(1))[0] ** 2, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", {**ALL, **JUMPS})
def test_symmetry_and_positive_definiteness(name):
    dual, phi, _ = {**ALL, **JUMPS}[name]
    x = np.random.default_rng(1).normal(size=(12, 8))
    x[5] = x[4]
    x[6] = -x[4]
    x[7] = 0
    c, q = x @ x.T / 8, (x**2).sum(1) / 8
    c[np.diag_indices(12)] = q
    kernel = np.asarray(dual.value(c, q[:, None], q[None]))
    np.testing.assert_allclose(kernel, kernel.T, rtol=1e-13, atol=1e-15)
    tolerance = 1e-12 if name not in JUMPS else 1e-6
    np.testing.assert_allclose(np.diag(kernel), dual.diagonal_value(q), rtol=tolerance)
    assert np.linalg.eigvalsh(kernel)[0] > -1e-13 * np.trace(kernel)
    np.testing.assert_allclose(dual.activation(jnp.asarray(x)), phi(x), rtol=1e-13, atol=1e-15)


def test_of_jumps():
    """Cho and Saul 2009, order 0: ``1 - theta / pi`` for the step function with a factor 2."""
    c, q1, q2 = grid()
    keep = np.abs(c) < 0.995 * np.sqrt(q1 * q2)
    arguments = c[keep], q1[keep], q2[keep]
    theta = angle(*arguments)
    np.testing.assert_allclose(
        duals.step.value(*arguments), (1 - theta / np.pi) / 2, rtol=1e-12, atol=1e-15
    )
    np.testing.assert_allclose(
        duals.sign.value(*arguments), 1 - 2 * theta / np.pi, rtol=1e-12, atol=1e-15
    )
    np.testing.assert_array_equal(duals.sign.diagonal_value(jnp.array([0.0, 1e-300, 3])), [0, 1, 1])
    np.testing.assert_array_equal(duals.step.diagonal_value(jnp.array([0.0, 2.0])), [0.25, 0.5])
    for call in (lambda: duals.sign(0.1, 1.0, 1.0), lambda: duals.step.diagonal(1.0)):
        with pytest.raises(ValueError, match="has a jump"):
            call()


def test_determinant_without_cancellation():
    """Against the exact product of the float32 arguments, and exactly zero for equal ones."""
    rng = np.random.default_rng(2)
    q1 = rng.uniform(0.3, 3, 5000).astype(np.float32)
    q2 = rng.uniform(0.3, 3, 5000).astype(np.float32)
    c = (np.sqrt(q1.astype(float) * q2) * (1 - 10 ** rng.uniform(-9, -2, 5000))).astype(np.float32)
    exact = np.maximum(q1.astype(float) * q2 - c.astype(float) ** 2, 0)
    got = np.asarray(jax.jit(determinant)(c, q1, q2), float)
    eps = np.finfo(np.float32).eps
    assert np.all(np.abs(got - exact) <= 2 * eps * exact + 4 * eps**1.5 * q1 * q2)
    for dtype in (np.float32, np.float64):
        equal = rng.uniform(0.3, 3, 1000).astype(dtype)
        np.testing.assert_array_equal(jax.jit(determinant)(equal, equal, equal), 0)


def near_parallel(dtype):
    """Covariances with angles from 1e-7 to 1 and from pi - 1 to pi, exact in ``dtype``."""
    rng = np.random.default_rng(3)
    theta = np.concatenate([[0], 10 ** rng.uniform(-7, 0, 2000)])
    theta = np.concatenate([theta, np.pi - theta])
    q1, q2 = rng.uniform(0.3, 3, (2, theta.size)).astype(dtype)
    return (np.cos(theta) * np.sqrt(q1.astype(float) * q2)).astype(dtype), q1, q2


@pytest.mark.parametrize("name", PIECEWISE_LINEAR)
def test_single_precision_near_parallel(name):
    """For float32 arguments as they are; the angle's own sensitivity to them is not at issue."""
    dual = PIECEWISE_LINEAR[name][0]
    c, q1, q2 = near_parallel(np.float32)
    single = dual(c, q1, q2)
    double = dual(*(part.astype(np.float64) for part in (c, q1, q2)))
    scale = np.sqrt(q1.astype(float) * q2)
    assert all(part.dtype == jnp.float32 for part in single)
    assert np.max(np.abs(np.asarray(single[0], float) - double[0]) / scale) < 4e-7
    assert np.max(np.abs(np.asarray(single[1], float) - double[1])) < 1e-6


@pytest.mark.optimized
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_arcsine_family_where_products_of_variances_are_no_numbers(dtype):
    """Of large variances, erf is a sign, the distribution function a step, and gelu relu."""
    largest, eps = (1e30, 1e-6) if dtype == np.float32 else (1e200, 1e-14)
    for ratio, rho in ((1.0, 1.0), (1.0, 0.5), (1e-6, -0.9)):
        q1, q2, c = (dtype(largest * factor) for factor in (1.0, ratio, rho * ratio**0.5))
        for dual, limit in (
            (duals.erf, duals.sign),
            (duals.normal_cdf, duals.step),
            (duals.gelu, duals.relu),
        ):
            value, slope = dual(c, q1, q2)
            np.testing.assert_allclose(value, limit.value(c, q1, q2), rtol=eps)
            assert np.isfinite(slope)
        np.testing.assert_allclose(slope, duals.relu(c, q1, q2)[1], rtol=eps)


@pytest.mark.parametrize("name", PIECEWISE_LINEAR)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_identical_and_opposite_inputs(name, dtype):
    """No angle out of rounding: identical inputs have theta = 0, also at the ends of the range."""
    dual, phi, slope = PIECEWISE_LINEAR[name]
    tiny, largest = (1e-30, 1e30) if dtype == np.float32 else (1e-290, 1e290)
    q = np.array([1.0, 0.1, 1 / 3, 17.3, tiny, largest], dtype)
    for sign in (1, -1):
        value, derivative = dual(dtype(sign) * q, q, q)
        eps = float(np.finfo(dtype).eps)
        v = (phi(1.0) * phi(1.0 * sign) + phi(-1.0) * phi(-1.0 * sign)) / 2
        d = (slope(1.0) * slope(1.0 * sign) + slope(-1.0) * slope(-1.0 * sign)) / 2
        np.testing.assert_allclose(value / q, v, rtol=2 * eps, atol=2 * eps)
        np.testing.assert_allclose(derivative, d, rtol=2 * eps, atol=2 * eps)


@pytest.mark.parametrize("name", ["erf", "normal_cdf", "gelu", "sin", "cos", "rbf"])
def test_single_precision_at_large_variances(name):
    """Close inputs of variance up to 1000: what float32 holds of the arguments is kept."""
    rng = np.random.default_rng(4)
    q1 = 10 ** rng.uniform(-2, 3, 3000)
    q2 = q1 * (1 + rng.uniform(-1, 1, 3000) / (1 + q1))
    c = np.sqrt(q1 * q2) * np.cos(rng.uniform(0, 1, 3000) / (1 + np.sqrt(q1)))
    c, q1, q2 = (part.astype(np.float32) for part in (c, q1, q2))
    single = ALL[name][0](c, q1, q2)
    double = ALL[name][0](*(part.astype(np.float64) for part in (c, q1, q2)))
    for got, expected in zip(single, double, strict=True):
        np.testing.assert_allclose(got, expected, rtol=4e-6)


def test_degree_of_quadrature():
    """More terms, smaller errors; at correlation 1 there is none."""
    c, q = np.linspace(-5, 5, 21), np.full(21, 5.0)
    expected = expectation(lambda x: np.cosh(x) ** -2.0, c, q, q)
    errors = []
    for degree in (25, 50, 100):
        derivative = duals.elementwise(jnp.tanh, degree)(c, q, q)[1]
        errors.append(np.max(np.abs(derivative - expected)))
        np.testing.assert_allclose(derivative[-1], expected[-1], rtol=1e-9)
    assert errors[0] < 1e-2
    assert all(later < earlier / 3 for earlier, later in itertools.pairwise(errors))
    given = duals.elementwise(jnp.tanh, derivative=lambda x: 1 - jnp.tanh(x) ** 2)
    np.testing.assert_allclose(given(c, q, q), duals.dual_of("tanh")(c, q, q), rtol=1e-12)


def test_quadrature_of_a_kink():
    c, q1, q2 = grid()
    got, expected = duals.elementwise(lambda x: jnp.maximum(x, 0))(c, q1, q2), duals.relu(c, q1, q2)
    np.testing.assert_allclose(got[0], expected[0], atol=1e-3)
    np.testing.assert_allclose(got[1], expected[1], atol=2e-2)


@pytest.mark.parametrize("name", ["relu", "gelu", "tanh"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_shapes_transformations_and_dtypes(name, dtype):
    dual = duals.dual_of(name)
    x = jnp.asarray(np.random.default_rng(5).normal(size=(3, 4, 2, 6)), dtype)
    c = jnp.einsum("iaxd,jbyd->ijabxy", x[:2, :2], x[:, 2:]) / 6
    q1, q2 = (jnp.sum(part**2, -1) / 6 for part in (x[:2, :2], x[:, 2:]))
    q1, q2 = q1[:, None, :, None, :, None], q2[None, :, None, :, None, :]
    value, derivative = dual(c, q1, q2)
    assert value.shape == derivative.shape == c.shape
    assert value.dtype == derivative.dtype == dtype
    tolerance = 50 * float(jnp.finfo(dtype).eps)
    compiled = jax.jit(dual)(c, q1, q2)
    np.testing.assert_allclose(compiled, (value, derivative), rtol=tolerance, atol=tolerance)
    every = [part.ravel() for part in jnp.broadcast_arrays(c, q1, q2)]
    mapped = jax.vmap(dual)(*every)
    np.testing.assert_allclose(mapped[1], derivative.ravel(), rtol=tolerance, atol=tolerance)
    one = dual(c[0, 0, 0, 0, 0, 0], float(q1[0, 0, 0, 0, 0, 0]), q2[0, 0, 0, 0, 0, 0])
    assert one[0].shape == ()
    assert one[0].dtype == dtype
    np.testing.assert_allclose(one[0], value[0, 0, 0, 0, 0, 0], rtol=tolerance)
    alone = dual.value(c[0, 0, 0, 0], q1[0, 0, 0, 0, :, 0][:, None], q2[0, 0, 0, 0, 0])
    np.testing.assert_allclose(alone, value[0, 0, 0, 0], rtol=tolerance, atol=tolerance)
    assert all(part.shape == (2, 1) for part in dual.diagonal(q1[0, 0, :, :, 0, 0]))


@pytest.mark.optimized
@pytest.mark.parametrize(("name", "arrays"), [("relu", 0), ("gelu", 0), ("tanh", 4)])
def test_memory(name, arrays):
    """Two results and no array beside them; of a series its two sums, twice in the loop."""
    n = 512
    dual = duals.dual_of(name)
    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((n, n), (n, 1), (1, n))]
    compiled = jax.jit(dual).lower(*shapes).compile()
    small = 4 * n * 1200
    assert compiled.memory_analysis().temp_size_in_bytes <= arrays * 4 * n * n + 3 * small


def test_lookup():
    for name, phi in ntk.ACTIVATIONS.items():
        dual = duals.dual_of(name)
        assert dual == duals.dual_of(phi)
        assert dual.closed_form == (name != "tanh")
        x = jnp.linspace(-3, 3, 7)
        np.testing.assert_allclose(dual.activation(x), phi(x), rtol=1e-14, atol=1e-16)
    partial = functools.partial
    for function, expected in [
        (jax.nn.relu, duals.relu), (jnp.abs, duals.absolute_value), (jnp.sin, duals.sin),
        (jnp.cos, duals.cos), (jnp.exp, duals.exp), (jax.lax.erf, duals.erf),
        (jax.scipy.special.erf, duals.erf), (jax.scipy.special.ndtr, duals.normal_cdf),
        (jax.nn.leaky_relu, duals.leaky_relu(0.01)), (jnp.square, duals.monomial(2)),
        (jax.nn.identity, duals.identity), (jnp.sign, duals.sign),
        (partial(jax.nn.leaky_relu, negative_slope=0.3), duals.leaky_relu(0.3)),
        (partial(jax.nn.gelu, approximate=False), duals.gelu),
        (duals.rbf(2.0).activation, duals.rbf(2)), (duals.hermite(3), duals.hermite(3)),
    ]:  # fmt: skip
        assert duals.dual_of(function) == expected
    for function in (jnp.tanh, jax.nn.gelu, partial(jax.nn.gelu, approximate=True), jax.nn.silu):
        dual = duals.dual_of(function)
        assert not dual.closed_form
        assert dual == duals.dual_of(function)
        assert hash(dual) == hash(duals.dual_of(function))


def test_bad_input():
    c = jnp.ones((3, 4))
    bad = [
        (TypeError, "q1 must be float32 or float64, got int", lambda: duals.relu(0.5, 1, 1.0)),
        (TypeError, "c must be .* got int64", lambda: duals.erf(np.ones(3, int), 1.0, 1.0)),
        (TypeError, "q must be .* got bfloat16",
         lambda: duals.relu.diagonal(jnp.ones(2, jnp.bfloat16))),
        (TypeError, "q2 must be .* got complex", lambda: duals.relu(c, 1.0, jnp.array(1j))),
        (ValueError, r"got c \(3, 4\), q1 \(4, 1\), q2 \(1, 4\)",
         lambda: duals.relu(c, c[0][:, None], c[:1])),
        (ValueError, "unknown activation 'softsign'", lambda: duals.dual_of("softsign")),
        (TypeError, "a name or a callable", lambda: duals.dual_of(3)),
        (ValueError, "degree must be .* got 0", lambda: duals.elementwise(jnp.tanh, 0)),
        (ValueError, "degree must be .* got 1001", lambda: duals.elementwise(jnp.tanh, 1001)),
        (ValueError, "degree must be .* got 2.5", lambda: duals.hermite(2.5)),
        (ValueError, "degree must be .* got -1", lambda: duals.monomial(-1)),
        (ValueError, "degree must be .* got True", lambda: duals.monomial(True)),
        (TypeError, "function must be a function", lambda: duals.elementwise("tanh")),
        (TypeError, "must keep shape", lambda: duals.elementwise(jnp.sum)),
        (TypeError, "must keep shape", lambda: duals.elementwise(lambda x: x > 0)),
        (TypeError, "derivative must", lambda: duals.elementwise(jnp.tanh, derivative=jnp.sum)),
        (ValueError, "every element by itself", lambda: duals.elementwise(jax.nn.softmax)),
        (ValueError, "coefficients must", lambda: duals.polynomial([])),
        (ValueError, "coefficients must", lambda: duals.polynomial([1.0, np.nan])),
        (ValueError, "gamma must be above zero", lambda: duals.rbf(0.0)),
        (ValueError, "negative_slope must be", lambda: duals.leaky_relu(np.inf)),
    ]  # fmt: skip
    for error, message, call in bad:
        with pytest.raises(error, match=message):
            call()


def test_not_a_number_stays_one():
    for dual in (duals.relu, duals.gelu, duals.sin, duals.dual_of("tanh")):
        assert all(np.isnan(part) for part in dual(jnp.nan, 1.0, 1.0))
        assert all(np.isnan(part) for part in dual(0.5, jnp.nan, 1.0))
