"""The empirical NTK by three algorithms against the dense Jacobian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntk
from ntk import empirical_ntk
from ntk._cost import cost_by
from ntk._kernel_inputs import check_inputs
from ntk._methods import METHODS

N, I, K, D = 4, 5, 7, 3
CONV = ("NHWC", "HWIO", "NHWC")


@pytest.fixture(autouse=True)
def _as_users_write():
    """Networks of users broadcast a bias and mix dtypes."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def normal(*shape, seed=0):
    return np.random.default_rng(sum(shape) + 31 * seed + len(shape)).normal(size=shape)


def mlp(p, x):
    h = x
    for w, b in p[:-1]:
        h = jax.nn.gelu(h @ w + b)
    return h @ p[-1][0] + p[-1][1]


def weight_normalised(p, x):
    return jnp.tanh(x @ (p[0] / jnp.linalg.norm(p[0], axis=0) * p[2])) @ p[1]


def fused(p, x):
    a, b, c = jnp.split(x @ p[0], 3, axis=1)
    return jnp.tanh(a * b + c) @ p[1]


def sliced(p, x):
    a, b = jnp.split(p[0], 2, axis=1)
    return jnp.tanh(x @ a) @ p[1] + jnp.tanh(x @ b) @ p[1]


def stacked(p, x):
    h = jax.lax.scan(lambda h, wb: (jnp.tanh(h @ wb[0] + wb[1]), None), x @ p[0], p[1:3])[0]
    return h @ p[3]


def recurrent(p, x):
    start = jnp.broadcast_to(p["h0"], (x.shape[0], K))

    def step(h, t):
        return jnp.tanh(h @ p["w"] + t @ p["u"]), None

    return jax.lax.scan(step, start, jnp.swapaxes(x, 0, 1))[0] @ p["o"]


def convolutional(p, x):
    h = jax.lax.conv_general_dilated(x, p[0], (1, 1), "SAME", dimension_numbers=CONV)
    h = jax.nn.relu(h + p[1])
    h = jax.lax.conv_general_dilated(
        h, p[2], (2, 2), "VALID", rhs_dilation=(1, 2), dimension_numbers=CONV,
        feature_group_count=2,
    )  # fmt: skip
    return jax.nn.relu(h).mean((1, 2)) @ p[3]


def normalised(p, x):
    h = x @ p[0]
    h = (h - h.mean(-1, keepdims=True)) / jnp.sqrt(h.var(-1, keepdims=True) + 1e-5) * p[1] + p[2]
    return jax.checkpoint(lambda h: jnp.tanh(h @ p[3]))(h) @ p[4]


def conditional(p, x):
    def one(e):
        return jax.lax.cond(e.sum() > 0, lambda e: e @ p[0], lambda e: jnp.sin(e @ p[1]), e)

    return jax.vmap(one)(x)


def solved(p, x):
    return jnp.tanh(jnp.linalg.solve(p[0] + 5 * jnp.eye(I, dtype=x.dtype), x.T).T) @ p[1]


def attention(p, x):
    q, k, v = jnp.split(x @ p[0], 3, axis=-1)
    weights = jax.nn.softmax(jnp.einsum("btd,bsd->bts", q, k))
    return jnp.einsum("bts,bsd->btd", weights, v).mean(1) @ p[1]


