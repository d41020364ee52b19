"""Derivatives of dual activations: Price's theorem, finite differences, and the singular points."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dual_cases import ALL, JUMPS, PIECEWISE_LINEAR, QUADRATURE, SMOOTH

from ntk import _duals as duals

INTERIOR = [np.array(part) for part in
            ([0.2, -0.3, 0.0, 0.55, -0.9], [0.5, 1.0, 1.4, 0.6, 1.0], [0.8, 0.3, 1.0, 0.6, 1.1])]  # fmt: skip


def partials(function, arguments, order=1):
    """Derivatives of an elementwise function in each of its three arguments, element by element."""
    derivative = jax.jacrev(function, (0, 1, 2))
    for _ in range(order - 1):
        derivative = jax.jacfwd(derivative, (0, 1, 2))
    return jax.jit(jax.vmap(derivative))(*arguments)


def differences(function, arguments, step=1e-5):
    """Central differences of an elementwise function in each of its arguments."""
    result = []
    for k in range(3):
        up, down = list(arguments), list(arguments)
        up[k], down[k] = up[k] + step, down[k] - step
        plus, minus = np.asarray(function(*up)), np.asarray(function(*down))
        result.append((plus - minus) / (2 * step))
    return result


@pytest.mark.parametrize("name", ALL)
def test_price(name):
    """The derivative in c of ``E[phi phi]`` is ``E[phi' phi']``."""
    dual = ALL[name][0]
    slope = partials(dual.value, INTERIOR)[0]
    tolerance = 1e-12 if dual.closed_form else 1e-9
    np.testing.assert_allclose(slope, dual(*INTERIOR)[1], rtol=tolerance, atol=1e-14)


@pytest.mark.parametrize("name", {**ALL, **JUMPS})
@pytest.mark.parametrize("part", [0, 1])
def test_first_derivatives(name, part):
    dual = {**ALL, **JUMPS}[name][0]
    if part == 1 and not dual.has_derivative:
        return
    function = dual.value if part == 0 else lambda *a: dual(*a)[1]
    got, expected = partials(function, INTERIOR), differences(function, INTERIOR)
    for slope, difference in zip(got, expected, strict=True):
        np.testing.assert_allclose(slope, difference, rtol=2e-8, atol=2e-9)


@pytest.mark.parametrize("name", ALL)
def test_second_derivatives(name):
    """Of ``E[phi phi]``, against differences of its first."""
    dual = ALL[name][0]
    got = partials(dual.value, INTERIOR, order=2)
    for k in range(3):
        expected = differences(lambda *a, k=k: partials(dual.value, a)[k], INTERIOR)
        for slope, difference in zip(got[k], expected, strict=True):
            np.testing.assert_allclose(slope, difference, rtol=1e-7, atol=2e-8)


@pytest.mark.parametrize("name", {**ALL, **JUMPS})
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


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("pair", singular_pairs())
def test_gradients_in_inputs(name, pair):
    """Of NNGP and NTK, against central differences with a step on either side of a kink.

    An angle has a kink where vectors are parallel: its central difference is 0, up to its curvature.
    """
    x1, x2 = singular_pairs()[pair]
    dual = ALL[name][0]
    kernel = jax.jit(functools.partial(kernels, dual))
    got = np.asarray(jax.jit(jax.jacrev(functools.partial(kernels, dual)))(x1, x2))
    steps = 1e-5 * np.eye(6)
    plus, minus = (jax.vmap(kernel, (0, None))(x1 + s * steps, x2) for s in (1, -1))
    expected = (np.asarray(plus) - np.asarray(minus)).T / 2e-5
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=2e-5 if pair != "generic" else 1e-8)


@pytest.mark.parametrize("name", {**ALL, **JUMPS})
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_derivatives_are_finite(name, dtype):
    """First, second and third, everywhere on the boundary and at the ends of the range."""
    dual = {**ALL, **JUMPS}[name][0]
    small = 1e-12 if dtype == np.float32 else 1e-100
    q1, q2 = np.array([(1, 1), (0.3, 1.1), (0, 0.7), (0.7, 0), (0, 0), (small, small)], dtype).T
    arguments = [np.concatenate([part, part, part * dtype(1 - np.finfo(dtype).eps)])
                 for part in (np.sqrt(q1 * q2), q1, q2)]  # fmt: skip
    arguments[0][6:12] *= -1
    both = (lambda *a: jnp.stack(dual(*a))) if dual.has_derivative else dual.value
    orders = (1, 2, 3) if name in ("relu", "gelu", "sin") else (1, 2)
    for order in orders:
        for leaf in jax.tree.leaves(partials(both, arguments, order)):
            assert leaf.dtype == dtype
            assert np.all(np.isfinite(leaf))


def test_what_is_returned_at_singular_points():
    """Of relu: slopes 1/2, 0 and 1/4 at theta = 0, pi and a variance of zero, nothing for 1 / s."""
    c, q1, q2 = np.array([(1.0, 1, 1), (-1, 1, 1), (0, 0, 1), (0, 0, 0)]).T
    in_c, in_q1, in_q2 = partials(duals.relu.value, (c, q1, q2))
    np.testing.assert_allclose(in_c, [0.5, 0, 0.25, 0.25], atol=1e-16)
    np.testing.assert_array_equal(np.stack([in_q1, in_q2]), 0)
    np.testing.assert_array_equal(partials(lambda *a: duals.relu(*a)[1], (c, q1, q2)), 0)
    q = np.array([0.0, 2.0])
    np.testing.assert_array_equal(duals.relu.diagonal(q), [q / 2, [0.5, 0.5]])


def test_angle_near_parallel():
    """The derivative of relu's second moment in c is ``1 / (2 pi s)`` down to s of 1e-7."""
    theta = 10.0 ** np.arange(-7, 0)
    got = partials(lambda *a: duals.relu(*a)[1], (np.cos(theta), np.ones(7), np.ones(7)))[0]
    s = np.sqrt((1 - np.cos(theta)) * (1 + np.cos(theta)))
    np.testing.assert_allclose(got, 1 / (2 * math.pi * s), rtol=1e-12)


def test_kinks_by_quadrature():
    """Derivatives in variances of a callable with a kink do not use its second derivative."""
    dual = duals.elementwise(lambda x: jnp.maximum(x, 0))
    got, expected = partials(dual.value, INTERIOR), partials(duals.relu.value, INTERIOR)
    for slope, closed in zip(got, expected, strict=True):
        np.testing.assert_allclose(slope, closed, atol=1e-2)


@pytest.mark.parametrize("name", {**SMOOTH, **QUADRATURE, **PIECEWISE_LINEAR})
def test_forward_mode_equals_reverse_mode(name):
    dual = ALL[name][0]
    c, q1, q2 = INTERIOR[0][:4].reshape(2, 2), INTERIOR[1][:2, None], INTERIOR[2][None, :2]
    tangents = tuple(np.random.default_rng(1).normal(size=a.shape) for a in (c, q1, q2))
    _, forward = jax.jvp(lambda *a: jnp.stack(dual(*a)), (c, q1, q2), tangents)
    _, pull = jax.vjp(lambda *a: jnp.stack(dual(*a)), c, q1, q2)
    cotangent = np.random.default_rng(2).normal(size=(2, 2, 2))
    reverse = sum(np.sum(a * b) for a, b in zip(pull(cotangent), tangents, strict=True))
    np.testing.assert_allclose(np.sum(cotangent * forward), reverse, rtol=1e-10)
