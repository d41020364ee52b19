"""The registries, and parameters drawn from fixed seeds: equal in every dtype up to rounding."""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Network = tuple[Callable[[Any, Any], jax.Array], Any, Any]

NETWORKS: dict[str, Callable[[Any], Network]] = {}
BATCH_MIXING: dict[str, Callable[[Any], Network]] = {}


def network(build):
    """Register a network that treats each example on its own, under its function's name."""
    assert build.__name__ not in NETWORKS
    NETWORKS[build.__name__] = build
    return build


def mixing(build):
    """Register a network whose output for one example depends on the others."""
    assert build.__name__ not in BATCH_MIXING
    BATCH_MIXING[build.__name__] = build
    return build


class Draw:
    """Normal draws in `dtype`: `inputs` and `bias` of fixed scale, `weight` over its fan-in."""

    def __init__(self, dtype, seed=0):
        self.dtype, self.rng = dtype, np.random.default_rng(seed)

    def inputs(self, *shape, scale=1.0):
        return jnp.asarray(scale * self.rng.standard_normal(shape), self.dtype)

    def weight(self, *shape):
        return self.inputs(*shape, scale=1.4 / np.sqrt(np.prod(shape[:-1])))

    def bias(self, *shape):
        return self.inputs(*shape, scale=0.3)

    def gain(self, *shape):
        return 1 + self.bias(*shape)

    def ids(self, *shape, below):
        return jnp.asarray(self.rng.integers(0, below, shape), jnp.int32)

    def layers(self, *widths):
        """Weights `w [in, out]` and biases `b [out]` of a chain of dense layers."""
        return [{"w": self.weight(i, o), "b": self.bias(o)} for i, o in itertools.pairwise(widths)]

    def redraw(self, params):
        """`params` in `dtype`: weights drawn anew, vectors (biases, gains) moved off 0 and 1."""

        def draw(leaf):
            if leaf.ndim > 1:
                return self.weight(*leaf.shape)
            return leaf.astype(self.dtype) + self.inputs(*leaf.shape, scale=0.1)

        return jax.tree.map(draw, params)


def promoting(f):
    """`f` under JAX's usual promotion of dtypes, which libraries rely on."""

    @functools.wraps(f)
    def wrapped(params, x):
        with jax.numpy_dtype_promotion("standard"):
            return f(params, x)

    return wrapped


def dense(layer, x):
    """`x w + b` over the last axis of `x`."""
    return x @ layer["w"] + layer["b"].reshape((1,) * (x.ndim - 1) + (-1,))


def mlp(layers, x):
    for layer in layers[:-1]:
        x = jax.nn.gelu(dense(layer, x))
    return dense(layers[-1], x)


def normalise(x, axes, epsilon=1e-5):
    """Mean zero and variance one over `axes`."""
    centred = x - x.mean(axes, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.square(centred).mean(axes, keepdims=True) + epsilon)


def layer_norm(p, x):
    shape = (1,) * (x.ndim - 1) + (-1,)
    return normalise(x, -1) * p["gain"].reshape(shape) + p["bias"].reshape(shape)
