"""Equinox modules; `params` is the floating half of `eqx.partition`, mapped over examples."""

import equinox as eqx
import jax
import jax.numpy as jnp

from ._registry import Draw, network

N, D = 3, 3


def _partitioned(model, dtype, x):
    """`(f, params, x)` of a module that takes one example."""
    params, static = eqx.partition(model, eqx.is_inexact_array)
    params = Draw(dtype, seed=1).redraw(params)
    return lambda p, x: jax.vmap(eqx.combine(p, static))(x), params, x


def _keys(count):
    return jax.random.split(jax.random.key(0), count)


@network
def equinox_mlp(dtype):
    model = eqx.nn.MLP(5, D, 8, 2, activation=jax.nn.gelu, key=_keys(1)[0])
    return _partitioned(model, dtype, Draw(dtype).inputs(N, 5))


@network
def equinox_cnn(dtype):
    keys = _keys(3)
    model = eqx.nn.Sequential(
        [
            eqx.nn.Conv2d(2, 4, 3, padding=1, key=keys[0]),
            eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.AvgPool2d(2, 2),
            eqx.nn.Conv2d(4, 5, 2, key=keys[1]),
            eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.MaxPool2d(2),
            eqx.nn.Lambda(jnp.ravel),
            eqx.nn.Linear(5, D, key=keys[2]),
        ]
    )
    return _partitioned(model, dtype, Draw(dtype).inputs(N, 2, 6, 6))


class _Block(eqx.Module):
    first: eqx.nn.Conv2d
    norm: eqx.nn.GroupNorm
    second: eqx.nn.Conv2d
    shortcut: eqx.nn.Conv2d

    def __init__(self, i, o, stride, key):
        keys = jax.random.split(key, 3)
        self.first = eqx.nn.Conv2d(i, o, 3, stride, padding=1, use_bias=False, key=keys[0])
        self.norm = eqx.nn.GroupNorm(2, o)
        self.second = eqx.nn.Conv2d(o, o, 3, padding=1, use_bias=False, key=keys[1])
        self.shortcut = eqx.nn.Conv2d(i, o, 1, stride, use_bias=False, key=keys[2])

    def __call__(self, x, *, key=None):
        y = self.second(jax.nn.relu(self.norm(self.first(x))))
        return jax.nn.relu(self.shortcut(x) + y)


@network
def equinox_resnet(dtype):
    keys = _keys(3)
    model = eqx.nn.Sequential(
        [
            _Block(2, 4, 1, keys[0]),
            _Block(4, 8, 2, keys[1]),
            eqx.nn.Lambda(lambda x: x.mean((1, 2))),
            eqx.nn.Linear(8, D, key=keys[2]),
        ]
    )
    return _partitioned(model, dtype, Draw(dtype).inputs(N, 2, 6, 6))


class _Transformer(eqx.Module):
    """Causal, tied: the embedding, transposed, is the readout of the last state."""

    embed: eqx.nn.Embedding
    positions: jax.Array
    norms: list[eqx.nn.LayerNorm]
    attention: eqx.nn.MultiheadAttention
    mlp: eqx.nn.MLP

    def __init__(self, vocabulary=4, t=5, h=8):
        keys = _keys(3)
        self.embed = eqx.nn.Embedding(vocabulary, h, key=keys[0])
        self.positions = jnp.zeros((t, h))
        self.norms = [eqx.nn.LayerNorm(h) for _ in range(3)]
        self.attention = eqx.nn.MultiheadAttention(2, h, key=keys[1])
        self.mlp = eqx.nn.MLP(h, h, 16, 1, activation=jax.nn.gelu, key=keys[2])

    def __call__(self, ids):
        x = jax.vmap(self.embed)(ids) + self.positions
        y = jax.vmap(self.norms[0])(x)
        mask = jnp.tril(jnp.ones((len(ids), len(ids)), bool))
        x = x + self.attention(y, y, y, mask)
        x = x + jax.vmap(self.mlp)(jax.vmap(self.norms[1])(x))
        return self.embed.weight @ self.norms[2](x[-1])


@network
def equinox_transformer(dtype):
    return _partitioned(_Transformer(), dtype, Draw(dtype).ids(N, 5, below=4))


class _Recurrent(eqx.Module):
    cell: eqx.Module
    readout: eqx.nn.Linear

    def __call__(self, x):
        start = jnp.zeros(self.cell.hidden_size, x.dtype)
        last = jax.lax.scan(lambda h, x_t: (self.cell(x_t, h), None), start, x)[0]
        return self.readout(last)


@network
def equinox_gru(dtype):
    keys = _keys(2)
    model = _Recurrent(eqx.nn.GRUCell(2, 6, key=keys[0]), eqx.nn.Linear(6, D, key=keys[1]))
    return _partitioned(model, dtype, Draw(dtype).inputs(N, 5, 2))
