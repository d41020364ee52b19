"""Derivatives of dual activations: Price's theorem, finite differences, and the singular points."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dual_cases import ALL, JUMPS, PIECEWISE_LINEAR, QUADRATURE, SMOOTH

from ntk import _duals as duals

CLOSED = {**SMOOTH, **PIECEWISE_LINEAR}
# The quadrature's derivatives are one code for all functions.
TESTED = {**CLOSED, "tanh": QUADRATURE["tanh"]}
INTERIOR = tuple(
    np.array(part)
    for part in (
        [0.2, -0.3, 0.0, 0.55, -0.9],
        [0.5, 1.0, 1.4, 0.6, 1.0],
        [0.8, 0.3, 1.0, 0.6, 1.1],
    )
)

pytestmark = pytest.mark.slow


def moments(dual):
    """Both expectations in one array; of an activation with a jump, the one that exists."""
    return (lambda *a: jnp.stack(dual(*a))) if dual.has_derivative else dual.value


def partials(function, order=1):
    """Derivatives of an elementwise function in its three arguments, element by element.

    One array: elements, then the function's own axes, then 3 for every order.
    """
    for k in range(order):
        function = _stacked((jax.jacfwd if k else jax.jacrev)(function, (0, 1, 2)))
    return jax.jit(jax.vmap(function))


def _stacked(function):
    return lambda *a: jnp.stack(function(*a), -1)


def differences(function, arguments, step=1e-5):
    """Central differences in each of the three arguments, stacked as the derivatives are."""
    result = []
    for k in range(3):
        up, down = list(arguments), list(arguments)
        up[k], down[k] = up[k] + step, down[k] - step
        result.append((np.asarray(function(*up)) - np.asarray(function(*down))) / (2 * step))
    return np.stack(result, -1)


@pytest.mark.parametrize("name", {**TESTED, **JUMPS})
def test_first_and_second_derivatives(name):
    """Price's theorem, and finite differences of the function and of its derivatives."""
    dual = {**ALL, **JUMPS}[name][0]
    function = moments(dual)
    first = partials(function)
    got = np.asarray(first(*INTERIOR))
    expected = differences(jax.jit(jax.vmap(function)), INTERIOR)
    np.testing.assert_allclose(got, expected, rtol=2e-8, atol=2e-9)
    if dual.has_derivative:
        tolerance = 1e-12 if dual.closed_form else 1e-9
        np.testing.assert_allclose(got[:, 0, 0], dual(*INTERIOR)[1], rtol=tolerance, atol=1e-14)
    second = partials(function, order=2)(*INTERIOR)
    np.testing.assert_allclose(second, differences(first, INTERIOR), rtol=1e-7, atol=2e-8)


@pytest.mark.parametrize("name", {**TESTED, **JUMPS})
def test_diagonal_derivative(name):
    dual = {**ALL, **JUMPS}[name][0]
    q = np.array([0.2, 0.9, 1.4])
    got = jax.vmap(jax.grad(dual.diagonal_value))(q)
    plus, minus = (np.asarray(dual.diagonal_value(q + s * 1e-5)) for s in (1, -1))
    np.testing.assert_allclose(got, (plus - minus) / 2e-5, rtol=1e-8, atol=1e-9)


def kernels(dual, x1, x2):
    """NNGP and NTK of one hidden layer, of two vectors."""
    c, q1, q2 = (jnp.sum(a * b) / a.size for a, b in ((x1, x2), (x1, x1), (x2, x2)))
    value, derivative = dual(c, q1, q2)
    return jnp.stack([value, value + derivative * c])


@functools.cache
def singular_pairs():
    """Identical, opposite and parallel vectors, one of zeros, both of zeros, and a generic pair."""
    x, y = np.random.default_rng(0).normal(size=(2, 6))
    zero = np.zeros(6)
    return {
        "identical": (x, x), "opposite": (x, -x), "parallel": (x, 2 * x), "zero": (zero, x),
        "to zero": (x, zero), "zeros": (zero, zero), "generic": (x, y),
    }  # fmt: skip


