"""Networks that mix examples: no output depends on one example alone."""

import jax
import jax.numpy as jnp
from jax import lax

from ._registry import Draw, dense, mixing, mlp, normalise

N, K, H, D = 4, 5, 6, 3


@mixing
def batch_norm(dtype):
    """In training mode: statistics of the batch."""
    draw = Draw(dtype)
    params = {"layers": draw.layers(K, H, D), "gain": draw.gain(H), "bias": draw.bias(H)}

    def f(p, x):
        h = normalise(dense(p["layers"][0], x), 0) * p["gain"][None] + p["bias"][None]
        return dense(p["layers"][1], jnp.tanh(h))

    return f, params, draw.inputs(N, K)


@mixing
def attention_over_batch(dtype):
    draw = Draw(dtype)
    params = {"qkv": draw.weight(K, 3 * H), "out": draw.layers(H, D)[0]}

    def f(p, x):
        q, k, v = jnp.split(x @ p["qkv"], 3, axis=-1)
        return dense(p["out"], jax.nn.softmax(q @ k.T) @ v)

    return f, params, draw.inputs(N, K)


def _after(dtype, mix):
    draw = Draw(dtype)
    return lambda p, x: mix(mlp(p, x)), draw.layers(K, H, D), draw.inputs(N, K)


@mixing
def batch_mean_subtracted(dtype):
    return _after(dtype, lambda h: h - h.mean(0, keepdims=True))


@mixing
def batch_running_sum(dtype):
    return _after(dtype, lambda h: jnp.cumsum(h, axis=0))


@mixing
def batch_rolled(dtype):
    """Each example gets its neighbour's output: shapes alone do not show it."""
    return _after(dtype, lambda h: jnp.roll(h, 1, axis=0))


@mixing
def batch_reversed(dtype):
    return _after(dtype, lambda h: h[::-1])


@mixing
def batch_sorted(dtype):
    return _after(dtype, lambda h: jnp.sort(h, axis=0))


@mixing
def batch_mixed_by_reshape(dtype):
    """A reshape and a transpose that carry features across examples."""
    return _after(dtype, lambda h: h.reshape(h.shape[1], h.shape[0]).T)


@mixing
def batch_conv_over_examples(dtype):
    """The batch is the spatial axis of a convolution."""
    draw = Draw(dtype)
    params = {"k": draw.weight(3, K, H), "out": draw.layers(H, D)[0]}

    def f(p, x):
        h = lax.conv_general_dilated(
            x[None], p["k"], (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
        )
        return dense(p["out"], jnp.tanh(h[0]))

    return f, params, draw.inputs(N, K)


@mixing
def batch_scan_carry(dtype):
    """A recurrence along the batch: the carry goes from one example to the next."""
    draw = Draw(dtype)
    params = {"w": draw.weight(K, D), "u": draw.weight(D, D)}

    def f(p, x):
        def step(carry, row):
            carry = jnp.tanh(row @ p["w"] + carry @ p["u"])
            return carry, carry

        return lax.scan(step, jnp.zeros(D, dtype), x)[1]

    return f, params, draw.inputs(N, K)


@mixing
def batch_wide_cond(dtype):
    """One branch for the whole batch, by a sum over it."""
    draw = Draw(dtype)
    params = {"left": draw.layers(K, H, D), "right": draw.layers(K, D)}

    def f(p, x):
        return lax.cond(x[:, 0].sum() > 0, lambda: mlp(p["left"], x), lambda: mlp(p["right"], x))

    return f, params, draw.inputs(N, K)
