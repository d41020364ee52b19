"""Weights divided by their norm before use, in the orders in which people write it."""

import jax
import jax.numpy as jnp

from ._registry import Draw, network

N, K, H, D = 4, 5, 6, 3


def _chain(weight_of, gains=(H,)):
    """Three layers, the middle one's weight from `weight_of(v, g)`."""

    def build(dtype):
        draw = Draw(dtype)
        params = {"in": draw.weight(K, H), "v": draw.weight(H, H), "out": draw.weight(H, D)}
        params["g"] = draw.gain(*gains)

        def f(p, x):
            h = jnp.tanh(x @ p["in"])
            return jnp.tanh(h @ weight_of(p["v"], p["g"])) @ p["out"]

        return f, params, draw.inputs(N, K)

    return build


def _named(name, build):
    build.__name__ = name
    network(build)


def _rows(v):
    return jnp.linalg.norm(v, axis=0, keepdims=True)


_named("norm_of_columns", _chain(lambda v, g: v / jnp.linalg.norm(v, axis=0)[None]))
_named("norm_of_rows", _chain(lambda v, g: v / jnp.linalg.norm(v, axis=1, keepdims=True)))
_named("norm_of_all", _chain(lambda v, g: v / jnp.sqrt(jnp.sum(v**2))))
_named("gain_then_norm", _chain(lambda v, g: g[None] * v / _rows(v)))
_named("norm_then_gain", _chain(lambda v, g: v / _rows(v) * g[None]))
_named("gain_of_norm", _chain(lambda v, g: v * (g[None] / _rows(v))))
_named(
    "norm_by_rsqrt",
    _chain(lambda v, g: v * jax.lax.rsqrt((v * v).sum(0, keepdims=True) + 1e-3) * g[None]),
)
_named("scalar_gain_of_all", _chain(lambda v, g: g * v / jnp.linalg.norm(v), gains=(1, 1)))
_named(
    "standardised_weight",
    _chain(lambda v, g: g[None] * (v - v.mean(0)[None]) / (v.std(0)[None] + 0.1)),
)
_named("norm_and_plain_sum", _chain(lambda v, g: v / _rows(v) + v.T))


@network
def one_gain_of_two_norms(dtype):
    draw = Draw(dtype)
    params = {"v": draw.weight(H, H), "u": draw.weight(H, H), "g": draw.gain(H)}

    def f(p, x):
        h = jnp.tanh(x @ (p["g"][None] * p["v"] / _rows(p["v"])))
        return h @ (p["g"][None] * p["u"] / _rows(p["u"]))

    return f, params, draw.inputs(N, H)


@network
def norm_of_the_readout(dtype):
    draw = Draw(dtype)
    params = {"w": draw.weight(K, H), "v": draw.weight(H, D), "g": draw.gain(D)}

    def f(p, x):
        return jnp.tanh(x @ p["w"]) @ (p["g"][None] * p["v"] / _rows(p["v"]))

    return f, params, draw.inputs(N, K)


@network
def norms_under_scan(dtype):
    draw = Draw(dtype)
    params = {"v": draw.weight(3, H, H), "g": draw.gain(3, H), "out": draw.weight(H, D)}

    def layer(h, vg):
        v, g = vg
        return jnp.tanh(h @ (g[None] * v / _rows(v))), None

    def f(p, x):
        return jax.lax.scan(layer, x, (p["v"], p["g"]))[0] @ p["out"]

    return f, params, draw.inputs(N, H)


@network
def norm_of_filters(dtype):
    """A convolution whose filters have norm `g`, and one with a norm for every tap."""
    draw = Draw(dtype)
    layout = ("NHWC", "HWIO", "NHWC")
    params = {"v": draw.weight(3, 3, 2, 4), "u": draw.weight(3, 3, 4, 4), "g": draw.gain(4)}

    def norm(v, axes):
        return v / jnp.sqrt(jnp.sum(v**2, axes, keepdims=True))

    def f(p, x):
        kernel = p["g"][None, None, None] * norm(p["v"], (0, 1, 2))
        h = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout)
        h = jax.lax.conv_general_dilated(
            jnp.tanh(h), norm(p["u"], 2), (2, 2), "SAME", dimension_numbers=layout
        )
        return h.mean((1, 2))

    return f, params, draw.inputs(N, 6, 6, 2)