@pytest.mark.parametrize("name", TESTED)
def test_gradients_in_inputs(name):
    """Of NNGP and NTK, against central differences with a step on either side of a kink.

    An angle has a kink where vectors are parallel: its central difference is 0 up to its curvature.
    """
    kernel = functools.partial(kernels, TESTED[name][0])
    gradient = jax.jit(jax.jacrev(kernel))
    along = jax.jit(jax.vmap(kernel, (0, None)))
    for pair, (x1, x2) in singular_pairs().items():
        plus, minus = (np.asarray(along(x1 + s * 1e-5 * np.eye(6), x2)) for s in (1, -1))
        tolerance = 1e-8 if pair == "generic" else 2e-5
        np.testing.assert_allclose(
            gradient(x1, x2), (plus - minus).T / 2e-5, rtol=1e-6, atol=tolerance, err_msg=pair
        )


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "sign", "erf", "gelu", "sin", "tanh"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_derivatives_are_finite(name, dtype):
    """On the boundary and at the ends of the range: the second, of relu also first and third."""
    small = 1e-12 if dtype == np.float32 else 1e-100
    q1, q2 = np.array([(1, 1), (0.3, 1.1), (0, 0.7), (0.7, 0), (0, 0), (small, small)], dtype).T
    within = np.sqrt(q1 * q2) * dtype(1 - np.finfo(dtype).eps)
    c = np.concatenate([np.sqrt(q1 * q2), -np.sqrt(q1 * q2), within])
    function = moments({**ALL, **JUMPS}[name][0])
    for order in (1, 2, 3) if (name, dtype) == ("relu", np.float64) else (2,):
        got = partials(function, order)(c, np.tile(q1, 3), np.tile(q2, 3))
        assert got.dtype == dtype
        assert np.all(np.isfinite(got))


def test_what_is_returned_at_singular_points():
    """Of relu: slopes 1/2, 0 and 1/4 at theta = 0, pi and a variance of zero, nothing for 1 / s."""
    c, q1, q2 = np.array([(1.0, 1, 1), (-1, 1, 1), (0, 0, 1), (0, 0, 0)]).T
    value, derivative = np.moveaxis(np.asarray(partials(moments(duals.relu))(c, q1, q2)), 1, 0)
    np.testing.assert_allclose(value[:, 0], [0.5, 0, 0.25, 0.25], atol=1e-16)
    np.testing.assert_array_equal(value[:, 1:], 0)
    np.testing.assert_array_equal(derivative, 0)
    q = np.array([0.0, 2.0])
    np.testing.assert_array_equal(duals.relu.diagonal(q), [q / 2, [0.5, 0.5]])


def test_angle_near_parallel():
    """The derivative of relu's second moment in c is ``1 / (2 pi s)`` down to s of 1e-7."""
    theta = 10.0 ** np.arange(-7, 0)
    got = partials(moments(duals.relu))(np.cos(theta), np.ones(7), np.ones(7))[:, 1, 0]
    s = np.sqrt((1 - np.cos(theta)) * (1 + np.cos(theta)))
    np.testing.assert_allclose(got, 1 / (2 * math.pi * s), rtol=1e-12)


def test_kinks_by_quadrature():
    """Derivatives in variances of a callable with a kink do not use its second derivative."""
    dual = duals.elementwise(lambda x: jnp.maximum(x, 0))
    expected = partials(duals.relu.value)(*INTERIOR)
    np.testing.assert_allclose(partials(dual.value)(*INTERIOR), expected, atol=1e-2)


@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_forward_mode_equals_reverse_mode(name):
    function = jax.jit(moments(ALL[name][0]))
    c, q1, q2 = INTERIOR[0][:4].reshape(2, 2), INTERIOR[1][:2, None], INTERIOR[2][None, :2]
    tangents = tuple(np.random.default_rng(1).normal(size=a.shape) for a in (c, q1, q2))
    _, forward = jax.jvp(function, (c, q1, q2), tangents)
    _, pull = jax.vjp(function, c, q1, q2)
    cotangent = np.random.default_rng(2).normal(size=(2, 2, 2))
    reverse = sum(np.sum(a * b) for a, b in zip(pull(cotangent), tangents, strict=True))
    np.testing.assert_allclose(np.sum(cotangent * forward), reverse, rtol=1e-10)
