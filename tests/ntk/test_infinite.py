"""Kernels of infinite width against finite networks drawn from the prior, and closed forms."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntk
from ntk.layers import (
    Activation,
    AvgPool,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    GlobalSumPool,
    LayerNorm,
    MaxPool,
    Parallel,
    Residual,
    Scale,
    Serial,
    SumPool,
)

WIDTH, DRAWS = 128, 40


def normal(*shape):
    return jnp.asarray(np.random.default_rng(sum(shape)).normal(size=shape))


def act(name):
    return Activation(name)


def dense():
    return Dense(1.4, 0.3)


def conv(**settings):
    return Conv((3, 3), weight_std=1.3, bias_std=0.2, **settings)


VECTORS, IMAGES, SIGNALS = normal(3, 5), normal(3, 6, 5, 2), normal(3, 9, 2)
NETWORKS = {
    "dense": (Serial(dense(), act("relu"), dense(), act("erf"), dense()), VECTORS),
    "normalised": (Serial(dense(), LayerNorm(1e-3), act("tanh"), dense()), VECTORS),
    "residual": (Serial(dense(), Residual(act("relu"), dense()), act("gelu"), dense()), VECTORS),
    "scaled branches": (
        Serial(dense(), Parallel(Scale(0.5), Serial(act("relu"), dense(), Scale(2.0))), dense()),
        VECTORS,
    ),
    "flat": (
        Serial(conv(), act("relu"), conv(strides=2), act("relu"), Flatten(), dense()),
        IMAGES,
    ),
    "global mean": (
        Serial(conv(), act("relu"), conv(padding="VALID"), act("relu"), GlobalAvgPool(), dense()),
        IMAGES,
    ),
    "means": (
        Serial(
            conv(padding="CIRCULAR"), act("relu"), AvgPool((2, 2)), conv(), act("relu"),
            Flatten(), dense(),
        ),
        IMAGES,
    ),
    "sums": (
        Serial(
            conv(), act("relu"), SumPool((2, 2), 1), conv(), LayerNorm(), act("gelu"),
            GlobalSumPool(), dense(),
        ),
        IMAGES,
    ),
    "residual convolutions": (
        Serial(
            conv(), Residual(act("relu"), conv(), shortcut=conv()), act("relu"), GlobalAvgPool(),
            dense(),
        ),
        IMAGES,
    ),
    "one axis": (
        Serial(Conv((4,), 2, bias_std=0.1), act("sin"), GlobalAvgPool(), dense()), SIGNALS
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_means_over_wide_networks(name):
    network, x = NETWORKS[name]

    @jax.jit
    def one(key):
        widths = itertools.repeat(WIDTH)
        parameters, _ = network.init(key, x.shape[1:], widths, x.dtype)
        outputs = network.apply(parameters, x)
        tangent = ntk.empirical_ntk(
            lambda p, x: network.apply(p, x)[:, :1], parameters, x, trace_axes=1
        )
        return outputs @ outputs.T / WIDTH, tangent

    draws = [one(key) for key in jax.random.split(jax.random.key(0), DRAWS)]
    exact = ntk.infinite_kernel(network)(x)
    for drawn, infinite in zip(zip(*draws, strict=True), exact, strict=True):
        finite = np.stack(drawn)
        error = finite.std(0, ddof=1) / DRAWS**0.5
        # 4.5 standard errors, and what is left of order one over the width.
        allowed = 4.5 * error + np.abs(infinite).max() / WIDTH
        assert (np.abs(finite.mean(0) - infinite) < allowed).all()
        # The means are precise enough to tell.
        assert (error < 0.1 * np.abs(infinite).max()).all()


def test_relu_networks_by_hand():
    """Cho and Saul 2009, eq. 11 and 12, in terms of angles."""
    x, y = normal(4, 5), normal(3, 5)
    sigma, bias = 1.3, 0.4
    network = Serial(Dense(sigma, bias), Activation("relu"), Dense(sigma, bias))

    def layer(products, width):
        return sigma**2 * products / width + bias**2

    k, a, b = layer(x @ y.T, 5), layer((x * x).sum(1), 5), layer((y * y).sum(1), 5)
    norms = np.sqrt(np.outer(a, b))
    angle = np.arccos(np.asarray(k) / norms)
    second = (np.sin(angle) + (np.pi - angle) * np.cos(angle)) * norms / (2 * np.pi)
    slope = (np.pi - angle) / (2 * np.pi)
    nngp = sigma**2 * second + bias**2
    got = ntk.infinite_kernel(network)(x, y)
    np.testing.assert_allclose(got.nngp, nngp, rtol=1e-12)
    np.testing.assert_allclose(got.ntk, nngp + sigma**2 * slope * np.asarray(k), rtol=1e-12)


def test_a_kernel_with_itself_and_one_at_a_time():
    for name in ("dense", "global mean", "flat"):
        network, x = NETWORKS[name]
        kernel = ntk.infinite_kernel(network)
        both = kernel(x)
        # Who x2 is, is not known: angles of zero are known to the root of the rounding.
        np.testing.assert_allclose(kernel(x, x[:2]).nngp, both.nngp[:, :2], rtol=1e-12)
        np.testing.assert_allclose(kernel(x, x[:2]).ntk, both.ntk[:, :2], rtol=1e-7)
        np.testing.assert_allclose(kernel(x, get="nngp"), both.nngp, rtol=1e-12)
        np.testing.assert_allclose(kernel(x, get="ntk"), both.ntk, rtol=1e-12)
        assert kernel(x, get=("nngp",)).ntk is None
        np.testing.assert_array_equal(both.ntk, both.ntk.T)
        assert (np.linalg.eigvalsh(both.nngp) > 0).all()


def test_positions_that_no_pooling_pairs_are_not_paired():
    """Flattened, a convolutional kernel needs equal positions alone: 64 times fewer numbers."""
    network = Serial(conv(), act("relu"), conv(), act("relu"), Flatten(), dense())
    x = normal(2, 8, 8, 3)
    program = jax.make_jaxpr(ntk.infinite_kernel(network))(x)
    pooled = jax.make_jaxpr(
        ntk.infinite_kernel(Serial(*network.layers[:-2], GlobalAvgPool(), dense()))
    )(x)
    assert largest(program.jaxpr) <= 2 * 2 * 10 * 10 * 3
    assert largest(pooled.jaxpr) >= 2 * 2 * 64 * 64


def largest(jaxpr):
    sizes = [var.aval.size for equation in jaxpr.eqns for var in equation.outvars]
    inner = [largest(j.jaxpr) for e in jaxpr.eqns for j in e.params.values() if hasattr(j, "jaxpr")]
    return max([*sizes, *inner])


def test_derivatives_and_precision():
    network, x = NETWORKS["dense"]
    kernel = ntk.infinite_kernel(network)

    def total(x):
        return jnp.sum(kernel(x).ntk * normal(3, 3))

    twice = x.at[1].set(x[0])
    direction = normal(4, 5)[:3]
    for at in (x, twice, x.at[2].set(0.0)):
        gradient = jax.grad(total)(at)
        assert np.isfinite(gradient).all()
    step = 1e-6
    slope = (total(x + step * direction) - total(x - step * direction)) / (2 * step)
    np.testing.assert_allclose(jnp.sum(jax.grad(total)(x) * direction), slope, rtol=1e-6)
    single = kernel(x.astype(jnp.float32))
    assert single.nngp.dtype == single.ntk.dtype == jnp.float32
    np.testing.assert_allclose(single.ntk, kernel(x).ntk, rtol=1e-5)


def test_finite_layers_have_the_shapes_they_say():
    for network, x in NETWORKS.values():
        parameters, shape = network.init(
            jax.random.key(0), x.shape[1:], itertools.repeat(7), jnp.float32
        )
        outputs = network.apply(parameters, x.astype(jnp.float32))
        assert outputs.shape == (3, *shape)
        assert outputs.dtype == jnp.float32


def test_widths_of_every_layer():
    network = Serial(Dense(), Activation("relu"), Dense(times=2), Activation("relu"), Dense())
    parameters, shape = network.init(jax.random.key(0), (5,), iter([4, 3, 2]), jnp.float64)
    shapes = [p["weight"].shape for p in parameters if p]
    assert shapes == [(5, 4), (4, 6), (6, 2)]
    assert shape == (2,)


def test_bad_networks_and_inputs():
    kernel = ntk.infinite_kernel
    relu, image = act("relu"), IMAGES
    bad = [
        (ValueError, "must have weights", lambda: kernel(Serial(dense(), relu))),
        (TypeError, "layer of ntk.layers", lambda: kernel("mlp")),
        (TypeError, "expected a layer", lambda: Serial(dense(), jnp.tanh)),
        (ValueError, "Gaussian", lambda: kernel(Serial(dense(), relu, relu, dense()))(VECTORS)),
        (ValueError, "pool or flatten", lambda: kernel(Serial(conv(), dense()))(image)),
        (ValueError, "at most one branch", lambda: kernel(
            Serial(dense(), Parallel(Serial(), Scale(2.0)), dense()))(VECTORS)),
        (ValueError, "2 spatial axes", lambda: kernel(
            Serial(conv(), Flatten(), dense()))(VECTORS)),
        (ValueError, "leaves nothing", lambda: kernel(
            Serial(Conv((9, 9), padding="VALID"), Flatten(), dense()))(image)),
        (NotImplementedError, "max pooling", lambda: kernel(
            Serial(conv(), MaxPool((2, 2)), Flatten(), dense()))(image)),
        (ValueError, "x1 is not finite", lambda: kernel(dense())(VECTORS.at[0, 0].set(jnp.nan))),
        (TypeError, "must be floating point", lambda: kernel(dense())(jnp.ones((2, 3), int))),
        (ValueError, "x1 must be", lambda: kernel(dense())(jnp.ones(3))),
        (ValueError, "equal shapes", lambda: kernel(dense())(VECTORS, VECTORS[:, :3])),
        (ValueError, "get must be", lambda: kernel(dense())(VECTORS, get="gp")),
        (ValueError, "weight_std must be", lambda: Dense(-1.0)),
        (ValueError, "padding must be", lambda: conv(padding="REFLECT")),
        (ValueError, "strides must be", lambda: conv(strides=(1, 0))),
        (ValueError, "unknown activation", lambda: Activation("relu6")),
    ]  # fmt: skip
    for error, message, call in bad:
        with pytest.raises(error, match=message):
            call()
