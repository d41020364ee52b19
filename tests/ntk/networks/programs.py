"""Networks written with JAX's transformations and control flow inside."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from ._registry import Draw, dense, mlp, network

N, K, H, D = 4, 5, 7, 3


def _with(dtype, f):
    draw = Draw(dtype)
    return f, draw.layers(K, H, 6, D), draw.inputs(N, K)


@network
def jit_inside(dtype):
    return _with(dtype, lambda p, x: dense(p[2], jax.jit(mlp)(p[:2], x)))


@network
def checkpoint_layer(dtype):
    @jax.checkpoint
    def layer(p, x):
        return jnp.tanh(dense(p, x))

    return _with(dtype, lambda p, x: dense(p[2], layer(p[1], layer(p[0], x))))


@network
def vmap_inside(dtype):
    def one(p, x):
        for layer in p[:-1]:
            x = jnp.tanh(layer["w"].T @ x + layer["b"])
        return p[-1]["w"].T @ x + p[-1]["b"]

    return _with(dtype, jax.vmap(one, (None, 0)))


@network
def vmap_over_ensemble(dtype):
    """The mean of three networks, their weights stacked: `vmap` over the parameters."""
    draw = Draw(dtype)
    layers = [{"w": draw.inputs(3, i, o, scale=0.5), "b": draw.bias(3, o)} for i, o in [(K, H)]]
    layers.append({"w": draw.inputs(3, H, D, scale=0.5), "b": draw.bias(3, D)})
    return lambda p, x: jax.vmap(mlp, (0, None))(p, x).mean(0), layers, draw.inputs(N, K)


@network
def map_over_examples(dtype):
    return _with(dtype, lambda p, x: lax.map(lambda row: mlp(p, row[None])[0], x))


@jax.custom_jvp
def _squash(x):
    return x / jnp.sqrt(1 + x**2)


@_squash.defjvp
def _squash_jvp(primals, tangents):
    (x,), (t,) = primals, tangents
    return _squash(x), t / (1 + x**2) ** 1.5


@network
def custom_jvp_activation(dtype):
    return _with(dtype, lambda p, x: dense(p[2], _squash(dense(p[1], _squash(dense(p[0], x))))))


@jax.custom_vjp
def _clipped_dense(w, b, x):
    return jnp.tanh(x @ w + b[None])


def _clipped_forward(w, b, x):
    y = _clipped_dense(w, b, x)
    return y, (w, x, y)


def _clipped_backward(residuals, cotangent):
    """Not the derivative of the forward pass: halved, so that a bypassed rule is seen."""
    w, x, y = residuals
    inner = 0.5 * cotangent * (1 - y**2)
    return x.T @ inner, inner.sum(0), inner @ w.T


_clipped_dense.defvjp(_clipped_forward, _clipped_backward)


@network
def custom_vjp_layer(dtype):
    """A layer with its own reverse rule, which takes the parameters and halves the cotangent."""

    def f(p, x):
        h = _clipped_dense(p[0]["w"], p[0]["b"], x)
        return dense(p[2], _clipped_dense(p[1]["w"], p[1]["b"], h))

    return _with(dtype, f)


@network
def stop_gradient_layer(dtype):
    def f(p, x):
        return dense(p[2], jnp.tanh(dense(lax.stop_gradient(p[1]), jnp.tanh(dense(p[0], x)))))

    return _with(dtype, f)


def _either(p, row):
    """One of two layers by the sign of the first feature; both branches have parameters."""
    h = jnp.tanh(row[None] @ p["in"])
    branches = [partial(dense, p[name]) for name in ("positive", "negative")]
    return lax.cond(row[0] > 0, *branches, h)[0]


def _conditional(dtype, batched):
    draw = Draw(dtype)
    params = {"in": draw.weight(K, H)}
    params |= {name: draw.layers(H, D)[0] for name in ("positive", "negative")}
    x = draw.inputs(N, K).at[:, 0].set(jnp.asarray([1, -1, -1, 1], dtype))
    return lambda p, x: batched(partial(_either, p), x), params, x


@network
def cond_under_map(dtype):
    """`cond` stays a `cond`, within the scan of `lax.map`."""
    return _conditional(dtype, lax.map)


@network
def cond_under_vmap(dtype):
    """`cond` becomes a `select`: both branches are computed."""
    return _conditional(dtype, lambda one, x: jax.vmap(one)(x))


@network
def cond_on_parameter(dtype):
    draw = Draw(dtype)
    params = {"gate": draw.gain(), "layers": draw.layers(K, H, D), "other": draw.layers(K, D)}

    def f(p, x):
        return lax.cond(
            p["gate"] > 0, lambda: mlp(p["layers"], x) * p["gate"], lambda: mlp(p["other"], x)
        )

    return f, params, draw.inputs(N, K)


@network
def switch_on_parameter(dtype):
    """`lax.switch` with an integer parameter as its index; operands are passed, not closed over."""
    draw = Draw(dtype)
    params = {"which": jnp.asarray(1), "in": draw.layers(K, H)[0]}
    params["heads"] = [draw.layers(H, D)[0] for _ in range(3)]

    def f(p, x):
        h = jnp.tanh(dense(p["in"], x))
        heads = [lambda heads, h, i=i: dense(heads[i], h) for i in range(3)]
        return lax.switch(p["which"], heads, p["heads"], h)

    return f, params, draw.inputs(N, K)


@network
def gradient_inside(dtype):
    """The output is the input gradient of a scalar network: derivatives within f."""
    draw = Draw(dtype)
    layers = draw.layers(D, H, 1)

    def f(p, x):
        return jax.grad(lambda inputs: mlp(p, inputs).sum())(x)

    return f, layers, draw.inputs(N, D)
