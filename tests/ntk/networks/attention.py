"""Embeddings and attention."""

import jax
import jax.numpy as jnp

from ._registry import Draw, dense, layer_norm, mlp, network, promoting

N, T, VOCABULARY, H, HEADS, D = 3, 5, 4, 8, 2, 3


@network
def embedding_mean(dtype):
    draw = Draw(dtype)
    params = {"e": draw.inputs(7, H), "layers": draw.layers(H, 6, D)}
    ids = draw.ids(N, T, below=7)
    return lambda p, ids: mlp(p["layers"], p["e"][ids].mean(1)), params, ids


@network
def embedding_take(dtype):
    """`jnp.take`, which fills out-of-range rows, and a sum over each bag."""
    draw = Draw(dtype)
    params = {"e": draw.inputs(7, H), "layers": draw.layers(H, D)}
    ids = draw.ids(N, T, below=7)
    return lambda p, ids: mlp(p["layers"], jnp.take(p["e"], ids, axis=0).sum(1)), params, ids


@network
def embedding_one_hot(dtype):
    draw = Draw(dtype)
    params = {"e": draw.inputs(7, H), "layers": draw.layers(H, D)}

    def f(p, ids):
        return mlp(p["layers"], jnp.tanh(jax.nn.one_hot(ids, 7, dtype=dtype) @ p["e"]).mean(1))

    return f, params, draw.ids(N, T, below=7)


@network
def embedding_tied(dtype):
    """The embedding is also the readout, transposed."""
    draw = Draw(dtype)
    params = {"e": draw.inputs(VOCABULARY, H, scale=0.5), "layers": draw.layers(H, 6, H)}

    def f(p, ids):
        return mlp(p["layers"], p["e"][ids].mean(1)) @ p["e"].T

    return f, params, draw.ids(N, T, below=VOCABULARY)


def _block(draw):
    norm = [{"gain": draw.gain(H), "bias": draw.bias(H)} for _ in range(3)]
    return {
        "norm": norm,
        "qkv": draw.weight(H, 3, HEADS, H // HEADS),
        "o": draw.inputs(HEADS, H // HEADS, H, scale=0.4),
        "mlp": draw.layers(H, 2 * H, H),
    }


def _attend(p, h, causal):
    """Multi-head attention by `einsum`; `h [n, T, H]`."""
    q, k, v = jnp.moveaxis(jnp.einsum("nti,ishk->ntshk", h, p["qkv"]), 2, 0)
    scores = jnp.einsum("nthk,nshk->nhts", q, k) / (H // HEADS) ** 0.5
    if causal:
        scores = jnp.where(jnp.tril(jnp.ones((1, 1, T, T), bool)), scores, -1e9)
    return jnp.einsum("nhts,nshk,hki->nti", jax.nn.softmax(scores), v, p["o"])


def _transform(p, h, causal):
    h = h + _attend(p, layer_norm(p["norm"][0], h), causal)
    h = h + mlp(p["mlp"], layer_norm(p["norm"][1], h))
    return layer_norm(p["norm"][2], h)


@network
def transformer_tied(dtype):
    """Causal, pre-norm, learned positions, tied embeddings: logits of the next token."""
    draw = Draw(dtype)
    params = {"e": draw.inputs(VOCABULARY, H, scale=0.5), "positions": draw.bias(T, H)}
    params["block"] = _block(draw)

    def f(p, ids):
        h = _transform(p["block"], p["e"][ids] + p["positions"][None], causal=True)
        return h[:, -1] @ p["e"].T

    return f, params, draw.ids(N, T, below=VOCABULARY)


@network
def transformer_class_token(dtype):
    """A parameter is put before the sequence as its first token; continuous inputs."""
    draw = Draw(dtype)
    params = {"in": draw.layers(2, H)[0], "token": draw.bias(H), "block": _block(draw)}
    params["out"] = draw.layers(H, D)[0]

    def f(p, x):
        token = jnp.broadcast_to(p["token"][None, None], (x.shape[0], 1, H))
        h = jnp.concatenate([token, dense(p["in"], x)], axis=1)
        return dense(p["out"], _transform(p["block"], h, causal=False)[:, 0])

    return f, params, draw.inputs(N, T, 2)


@network
def attention_fused(dtype):
    """Single head, one fused product split in three, softmax by hand."""
    draw = Draw(dtype)
    params = {"qkv": draw.layers(2, 3 * H)[0], "out": draw.layers(H, D)[0]}

    def f(p, x):
        q, k, v = jnp.split(dense(p["qkv"], x), 3, axis=-1)
        scores = q @ jnp.swapaxes(k, 1, 2)
        weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(-1, keepdims=True)))
        return dense(p["out"], (weights / weights.sum(-1, keepdims=True) @ v).mean(1))

    return f, params, draw.inputs(N, T, 2)


@network
def attention_library(dtype):
    """`jax.nn.dot_product_attention`, with learned queries that all examples share."""
    draw = Draw(dtype)
    params = {"queries": draw.inputs(1, 2, HEADS, 4), "k": draw.weight(2, HEADS, 4)}
    params |= {"v": draw.weight(2, HEADS, 4), "out": draw.layers(16, D)[0]}

    def f(p, x):
        k, v = (jnp.einsum("ntc,chk->nthk", x, p[name]) for name in ("k", "v"))
        q = jnp.broadcast_to(p["queries"], (x.shape[0], 2, HEADS, 4))
        return dense(p["out"], jax.nn.dot_product_attention(q, k, v).reshape(-1, 16))

    return promoting(f), params, draw.inputs(N, T, 2)