X = normal(N, I)
NETWORKS = {
    "mlp": (
        mlp,
        [(normal(I, K), normal(K)), (normal(K, K), normal(K)), (normal(K, D), normal(D))],
        X,
    ),
    "transposed": (
        lambda p, x: jnp.tanh(x @ p[0].T) @ (p[1] * 0.5),
        [normal(K, I), normal(K, D)],
        X,
    ),
    "weight_normalised": (weight_normalised, [normal(I, K), normal(K, D), normal(K)], X),
    "flat": (
        lambda p, x: jnp.tanh(x @ p[0].reshape(I, K)) @ p[1],
        [normal(I * K), normal(K, D)],
        X,
    ),
    "fused": (fused, [normal(I, 3 * K), normal(K, D)], X),
    "sliced": (sliced, [normal(I, 2 * K), normal(K, D)], X),
    "concatenated": (
        lambda p, x: jnp.tanh(x @ jnp.concatenate([p[0], p[1]], 1)) @ p[2],
        [normal(I, 2), normal(I, K - 2), normal(K, D)],
        X,
    ),
    "tied": (
        lambda p, x: jnp.tanh(jnp.tanh(x @ p[0]) @ p[0].T) @ p[1],
        [normal(I, K), normal(I, D)],
        X,
    ),
    "stacked": (stacked, (normal(I, K), normal(3, K, K), normal(3, K), normal(K, D)), X),
    "recurrent": (
        recurrent,
        {"h0": normal(K), "w": normal(K, K), "u": normal(I, K), "o": normal(K, D)},
        normal(N, 6, I),
    ),
    "convolutional": (
        convolutional,
        [normal(3, 3, 2, 4), normal(4), normal(3, 3, 2, 6), normal(6, D)],
        normal(N, 6, 7, 2),
    ),
    "embedded": (
        lambda p, x: jnp.tanh(p[0][x].mean(1)) @ p[1],
        [normal(11, K), normal(K, D)],
        np.random.default_rng(3).integers(0, 11, size=(N, 5)),
    ),
    "normalised": (normalised, [normal(I, K), normal(K), normal(K), normal(K, K), normal(K, D)], X),
    "conditional": (conditional, [normal(I, D), normal(I, D, seed=1)], X),
    "solved": (solved, [normal(I, I), normal(I, D)], X),
    "attention": (attention, [normal(I, 3 * K), normal(K, D)], normal(N, 4, I)),
    "bilinear": (
        lambda p, x: jnp.einsum("ni,iok,nk->no", x, p[0], jnp.tanh(x @ p[1])),
        [normal(I, D, K), normal(I, K)],
        X,
    ),
    "low_rank": (
        lambda p, x: jnp.tanh(x @ (p[0] @ p[1])) @ p[2],
        [normal(I, 2), normal(2, K), normal(K, D)],
        X,
    ),
    "nonlinear_weights": (
        lambda p, x: jnp.tanh(x @ jnp.exp(p[0])) @ jax.nn.softplus(p[1]),
        [normal(I, K), normal(K, D)],
        X,
    ),
    "parameters_alone": (lambda p, x: jnp.broadcast_to(p[0] ** 2, (len(x), D)), [normal(D)], X),
}


def oracle(f, params, x):
    """``[n, n, d, d]`` from the dense Jacobian."""
    jacobians = [j.reshape(*j.shape[:2], -1) for j in jax.tree.leaves(jax.jacrev(f)(params, x))]
    return sum(np.einsum("iap,jbp->ijab", j, j) for j in map(np.asarray, jacobians))


def close(got, expected, tolerance=1e-12):
    assert got.shape == expected.shape
    assert np.linalg.norm(got - expected) <= tolerance * np.linalg.norm(expected)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NETWORKS)
def test_full_kernel(name, method):
    f, params, x = NETWORKS[name]
    params = jax.tree.map(jnp.asarray, params)
    close(empirical_ntk(f, params, x, method=method), oracle(f, params, x))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["mlp", "convolutional", "parameters_alone"])
@pytest.mark.parametrize(
    ("reduction", "subscripts", "divisor"),
    [
        ({"trace_axes": -1}, "ijaa->ij", D),
        ({"diagonal_axes": (1,)}, "ijaa->ija", 1),
        ({"diagonal_axes": 0}, "iiab->iab", 1),
        ({"diagonal_axes": (0,), "trace_axes": (1,)}, "iiaa->i", D),
        ({"trace_axes": (0, 1)}, "iiaa->", N * D),
    ],
)
def test_reductions(name, method, reduction, subscripts, divisor):
    f, params, x = NETWORKS[name]
    params = jax.tree.map(jnp.asarray, params)
    expected = np.einsum(subscripts, oracle(f, params, x)) / divisor
    close(empirical_ntk(f, params, x, method=method, **reduction), expected)


@pytest.mark.parametrize("method", METHODS)
def test_rows_in_blocks_and_two_sets_of_inputs(method):
    """Above 16 examples a symmetric kernel is computed by half and mirrored."""
    f, params, _ = NETWORKS["mlp"]
    params = jax.tree.map(jnp.asarray, params)
    x = normal(37, I)
    expected = oracle(f, params, x)
    close(empirical_ntk(f, params, x, method=method), expected)
    close(empirical_ntk(f, params, x[:5], x[5:], method=method), expected[:5, 5:])
    traced = empirical_ntk(f, params, x, method=method, trace_axes=-1)
    close(traced, np.einsum("ijaa->ij", expected) / D)


