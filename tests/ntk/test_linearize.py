"""Taylor polynomials of a network in its parameters against dense derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntk


def normal(*shape, seed=0):
    return np.random.default_rng(sum(shape) + 31 * seed + len(shape)).normal(size=shape)


def mlp(p, x):
    return jnp.tanh(x @ p["w"] + p["b"][None]) @ p["v"]


def point(seed=0, dtype=jnp.float64):
    shapes = {"w": (4, 6), "b": (6,), "v": (6, 3)}
    return {k: jnp.asarray(normal(*s, seed=seed), dtype) for k, s in shapes.items()}


X = normal(5, 4)


def raveled(f, params, x):
    """``f`` of one vector of parameters."""
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    return flat, lambda v: f(unravel(v), x)


def test_linear_is_the_value_and_the_jacobian():
    params, new = point(), point(seed=1)
    flat, f = raveled(mlp, params, X)
    delta = jax.flatten_util.ravel_pytree(new)[0] - flat
    expected = np.asarray(f(flat)) + np.asarray(jax.jacrev(f)(flat)) @ np.asarray(delta)
    linear = ntk.linearize(mlp, params)
    np.testing.assert_allclose(linear(new, X), expected, rtol=1e-12)
    np.testing.assert_allclose(linear(params, X), mlp(params, X), rtol=1e-14)
    np.testing.assert_allclose(jax.jit(linear)(new, X), expected, rtol=1e-12)


def test_the_kernel_of_the_linear_network_is_that_of_the_network():
    """At any parameters: its Jacobian does not depend on them."""
    params, new = point(), point(seed=1)
    expected = ntk.empirical_ntk(mlp, params, X)
    got = ntk.empirical_ntk(ntk.linearize(mlp, params), new, X)
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)


def test_second_degree_is_the_hessian():
    params, new = point(), point(seed=1)
    flat, f = raveled(mlp, params, X)
    delta = np.asarray(jax.flatten_util.ravel_pytree(new)[0] - flat)
    hessian = np.asarray(jax.hessian(f)(flat))
    second = np.einsum("ndpq,p,q->nd", hessian, delta, delta) / 2
    got = ntk.taylor_expand(mlp, params, 2)(new, X)
    np.testing.assert_allclose(got - ntk.linearize(mlp, params)(new, X), second, rtol=1e-10)


@pytest.mark.parametrize("degree", range(6))
def test_a_polynomial_is_its_own_expansion(degree):
    """Along a line, ``(a + t b)^5`` cut off after ``t^degree``."""
    a, b = 0.7, 0.4
    got = ntk.taylor_expand(lambda p, x: x * p**5, a, degree)(a + b, jnp.asarray(2.0))
    binomials = [1, 5, 10, 10, 5, 1]
    expected = 2 * sum(binomials[k] * a ** (5 - k) * b**k for k in range(degree + 1))
    np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "degree"), [pytest.param(jnp.float32, 13, marks=pytest.mark.slow), (jnp.float16, 9)]
)
def test_factorials_that_the_dtype_has_not(dtype, degree):
    got = ntk.taylor_expand(lambda p, x: jnp.exp(p * x), dtype(0), np.int64(degree))
    np.testing.assert_allclose(
        got(dtype(1), jnp.ones(1, dtype)), np.e, rtol=4 * float(jnp.finfo(dtype).eps)
    )


def test_error_falls_with_the_degree():
    """The remainder of degree k is of order ``h^(k + 1)``: halving h divides it by 2^(k + 1)."""
    params, direction = point(), point(seed=1)
    for degree in (0, 1, 2, 3):
        errors = []
        for h in (2e-2, 1e-2):
            new = jax.tree.map(lambda p, d, h=h: p + h * d, params, direction)
            got = ntk.taylor_expand(mlp, params, degree)(new, X)
            errors.append(np.linalg.norm(got - mlp(new, X)))
        assert abs(np.log2(errors[0] / errors[1]) - (degree + 1)) < 0.2


def test_trees_dtypes_and_held_leaves():
    """Outputs in a tree, single precision in and out, integers and functions held."""

    def f(p, x):
        h = p["act"](x @ p["w"]) * p["scale"]
        return {"h": h, "sum": jnp.sum(h, 1), "index": p["index"]}

    params = {
        "w": jnp.asarray(normal(4, 3), jnp.float32),
        "act": jnp.tanh,
        "scale": 2.0,
        "index": jnp.arange(3),
    }
    new = {**params, "w": jnp.asarray(normal(4, 3, seed=1)), "scale": 3.0}
    x = jnp.asarray(X, jnp.float32)
    got = ntk.linearize(f, params)(new, x)
    value, slope = jnp.tanh(x @ params["w"]), 1 - jnp.tanh(x @ params["w"]) ** 2
    moved = new["w"].astype(jnp.float32) - params["w"]
    expected = 3 * value + 2 * slope * (x @ moved)
    assert got["h"].dtype == jnp.float32
    np.testing.assert_allclose(got["h"], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got["sum"], np.sum(expected, 1), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(got["index"], np.arange(3))


def test_gradient_in_the_new_parameters():
    params, new = point(), point(seed=1)
    got = jax.grad(lambda p: jnp.sum(ntk.linearize(mlp, params)(p, X)))(new)
    expected = jax.grad(lambda p: jnp.sum(mlp(p, X)))(params)
    for key in params:
        np.testing.assert_allclose(got[key], expected[key], rtol=1e-12)


def test_bad_input():
    params = point()
    linear = ntk.linearize(mlp, params)
    bad = [
        (TypeError, "f must be a function", lambda: ntk.linearize(3, params)),
        (ValueError, "degree must be an integer", lambda: ntk.taylor_expand(mlp, params, -1)),
        (ValueError, "degree must be an integer", lambda: ntk.taylor_expand(mlp, params, 1.0)),
        (ValueError, "degree must be an integer", lambda: ntk.taylor_expand(mlp, params, True)),
        (ValueError, "leaf .'b'. of new_params must have shape .6,., got .5,.",
         lambda: linear({**params, "b": params["b"][:5]}, X)),
        (ValueError, "must have the tree structure", lambda: linear({"w": params["w"]}, X)),
        (ValueError, "params is not finite at .'b'",
         lambda: ntk.linearize(mlp, {**params, "b": params["b"] * jnp.nan})),
    ]  # fmt: skip
    for error, message, call in bad:
        with pytest.raises(error, match=message):
            call()
