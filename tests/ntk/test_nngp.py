"""The empirical NNGP kernel against sums in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntk import empirical_nngp

N, A, B, P = 5, 3, 2, 7


def normal(*shape, seed=0):
    return np.random.default_rng(sum(shape) + 31 * seed + len(shape)).normal(size=shape)


def features(p, x):
    return jnp.tanh(x @ p["w"]) / P**0.5


def wide(p, x):
    """``[n, A, B, P]``."""
    return jnp.tanh(jnp.einsum("ni,iabp->nabp", x, p))


PARAMS = {"w": normal(4, P)}
WIDE = normal(4, A, B, P)


def psi(x):
    return np.tanh(x @ PARAMS["w"]) / P**0.5


def psi_wide(x):
    return np.tanh(np.einsum("ni,iabp->nabp", x, WIDE))


def test_sum_over_the_features():
    x1, x2 = normal(N, 4), normal(3, 4)
    kernel = empirical_nngp(features, PARAMS, x1)
    np.testing.assert_allclose(kernel, psi(x1) @ psi(x1).T, rtol=1e-12)
    np.testing.assert_array_equal(kernel, kernel.T)
    cross = empirical_nngp(features, PARAMS, x1, x2)
    np.testing.assert_allclose(cross, psi(x1) @ psi(x2).T, rtol=1e-12)
    one = empirical_nngp(features, PARAMS, x1[:1])
    np.testing.assert_allclose(one, psi(x1[:1]) @ psi(x1[:1]).T, rtol=1e-12)


def test_symmetric_where_products_round():
    x = jnp.asarray(normal(150, 4), jnp.float32)
    w = {"w": jnp.asarray(normal(4, 300), jnp.float32)}
    kernel = empirical_nngp(features, w, x)
    np.testing.assert_array_equal(kernel, kernel.T)


def test_is_the_covariance_of_a_random_readout():
    """E[f f^T] over W ~ N(0, I), f = Psi W: within 4.5 standard errors of 4000 draws."""
    x, m = normal(N, 4), 4000
    f = psi(x) @ np.random.default_rng(0).normal(size=(P, m))
    products = np.einsum("im,jm->ijm", f, f)
    kernel = empirical_nngp(features, PARAMS, x)
    error = np.std(products, axis=-1, ddof=1) / m**0.5
    assert (abs(np.mean(products, -1) - kernel) < 4.5 * error).all()


@pytest.mark.parametrize(
    ("reduction", "subscripts", "divisor"),
    [
        ({}, "iabp,jcdp->ijacbd", 1),
        ({"trace_axes": 1}, "iabp,jadp->ijbd", A),
        ({"trace_axes": (1, -2)}, "iabp,jabp->ij", A * B),
        ({"diagonal_axes": 2}, "iabp,jcbp->ijacb", 1),
        ({"trace_axes": 2, "diagonal_axes": (1,)}, "iabp,jabp->ija", B),
        ({"diagonal_axes": 0}, "iabp,icdp->iacbd", 1),
        ({"diagonal_axes": (0, 1, 2)}, "iabp,iabp->iab", 1),
        ({"trace_axes": (0, 1, 2)}, "iabp,iabp->", N * A * B),
    ],
)
def test_other_axes(reduction, subscripts, divisor):
    x1, x2 = normal(N, 4), normal(N, 4, seed=1)
    for other in (None, x2):
        second = psi_wide(x1 if other is None else other)
        expected = np.einsum(subscripts, psi_wide(x1), second) / divisor
        got = empirical_nngp(wide, WIDE, x1, other, **reduction)
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-12)


def test_trees_of_inputs_and_one_feature():
    def f(p, x):
        return (x["a"] * p["scale"] + p["table"][x["t"]])[:, None]

    params = {"scale": 0.5, "table": normal(4)}
    x = {"a": normal(N), "t": np.asarray([0, 3, 1, 1, 2])}
    column = 0.5 * x["a"] + params["table"][x["t"]]
    got = empirical_nngp(f, jax.tree.map(jnp.asarray, params), x)
    np.testing.assert_allclose(got, np.outer(column, column), rtol=1e-12)


def test_lower_precision():
    """Half precision keeps 512 products of about 1, summed in it, to a few per cent only."""
    x, w = normal(N, 4), normal(4, 512)
    for dtype, tolerance in ((jnp.float32, 1e-5), (jnp.bfloat16, 2e-6)):
        low_x, low_w = jnp.asarray(x, dtype), {"w": jnp.asarray(w, dtype)}
        exact = np.asarray(features(low_w, low_x), float)
        got = empirical_nngp(features, low_w, low_x)
        assert got.dtype == jnp.float32
        got, expected = np.asarray(got, float), exact @ exact.T
        assert np.linalg.norm(got - expected) < tolerance * np.linalg.norm(expected)


def test_under_jit_and_grad():
    x = normal(N, 4)

    def norm(kernel):
        return jnp.sum(jnp.square(kernel))

    got = jax.jit(jax.grad(lambda p: norm(empirical_nngp(features, p, x))))(PARAMS)
    expected = jax.grad(lambda p: norm(features(p, x) @ features(p, x).T))(PARAMS)
    np.testing.assert_allclose(got["w"], expected["w"], rtol=1e-10)


def test_bad_input():
    x, w = normal(N, 4), PARAMS
    bad = [
        (ValueError, "is summed over", (features, w, x), {"trace_axes": 1}),
        (ValueError, "is summed over", (wide, WIDE, x), {"diagonal_axes": -1}),
        (ValueError, "trace_axes has axis 2", (features, w, x), {"trace_axes": 2}),
        (ValueError, "already named", (wide, WIDE, x), {"trace_axes": 1, "diagonal_axes": 1}),
        (ValueError, "must return .n, ..., p.", (lambda p, x: features(p, x)[:, 0], w, x), {}),
        (ValueError, "as many examples", (features, w, x, x[:2]), {"diagonal_axes": 0}),
        (ValueError, "equal shapes but", (features, w, x, x[:, :2]), {}),
        (ValueError, "x1 is not finite", (features, w, x * np.nan), {}),
        (ValueError, "params is not finite", (features, {"w": w["w"] * np.inf}, x), {}),
        (ValueError, "one row per example", (lambda p, x: features(p, x)[0], w, x), {}),
        (ValueError, "mixes the", (lambda p, x: features(p, x - x.mean(0)[None]), w, x), {}),
        (TypeError, "f must be a function", (3, w, x), {}),
    ]
    for error, message, arguments, settings in bad:
        with pytest.raises(error, match=message):
            empirical_nngp(*arguments, **settings)
