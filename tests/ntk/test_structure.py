"""Structured derivatives never cost more than the other two algorithms, counted at real sizes."""

import jax
import jax.numpy as jnp
import pytest

import ntk

N, W, D, V, T = 32, 128, 10, 1000, 16
LAYOUT = ("NHWC", "HWIO", "NHWC")


def array(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


def split(p, x):
    a, b, c = jnp.split(p["w"], 3, axis=1)
    return jnp.tanh((x @ a) * (x @ b) + x @ c) @ p["o"]


def conditional(p, x):
    def one(e):
        return jax.lax.cond(
            e[0] > 0,
            lambda e: jnp.tanh(e @ p["w"]) @ p["o"],
            lambda e: jnp.sin(e @ p["v"]) @ p["o"],
            e,
        )

    return jax.vmap(one)(x)


def convolutional(groups):
    def f(p, x):
        for kernel, count in ((p["a"], 1), (p["b"], groups), (p["c"], 1)):
            x = jax.lax.conv_general_dilated(
                x, kernel, (1, 1), "SAME", dimension_numbers=LAYOUT, feature_group_count=count
            )
            x = jax.nn.relu(x)
        return x.mean((1, 2)) @ p["o"]

    params = {
        "a": array(3, 3, 3, 32), "b": array(3, 3, 32 // groups, 32), "c": array(3, 3, 32, 32),
        "o": array(32, D),
    }  # fmt: skip
    return f, params, array(8, 16, 16, 3)


def image_as_parameter(p, x):
    numbers = ("NCHW", "OIHW", "NCHW")
    h = jax.lax.conv_general_dilated(p["image"], x, (1, 1), "VALID", dimension_numbers=numbers)
    return jnp.tanh(h).mean((2, 3)).T @ p["o"]


OUT, X = array(W, D), array(N, W)
CASES = {
    "split": (split, {"w": array(W, 3 * W), "o": OUT}, X),
    "conditional": (conditional, {"w": array(W, W), "v": array(W, W), "o": OUT}, X),
    "tied": (
        lambda p, x: jnp.tanh(jnp.tanh(x @ p["w"]) @ p["w"].T) @ p["o"],
        {"w": array(W, W), "o": OUT},
        X,
    ),
    "embedding": (
        lambda p, t: jnp.tanh(p["e"][t].mean(1) @ p["w"]) @ p["o"],
        {"e": array(V, W), "w": array(W, W), "o": OUT},
        array(N, T, dtype=jnp.int32),
    ),
    "solve": (
        lambda p, x: jnp.tanh(jnp.linalg.solve(p["w"], x.T).T) @ p["o"],
        {"w": array(W, W), "o": OUT},
        X,
    ),
    "depthwise": convolutional(32),
    "grouped": convolutional(4),
    "image as parameter": (
        image_as_parameter,
        {"image": array(8, 3, 16, 16), "o": array(8, D)},
        array(16, 3, 5, 5),
    ),
}


def counts_of(f, params, x):
    """Operations of every method, from shapes alone."""
    tables = []
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        jax.eval_shape(lambda p, x: tables.append(ntk.cost(f, p, x)), params, x)
    return {method: cost.operations for method, cost in tables[0].methods.items()}


def chain(of_weight, of_second=None):
    """Three layers whose hidden weights are made from parameters ``v`` and ``g``."""

    def f(p, x):
        h = jnp.tanh(x @ of_weight(p["v"][0], p["g"][0]))
        return jnp.tanh(h @ (of_second or of_weight)(p["v"][1], p["g"][1])) @ p["o"]

    return counts_of(f, CHAIN, array(N, WIDE))["structured_derivatives"]


WIDE = 512
OUT_WIDE = array(WIDE, D)
CHAIN = {"v": [array(WIDE, WIDE)] * 2, "g": [array(WIDE)] * 2, "o": OUT_WIDE}


def stacked(p, x):
    return jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), x, p["w"])[0] @ p["o"]


def one_by_one(p, x):
    for w in p["w"]:
        x = jnp.tanh(x @ w)
    return x @ p["o"]


def normalised(v, g):
    return g * v / jnp.linalg.norm(v, axis=0)


CHANGES = {
    "transposed": lambda v, g: v.T,
    "scaled": lambda v, g: v * 0.3,
    "reshaped": lambda v, g: v.reshape(2, -1).reshape(WIDE, WIDE),
    "cast": lambda v, g: v.astype(jnp.bfloat16).astype(jnp.float32),
    "norm of all": lambda v, g: v / jnp.linalg.norm(v),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_weight_costs_no_more_than_a_plain_one(name):
    assert chain(CHANGES[name]) < 1.3 * chain(lambda v, g: v)


def test_a_norm_of_every_column_is_one_more_cotangent_gram():
    plain = chain(lambda v, g: v)
    assert chain(normalised, lambda v, g: v) < 1.3 * plain
    gram = 2 * (N * D) ** 2 * WIDE * 10 / 16
    both = chain(normalised)
    assert both < plain + 2 * gram + 0.15 * plain
    # However it is written.
    squares = chain(lambda v, g: v * jax.lax.rsqrt((v * v).sum(0, keepdims=True)) * g)
    assert abs(squares - both) < 0.02 * plain


def test_layers_under_scan_cost_no_more_than_one_by_one():
    params = {"w": array(6, WIDE, WIDE), "o": OUT_WIDE}
    scanned = counts_of(stacked, params, array(N, WIDE))["structured_derivatives"]
    plain = counts_of(one_by_one, params, array(N, WIDE))["structured_derivatives"]
    assert scanned < 1.3 * plain


@pytest.mark.parametrize("name", CASES)
def test_never_above_the_cheapest(name):
    counts = counts_of(*CASES[name])
    assert counts["structured_derivatives"] == min(counts.values())