def test_float32_and_half_precision():
    f, params, x = NETWORKS["mlp"]
    expected = oracle(f, jax.tree.map(jnp.asarray, params), x)
    for dtype, tolerance in ((jnp.float32, 1e-5), (jnp.bfloat16, 0.1)):
        low = jax.tree.map(lambda a, dtype=dtype: jnp.asarray(a, dtype), params)
        got = empirical_ntk(f, low, jnp.asarray(x, dtype))
        assert got.dtype == jnp.float32
        close(got.astype(float), expected, tolerance)


def test_under_jit_grad_and_vmap():
    f, params, x = NETWORKS["mlp"]
    params = jax.tree.map(jnp.asarray, params)

    def trace(p, x):
        return jnp.sum(empirical_ntk(f, p, x, method="structured_derivatives", trace_axes=(0, 1)))

    def dense(p, x):
        jacobian = jax.tree.leaves(jax.jacrev(f)(p, x))
        return sum(jnp.sum(j**2) for j in jacobian) / (N * D)

    got, expected = (jax.jit(jax.grad(fn, argnums=(0, 1)))(params, x) for fn in (trace, dense))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)
    chain = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), params)
    mapped = jax.vmap(lambda p: empirical_ntk(f, p, x))(chain)
    close(mapped[1], oracle(f, jax.tree.map(lambda a: 2 * a, params), x))


def relative_operations(f, params, plain, plain_params, x):
    """Operations of structured derivatives of f relative to those of a plain network."""
    counts = [
        cost_by(
            check_inputs(g, jax.tree.map(jnp.asarray, p), x, None, (), ()), METHODS[0]
        ).operations
        for g, p in ((f, params), (plain, plain_params))
    ]
    return counts[0] / counts[1]


def test_structure_survives_what_is_done_to_a_weight():
    n, width, d = 32, 128, 4
    x, w, b, v = normal(n, width), normal(width, width), normal(width), normal(width, d)

    def plain(p, x):
        return jnp.tanh(jnp.tanh(x @ p[0] + p[1]) @ p[2]) @ p[3]

    def changed(change):
        def f(p, x):
            return plain([change(p[0]), p[1], change(p[2]), p[3]], x)

        return f

    changes = {
        "transposed": (lambda a: a.T, w.T),
        "scaled": (lambda a: a * 0.3, w),
        "cast": (lambda a: a.astype(jnp.float64), w.astype(np.float32)),
        "flat": (lambda a: a.reshape(width, width), w.reshape(-1)),
    }
    for change, stored in changes.values():
        ratio = relative_operations(changed(change), [stored, b, stored, v], plain, [w, b, w, v], x)
        assert ratio < 1.3


def test_bad_input():
    f, params, x = NETWORKS["mlp"]
    bad = [
        (ValueError, "unknown method 'fast'", (f, params, x), {"method": "fast"}),
        (ValueError, "trace_axes has axis 2", (f, params, x), {"trace_axes": 2}),
        (ValueError, "already named", (f, params, x), {"trace_axes": 1, "diagonal_axes": -1}),
        (TypeError, "trace_axes must be an int", (f, params, x), {"trace_axes": 1.0}),
        (ValueError, "equal shapes but for the first", (f, params, x, x[:, :2]), {}),
        (ValueError, "as many examples", (f, params, x, x[:2]), {"diagonal_axes": 0}),
        (ValueError, "x1 is not finite", (f, params, x * np.nan), {}),
        (ValueError, "params is not finite", (f, [*params[:2], (np.inf, 1.0)], x), {}),
        (ValueError, "one row per example", (lambda p, x: (x @ p)[0], normal(I, D), x), {}),
        (TypeError, "f must be a function", (3, params, x), {}),
        (ValueError, "holds no example", (f, params, x[:0]), {}),
        (ValueError, "mixes the examples", (lambda p, x: (x - x.mean(0)) @ p, normal(I, D), x), {}),
    ]
    for error, message, arguments, settings in bad:
        with pytest.raises(error, match=message):
            ntk.empirical_ntk(*arguments, **settings)
