"""The networks whose kernels are timed: plain JAX, alike on every JAX since 0.4.

Parameters and inputs come from NumPy's generator at a fixed seed, so that two interpreters with
two versions of JAX hold the same numbers. This file imports nothing else, for it also runs in
the environment of the peer. No network mixes the examples of a batch: the residual network has
no normalisation, the transformer normalises each token.
"""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# NumPy's generator, or one that gives shapes alone.
Normals = Any
IMAGE = 32
PATCH = 4
DENSE_INPUTS = 784


@dataclasses.dataclass(frozen=True)
class Setting:
    """One network at one size.

    ``width`` is the number of hidden units, of channels (of the first stage in a residual
    network), or the transformer's model dimension; ``depth`` the number of hidden layers, of
    convolutions or of transformer blocks (a residual network has its own 18 layers).
    """

    network: str
    width: int
    n: int
    d: int
    depth: int = 3
    inputs: int = DENSE_INPUTS
    image: int = IMAGE

    def build(self) -> tuple[Callable[..., jax.Array], Any, np.ndarray]:
        """``f(params, x) -> [n, d]``, its parameters, and the inputs ``[n, ...]``, in float32."""
        family = FAMILIES[self.network]
        rng = np.random.default_rng(0)
        params = family.init(self, rng)
        return family.apply, params, rng.standard_normal(self.input_shape, np.float32)

    def shapes(self) -> tuple[Callable[..., jax.Array], Any, jax.ShapeDtypeStruct]:
        """The same with shapes in place of numbers, so that no size is too large."""
        family = FAMILIES[self.network]
        params = jax.eval_shape(lambda: family.init(self, _Zeros()))
        return family.apply, params, jax.ShapeDtypeStruct(self.input_shape, np.float32)

    def replace(self, **changes: Any) -> "Setting":
        """With some sizes changed."""
        return dataclasses.replace(self, **changes)

    @property
    def input_shape(self) -> tuple[int, ...]:
        if self.network == "dense":
            return self.n, self.inputs
        return self.n, self.image, self.image, 3


class Family(NamedTuple):
    """``init(setting, rng) -> params`` and ``apply(params, x) -> [n, d]``."""

    init: Callable[[Setting, Normals], Any]
    apply: Callable[[Any, Any], jax.Array]


class _Zeros:
    """A generator whose numbers nobody looks at."""

    def standard_normal(self, shape: Any, dtype: Any) -> jax.Array:
        return jnp.zeros(shape, dtype)


def _weight(rng: Normals, *shape: int) -> np.ndarray:
    """Normal with variance 2 / fan-in."""
    fan_in = int(np.prod(shape[:-1]))
    return rng.standard_normal(shape, np.float32) * np.float32((2 / fan_in) ** 0.5)


def _bias(rng: Normals, size: int) -> np.ndarray:
    return rng.standard_normal(size, np.float32) * np.float32(0.1)


def _affine(params: Any, x: jax.Array) -> jax.Array:
    weight, bias = params
    return x @ weight + bias.reshape((1,) * (x.ndim - 1) + (-1,))


# --- fully connected -----------------------------------------------------------------------


def _dense_init(setting: Setting, rng: Normals) -> Any:
    sizes = [setting.inputs, *[setting.width] * setting.depth, setting.d]
    return [(_weight(rng, a, b), _bias(rng, b)) for a, b in itertools.pairwise(sizes)]


def dense(params: Any, x: jax.Array) -> jax.Array:
    """Hidden layers with relu and a linear readout."""
    for layer in params[:-1]:
        x = jax.nn.relu(_affine(layer, x))
    return _affine(params[-1], x)


# --- convolutional -------------------------------------------------------------------------


def _conv(x: jax.Array, weight: jax.Array, stride: int = 1) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, weight, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _convolutional_init(setting: Setting, rng: Normals) -> Any:
    channels = [3, *[setting.width] * setting.depth]
    weights = [_weight(rng, 3, 3, a, b) for a, b in itertools.pairwise(channels)]
    return [*weights, _weight(rng, setting.width, setting.d)]


def convolutional(params: Any, x: jax.Array) -> jax.Array:
    """Convolutions 3x3 with relu, the average over pixels, and a linear readout."""
    for weight in params[:-1]:
        x = jax.nn.relu(_conv(x, weight))
    return jnp.mean(x, axis=(1, 2)) @ params[-1]


# --- ResNet-18 -----------------------------------------------------------------------------


def _resnet_init(setting: Setting, rng: Normals) -> Any:
    channels = setting.width
    stem = _weight(rng, 3, 3, 3, channels)
    blocks = []
    for stage in range(4):
        for block in range(2):
            out = setting.width * 2**stage
            shortcut = None
            if block == 0 and stage > 0:
                shortcut = _weight(rng, 1, 1, channels, out)
            second = _weight(rng, 3, 3, out, out) * np.float32(0.3)
            blocks.append((_weight(rng, 3, 3, channels, out), second, shortcut))
            channels = out
    return stem, blocks, (_weight(rng, channels, setting.d), _bias(rng, setting.d))


