"""Random networks out of the pieces that networks are made of, against the dense Jacobian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import dense_kernel

from ntk import empirical_ntk
from ntk._methods import METHODS

N, T, K, D = 3, 2, 4, 3


@pytest.fixture(autouse=True, scope="module")
def _as_users_write():
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def _scan(p, h):
    """Two layers from one stacked weight, under scan."""
    stacked = jnp.stack([p["w"], p["w"].T])
    return jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), h, stacked)[0]


def _flat(p, h):
    """A weight cut out of a vector, its bias the part before."""
    vector = p["vector"]
    return h @ vector[K : K + K * K].reshape(K, K) + vector[:K]


def _gated(p, h):
    a, b = jnp.split(h @ p["wide"], 2, axis=-1)
    return a * jax.nn.sigmoid(b)


def _conv(p, h):
    numbers = ("NWC", "WIO", "NWC")
    return jax.lax.conv_general_dilated(h, p["kernel"], (1,), "SAME", dimension_numbers=numbers)


def _depthwise(p, h):
    numbers = ("NWC", "WIO", "NWC")
    kernel = p["kernel"][:, :1]
    return jax.lax.conv_general_dilated(
        h, kernel, (1,), "SAME", dimension_numbers=numbers, feature_group_count=K
    )


def _normalised(p, h):
    h = h - h.mean(-1, keepdims=True)
    return h / jnp.sqrt(jnp.square(h).mean(-1, keepdims=True) + 0.1) * p["gain"] + p["bias"]


def _shuffled(p, h):
    """Channels in two groups, exchanged: another arrangement of the same axis."""
    return h.reshape(-1, T, 2, K // 2).swapaxes(2, 3).reshape(-1, T, K)


def _fourier(p, h):
    return jnp.fft.irfft(jnp.fft.rfft(h) * jnp.fft.rfft(p["gain"])[None, None], n=K)


def _filters_of_norm(p, h):
    kernel = p["kernel"]
    kernel = p["gain"] * kernel * jax.lax.rsqrt(jnp.square(kernel).sum((0, 1), keepdims=True))
    return _conv({"kernel": kernel}, h)


# h [n, T, K] -> [n, T, K], with parameters that other layers use as well.
LAYERS = {
    "dense": lambda p, h: h @ p["w"],
    "transposed": lambda p, h: h @ p["w"].T,
    "scaled": lambda p, h: h @ (p["w"] * p["gain"]),
    "normalised_weight": lambda p, h: h @ (p["w"] / jnp.linalg.norm(p["w"], axis=0)),
    "norm_of_all": lambda p, h: h @ (p["gain"] * p["w"] / jnp.linalg.norm(p["w"])),
    "filters_of_norm": _filters_of_norm,
    "shuffled": _shuffled,
    "fourier": _fourier,
    "columns_then_rows": lambda p, h: (h @ p["w"][:, :2]) @ p["w"][:2],
    "in_twos": lambda p, h: h @ p["wide"].reshape(K, 2, K).sum(1),
    "of_a_filter": lambda p, h: h @ p["kernel"][1],
    "biased": lambda p, h: h + p["bias"],
    "shifted": lambda p, h: h + p["bias"].reshape(1, 1, K) * p["gain"],
    "tanh": lambda p, h: jnp.tanh(h),
    "relu": lambda p, h: jax.nn.relu(h),
    "softplus": lambda p, h: jax.nn.softplus(h),
    "layer_norm": _normalised,
    "flat": _flat,
    "gated": _gated,
    "residual": lambda p, h: h + jnp.tanh(h @ p["w"]),
    "attention": lambda p, h: jax.nn.softmax(h @ p["w"] @ h.swapaxes(1, 2)) @ h,
    "scan": _scan,
    "conv": _conv,
    "depthwise": _depthwise,
    "looked_up": lambda p, h: h + p["wide"][jnp.array([1, 3, 1])[:T], :K],
    "concatenated": lambda p, h: h @ jnp.concatenate([p["wide"][:, :2], p["w"][:, 2:]], 1),
    "checkpointed": lambda p, h: jax.checkpoint(lambda w, h: jnp.sin(h @ w))(p["w"], h),
    "einsum": lambda p, h: jnp.einsum("nti,oi,o->nto", h, p["w"], p["gain"]),
    "where": lambda p, h: jnp.where(h > 0, h * p["gain"], h),
}
READOUTS = {
    "mean": lambda p, h: h.mean(1) @ p["out"],
    "flat": lambda p, h: h.reshape(len(h), -1) @ jnp.concatenate([p["out"], -p["out"]]),
    "last": lambda p, h: jnp.tanh(h[:, -1]) @ p["out"] + p["bias"][:D],
    "tied": lambda p, h: h.mean(1) @ p["w"][:, :D],
    "pooled": lambda p, h: (h @ p["out"]).sum(1),
}


def parameters():
    rng = np.random.default_rng(0)
    shapes = {
        "w": (K, K), "wide": (K, 2 * K), "bias": (K,), "gain": (K,), "vector": (K + K * K,),
        "kernel": (3, K, K), "out": (K, D),
    }  # fmt: skip
    return {k: jnp.asarray(rng.normal(size=shape) / 2) for k, shape in shapes.items()}


def check(layers, readout):
    def f(p, x):
        h = x
        for name in layers:
            h = LAYERS[name](p, h)
        return READOUTS[readout](p, h)

    p, x = parameters(), np.random.default_rng(1).normal(size=(N, T, K))
    expected = dense_kernel(f, p, x)
    got = empirical_ntk(f, p, x, method=METHODS[0])
    assert np.linalg.norm(got - expected) <= 1e-12 * np.linalg.norm(expected)


some_layers = st.lists(st.sampled_from(sorted(LAYERS)), min_size=1, max_size=4)
some_readout = st.sampled_from(sorted(READOUTS))


@settings(max_examples=12, deadline=None, derandomize=True)
@given(some_layers, some_readout)
def test_random_networks(layers, readout):
    check(layers, readout)


@pytest.mark.slow
@settings(max_examples=50, deadline=None, derandomize=True)
@given(some_layers, some_readout)
def test_many_random_networks(layers, readout):
    check(layers, readout)
