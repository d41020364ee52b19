"""Flax Linen modules; `params` is the dictionary of the "params" collection."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ._registry import Draw, network, promoting

N, D = 3, 3


def _bound(module, dtype, x):
    """`(f, params, x)` of a module, its parameters drawn anew in `dtype`."""
    f, params = _initialised(module, x)
    return f, Draw(dtype, seed=1).redraw(params), x


def _initialised(module, x):
    with jax.numpy_dtype_promotion("standard"):
        params = module.init(jax.random.key(0), x)["params"]
    return promoting(lambda p, x: module.apply({"params": p}, x)), params


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut, projected where the shape changes."""

    channels: int
    strides: int
    groups: int | None
    dtype: type

    @nn.compact
    def __call__(self, x):
        def conv(side, strides):
            return nn.Conv(
                self.channels, (side, side), strides, use_bias=False, param_dtype=self.dtype
            )

        def norm(y):
            return nn.GroupNorm(self.groups, param_dtype=self.dtype)(y) if self.groups else y

        y = nn.relu(norm(conv(3, self.strides)(x)))
        y = norm(conv(3, 1)(y))
        if x.shape != y.shape:
            x = norm(conv(1, self.strides)(x))
        return nn.relu(x + y)


class ResNet(nn.Module):
    """The CIFAR form: a 3 x 3 stem, then stages that double the channels and halve the side."""

    width: int
    stages: tuple[int, ...]
    outputs: int
    groups: int | None
    dtype: type

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(self.width, (3, 3), use_bias=False, param_dtype=self.dtype)(x)
        for stage, blocks in enumerate(self.stages):
            for block in range(blocks):
                strides = 2 if stage and not block else 1
                x = ResidualBlock(self.width * 2**stage, strides, self.groups, self.dtype)(x)
        return nn.Dense(self.outputs, param_dtype=self.dtype)(x.mean((1, 2)))


def resnet18(width, dtype=jnp.float32, *, n=4, side=32, outputs=10, groups=4):
    """`(f, params, x)` of a ResNet-18 on `n` images `[side, side, 3]`.

    GroupNorm of `groups` groups, which must divide `width`, or no normalisation for None. Width
    64 has some 11 million parameters.
    """
    x = Draw(dtype).inputs(n, side, side, 3)
    module = ResNet(width, (2, 2, 2, 2), outputs, groups, dtype)
    return *_initialised(module, x), x


@network
def linen_resnet(dtype):
    x = Draw(dtype).inputs(N, 6, 6, 2)
    return _bound(ResNet(4, (1, 1), D, 2, dtype), dtype, x)


@network
def linen_mlp(dtype):
    layers = [nn.Dense(8, param_dtype=dtype), nn.gelu, nn.Dense(7, param_dtype=dtype), nn.tanh]
    return _bound(
        nn.Sequential([*layers, nn.Dense(D, param_dtype=dtype)]), dtype, Draw(dtype).inputs(N, 5)
    )


class _CNN(nn.Module):
    dtype: type

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (3, 3), param_dtype=self.dtype)(x))
        x = nn.avg_pool(x, (2, 2), (2, 2))
        x = nn.relu(nn.Conv(5, (2, 2), padding="VALID", param_dtype=self.dtype)(x))
        x = nn.max_pool(x, (2, 2))
        return nn.Dense(D, param_dtype=self.dtype)(x.reshape(x.shape[0], -1))


@network
def linen_cnn(dtype):
    return _bound(_CNN(dtype), dtype, Draw(dtype).inputs(N, 6, 6, 2))


class _Transformer(nn.Module):
    """Causal, tied: the embedding attends the last state."""

    dtype: type
    vocabulary: int = 4
    h: int = 8

    @nn.compact
    def __call__(self, ids):
        embed = nn.Embed(self.vocabulary, self.h, param_dtype=self.dtype)
        positions = self.param(
            "positions", nn.initializers.normal(0.3), (ids.shape[1], self.h), self.dtype
        )
        x = embed(ids) + positions[None]
        y = nn.LayerNorm(param_dtype=self.dtype)(x)
        mask = nn.make_causal_mask(ids)
        x = x + nn.MultiHeadDotProductAttention(2, param_dtype=self.dtype)(y, mask=mask)
        y = nn.Dense(16, param_dtype=self.dtype)(nn.LayerNorm(param_dtype=self.dtype)(x))
        x = x + nn.Dense(self.h, param_dtype=self.dtype)(nn.gelu(y))
        return embed.attend(nn.LayerNorm(param_dtype=self.dtype)(x)[:, -1])


@network
def linen_transformer(dtype):
    return _bound(_Transformer(dtype), dtype, Draw(dtype).ids(N, 5, below=4))


class _LSTM(nn.Module):
    dtype: type

    @nn.compact
    def __call__(self, x):
        x = nn.RNN(nn.OptimizedLSTMCell(6, param_dtype=self.dtype))(x)
        return nn.Dense(D, param_dtype=self.dtype)(x[:, -1])


@network
def linen_lstm(dtype):
    return _bound(_LSTM(dtype), dtype, Draw(dtype).inputs(N, 5, 2))


class _Layer(nn.Module):
    dtype: type

    @nn.compact
    def __call__(self, x, _):
        return x + nn.tanh(nn.Dense(x.shape[-1], param_dtype=self.dtype)(x)), None


class _ScannedLayers(nn.Module):
    """`nn.scan` over `nn.remat` layers, as large models are written."""

    dtype: type

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(6, param_dtype=self.dtype)(x)
        layers = nn.scan(
            nn.remat(_Layer), variable_axes={"params": 0}, split_rngs={"params": True}, length=3
        )
        return nn.Dense(D, param_dtype=self.dtype)(layers(self.dtype)(x, None)[0])


@network
def linen_scanned_layers(dtype):
    return _bound(_ScannedLayers(dtype), dtype, Draw(dtype).inputs(N, 5))