def resnet18(params: Any, x: jax.Array) -> jax.Array:
    """ResNet-18 for small images: four stages of two blocks, without normalisation."""
    stem, blocks, readout = params
    x = jax.nn.relu(_conv(x, stem))
    for first, second, shortcut in blocks:
        stride = 1 if shortcut is None else 2
        y = _conv(jax.nn.relu(_conv(x, first, stride)), second)
        x = jax.nn.relu(y + (x if shortcut is None else _conv(x, shortcut, stride)))
    return _affine(readout, jnp.mean(x, axis=(1, 2)))


# --- transformer ---------------------------------------------------------------------------


def _transformer_init(setting: Setting, rng: Normals) -> Any:
    width, tokens = setting.width, (setting.image // PATCH) ** 2
    patch = PATCH * PATCH * 3

    def layer(a: int, b: int) -> tuple[np.ndarray, np.ndarray]:
        return _weight(rng, a, b) * np.float32(0.5**0.5), _bias(rng, b)

    def norm() -> tuple[np.ndarray, np.ndarray]:
        return 1 + _bias(rng, width), _bias(rng, width)

    return {
        "patches": layer(patch, width),
        "positions": rng.standard_normal((tokens, width), np.float32) * np.float32(0.1),
        "blocks": [
            {
                "norms": (norm(), norm()),
                "attention": [layer(width, width) for _ in range(4)],
                "mlp": (layer(width, 4 * width), layer(4 * width, width)),
            }
            for _ in range(setting.depth)
        ],
        "norm": norm(),
        "readout": layer(width, setting.d),
    }


def _layer_norm(params: Any, x: jax.Array) -> jax.Array:
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(centred * centred, axis=-1, keepdims=True)
    scale, shift = (a[None, None] for a in params)
    return centred * jax.lax.rsqrt(variance + 1e-6) * scale + shift


def _attention(params: Any, x: jax.Array, heads: int = 4) -> jax.Array:
    n, tokens, width = x.shape
    q, k, v = (_affine(p, x).reshape(n, tokens, heads, -1) for p in params[:3])
    logits = jnp.einsum("nthc,nshc->nhts", q, k) * (width // heads) ** -0.5
    mixed = jnp.einsum("nhts,nshc->nthc", jax.nn.softmax(logits, axis=-1), v)
    return _affine(params[3], mixed.reshape(n, tokens, width))


def transformer(params: Any, x: jax.Array) -> jax.Array:
    """A vision transformer: patches 4x4, layer norm first, four heads, the mean over tokens."""
    n, height, width, channels = x.shape
    x = x.reshape(n, height // PATCH, PATCH, width // PATCH, PATCH, channels)
    x = x.transpose(0, 1, 3, 2, 4, 5).reshape(n, -1, PATCH * PATCH * channels)
    x = _affine(params["patches"], x) + params["positions"][None]
    for block in params["blocks"]:
        x = x + _attention(block["attention"], _layer_norm(block["norms"][0], x))
        first, second = block["mlp"]
        x = x + _affine(second, jax.nn.gelu(_affine(first, _layer_norm(block["norms"][1], x))))
    return _affine(params["readout"], jnp.mean(_layer_norm(params["norm"], x), axis=1))


FAMILIES = {
    "dense": Family(_dense_init, dense),
    "convolutional": Family(_convolutional_init, convolutional),
    "resnet18": Family(_resnet_init, resnet18),
    "transformer": Family(_transformer_init, transformer),
}

# The cases compared with the peer, by name.
CASES = {
    "fc-512-n64-d10": Setting("dense", 512, 64, 10),
    "fc-512-n64-d100": Setting("dense", 512, 64, 100),
    "fc-2048-n128-d10": Setting("dense", 2048, 128, 10),
    "fc-2048-n128-d100": Setting("dense", 2048, 128, 100),
    "conv-64-n16-d10": Setting("convolutional", 64, 16, 10),
    "conv-128-n16-d10": Setting("convolutional", 128, 16, 10),
    "resnet18-64-n4-d10": Setting("resnet18", 64, 4, 10),
    "vit-64-n8-d10": Setting("transformer", 64, 8, 10, depth=2),
    "fc-tiny": Setting("dense", 8, 3, 2, depth=1, inputs=5),
    "conv-tiny": Setting("convolutional", 4, 2, 2, depth=1, image=8),
    "resnet18-tiny": Setting("resnet18", 2, 2, 2, image=8),
    "vit-tiny": Setting("transformer", 8, 2, 2, depth=1, image=8),
}
