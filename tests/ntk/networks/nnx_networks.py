"""Flax NNX modules; `params` is the `nnx.State` of their `nnx.Param` variables."""

import jax
import jax.numpy as jnp
from flax import nnx

from ._registry import Draw, network, promoting

N, D = 3, 3


def _split(model, dtype, x):
    """`(f, params, x)` of a model: its graph and other state are constants of f."""
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    params = Draw(dtype, seed=1).redraw(params)
    return promoting(lambda p, x: nnx.merge(graph, p, rest)(x)), params, x


def _options(dtype):
    return {"param_dtype": dtype, "rngs": nnx.Rngs(0)}


@network
def nnx_mlp(dtype):
    o = _options(dtype)
    model = nnx.Sequential(
        nnx.Linear(5, 8, **o), nnx.gelu, nnx.Linear(8, 7, **o), jnp.tanh, nnx.Linear(7, D, **o)
    )
    return _split(model, dtype, Draw(dtype).inputs(N, 5))


class _CNN(nnx.Module):
    def __init__(self, dtype):
        o = _options(dtype)
        self.first = nnx.Conv(2, 4, (3, 3), **o)
        self.second = nnx.Conv(4, 5, (2, 2), padding="VALID", **o)
        self.readout = nnx.Linear(5, D, **o)

    def __call__(self, x):
        x = nnx.avg_pool(nnx.relu(self.first(x)), (2, 2), (2, 2))
        x = nnx.max_pool(nnx.relu(self.second(x)), (2, 2))
        return self.readout(x.reshape(x.shape[0], -1))


@network
def nnx_cnn(dtype):
    return _split(_CNN(dtype), dtype, Draw(dtype).inputs(N, 6, 6, 2))


class _Block(nnx.Module):
    def __init__(self, i, o, strides, dtype):
        options = _options(dtype)
        self.first = nnx.Conv(i, o, (3, 3), strides, use_bias=False, **options)
        self.norm = nnx.GroupNorm(o, 2, **options)
        self.second = nnx.Conv(o, o, (3, 3), use_bias=False, **options)
        self.shortcut = nnx.Conv(i, o, (1, 1), strides, use_bias=False, **options)

    def __call__(self, x):
        y = self.second(nnx.relu(self.norm(self.first(x))))
        return nnx.relu(self.shortcut(x) + y)


@network
def nnx_resnet(dtype):
    model = nnx.Sequential(
        _Block(2, 4, 1, dtype),
        _Block(4, 8, 2, dtype),
        lambda x: x.mean((1, 2)),
        nnx.Linear(8, D, **_options(dtype)),
    )
    return _split(model, dtype, Draw(dtype).inputs(N, 6, 6, 2))


class _Transformer(nnx.Module):
    """Causal, tied: the embedding attends the last state."""

    def __init__(self, dtype, vocabulary=4, t=5, h=8):
        o = _options(dtype)
        self.embed = nnx.Embed(vocabulary, h, **o)
        self.positions = nnx.Param(jnp.zeros((t, h), dtype))
        self.norms = nnx.List([nnx.LayerNorm(h, **o) for _ in range(3)])
        self.attention = nnx.MultiHeadAttention(2, h, decode=False, **o)
        self.mlp = nnx.Sequential(nnx.Linear(h, 16, **o), nnx.gelu, nnx.Linear(16, h, **o))

    def __call__(self, ids):
        x = self.embed(ids) + self.positions[...][None]
        x = x + self.attention(self.norms[0](x), mask=nnx.make_causal_mask(ids))
        x = x + self.mlp(self.norms[1](x))
        return self.embed.attend(self.norms[2](x)[:, -1])


@network
def nnx_transformer(dtype):
    return _split(_Transformer(dtype), dtype, Draw(dtype).ids(N, 5, below=4))


class _GRU(nnx.Module):
    def __init__(self, dtype):
        o = _options(dtype)
        self.rnn = nnx.RNN(nnx.GRUCell(2, 6, **o), rngs=nnx.Rngs(1))
        self.readout = nnx.Linear(6, D, **o)

    def __call__(self, x):
        start = jnp.zeros((x.shape[0], 6), x.dtype)
        return self.readout(self.rnn(x, initial_carry=start)[:, -1])


@network
def nnx_gru(dtype):
    return _split(_GRU(dtype), dtype, Draw(dtype).inputs(N, 5, 2))


@network
def nnx_pure_dictionary(dtype):
    """The state as nested dictionaries of arrays, which is how it is stored."""
    f, template, x = nnx_mlp(dtype)

    def from_dictionary(p, x):
        state = jax.tree.map(lambda leaf: leaf, template)
        nnx.replace_by_pure_dict(state, p)
        return f(state, x)

    return from_dictionary, nnx.to_pure_dict(template), x
