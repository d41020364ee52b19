"""Recurrence: `lax.scan` over steps (weights as constants) and over layers (weights as xs)."""

import jax
import jax.numpy as jnp
from jax import lax

from ._registry import Draw, dense, network

N, T, K, H, D = 3, 5, 2, 6, 3


def _recurrent(dtype, cell, gates, carries=1, **options):
    """Scan `cell(p, carry, x_t)` over the steps from a learned state; read the last one out."""
    draw = Draw(dtype)
    params = {
        "w": draw.weight(K, gates * H),
        "u": draw.weight(H, gates * H),
        "b": draw.bias(gates * H),
        "start": draw.bias(H),
        "out": draw.layers(H, D)[0],
    }

    def f(p, x):
        start = jnp.broadcast_to(p["start"][None], (x.shape[0], H))

        def step(carry, x_t):
            return cell(p, carry, x_t), None

        last, _ = lax.scan(step, (start,) * carries, jnp.swapaxes(x, 0, 1), **options)
        return dense(p["out"], last[0])

    return f, params, draw.inputs(N, T, K)


def _vanilla(p, carry, x):
    return (jnp.tanh(x @ p["w"] + carry[0] @ p["u"] + p["b"][None]),)


def _gru(p, carry, x):
    (h,) = carry
    w, u = x @ p["w"] + p["b"][None], h @ p["u"]
    r, z = jax.nn.sigmoid(w[:, :H] + u[:, :H]), jax.nn.sigmoid(w[:, H:-H] + u[:, H:-H])
    return ((1 - z) * jnp.tanh(w[:, -H:] + r * u[:, -H:]) + z * h,)


def _lstm(p, carry, x):
    h, c = carry
    i, o, g, k = jnp.split(x @ p["w"] + h @ p["u"] + p["b"][None], 4, axis=-1)
    c = jax.nn.sigmoid(k) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


@network
def rnn_scan(dtype):
    return _recurrent(dtype, _vanilla, 1)


@network
def rnn_scan_reversed(dtype):
    return _recurrent(dtype, _vanilla, 1, reverse=True, unroll=2)


@network
def gru_scan(dtype):
    return _recurrent(dtype, _gru, 3)


@network
def lstm_scan(dtype):
    return _recurrent(dtype, _lstm, 4, carries=2)


@network
def rnn_unrolled(dtype):
    draw = Draw(dtype)
    params = {"w": draw.weight(K, H), "u": draw.weight(H, H), "b": draw.bias(H)}
    params["out"] = draw.layers(H, D)[0]

    def f(p, x):
        carry = (jnp.zeros((x.shape[0], H), dtype),)
        for t in range(T):
            carry = _vanilla(p, carry, x[:, t])
        return dense(p["out"], carry[0])

    return f, params, draw.inputs(N, T, K)


@network
def rnn_scan_all_steps(dtype):
    """Every step is read out within the scan: `[n, T, 2]`."""
    draw = Draw(dtype)
    params = {"w": draw.weight(K, H), "u": draw.weight(H, H), "b": draw.bias(H)}
    params["out"] = draw.layers(H, 2)[0]

    def f(p, x):
        def step(carry, x_t):
            carry = _vanilla(p, carry, x_t)
            return carry, dense(p["out"], carry[0])

        start = (jnp.zeros((x.shape[0], H), dtype),)
        return jnp.swapaxes(lax.scan(step, start, jnp.swapaxes(x, 0, 1))[1], 0, 1)

    return f, params, draw.inputs(N, T, K)


def _stacked(draw):
    """Three residual layers, each leaf with a leading axis of layers, and the two ends."""
    blocks = {"w": draw.inputs(3, H, H, scale=0.5), "b": draw.bias(3, H)}
    return {"in": draw.layers(K, H)[0], "blocks": blocks, "out": draw.layers(H, D)[0]}


@network
def stacked_layers_scan(dtype):
    draw = Draw(dtype)

    def f(p, x):
        h = lax.scan(
            lambda h, layer: (h + jnp.tanh(dense(layer, h)), None), dense(p["in"], x), p["blocks"]
        )[0]
        return dense(p["out"], h)

    return f, _stacked(draw), draw.inputs(N, K)


@network
def stacked_layers_fori(dtype):
    """`fori_loop` with static bounds; each turn takes its layer by a dynamic slice."""
    draw = Draw(dtype)

    def f(p, x):
        def turn(i, h):
            return h + jnp.tanh(dense(jax.tree.map(lambda a: a[i], p["blocks"]), h))

        return dense(p["out"], lax.fori_loop(0, 3, turn, dense(p["in"], x)))

    return f, _stacked(draw), draw.inputs(N, K)


@network
def repeated_layer_fori(dtype):
    """One layer applied four times: its weight is a constant of the loop."""
    draw = Draw(dtype)
    params = {"in": draw.layers(K, H)[0], "w": draw.weight(H, H), "out": draw.layers(H, D)[0]}

    def f(p, x):
        h = lax.fori_loop(0, 4, lambda _, h: jnp.tanh(h @ p["w"]), dense(p["in"], x))
        return dense(p["out"], h)

    return f, params, draw.inputs(N, K)


@network
def scanned_weight_carry(dtype):
    """The carry is a weight: powers of a parameter matrix, then applied to the batch."""
    draw = Draw(dtype)
    params = {"in": draw.layers(K, H)[0], "w": draw.weight(H, H), "out": draw.layers(H, D)[0]}

    def f(p, x):
        power = lax.scan(lambda m, _: (jnp.tanh(m @ p["w"]), None), p["w"], length=3)[0]
        return dense(p["out"], dense(p["in"], x) @ power)

    return f, params, draw.inputs(N, K)
