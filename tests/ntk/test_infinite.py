"""Kernels of infinite width against finite networks drawn from the prior, and closed forms."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntk
from ntk._cost import cost_by
from ntk._infinite import _inputs
from ntk._methods import INFINITE_WIDTH
from ntk._tiles import choose_tiling, measured_bytes, tiling
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


def slow(*names):
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


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
    "standard": (
        Serial(
            Dense(1.4, 0.3, parameterization="standard", input_times=5), act("relu"),
            Dense(1.4, 0.3, 2.0, parameterization="standard"), act("relu"),
            Dense(1.4, 0.3, parameterization="standard", input_times=2),
        ),
        VECTORS,
    ),
    "one axis": (
        Serial(Conv((4,), 2, bias_std=0.1), act("sin"), GlobalAvgPool(), dense()), SIGNALS
    ),
}  # fmt: skip


def one_network(network, width, x, key):
    """The kernels of a network drawn from the prior; every output is a draw of one."""
    parameters, _ = network.init(key, x.shape[1:], itertools.repeat(width), x.dtype)
    outputs = network.apply(parameters, x)
    tangent = ntk.empirical_ntk(
        lambda p, x: network.apply(p, x)[:, :1], parameters, x, trace_axes=1
    )
    return outputs @ outputs.T / width, tangent


DEFAULT = ("dense", "residual", "global mean", "standard")


@pytest.mark.parametrize("name", [*DEFAULT, *slow(*(n for n in NETWORKS if n not in DEFAULT))])
def test_means_over_wide_networks(name):
    network, x = NETWORKS[name]
    one = jax.jit(functools.partial(one_network, network, WIDTH, x))
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
    for name in ("dense", "one axis"):
        network, x = NETWORKS[name]
        kernel = ntk.infinite_kernel(network)
        both = kernel(x)
        # Who x2 is, is not known: angles of zero are known to the root of the rounding.
        np.testing.assert_allclose(kernel(x, x[:2]).nngp, both.nngp[:, :2], rtol=1e-12)
        np.testing.assert_allclose(kernel(x, x[:2]).ntk, both.ntk[:, :2], rtol=1e-7)
        np.testing.assert_allclose(kernel(x, get="nngp"), both.nngp, rtol=1e-12)
        np.testing.assert_allclose(kernel(x, get="ntk"), both.ntk, rtol=1e-12)
        assert kernel(x, get=("nngp",)).ntk is None
        # To an ulp: how a processor's vectors end decides how two entries alike are rounded.
        np.testing.assert_array_max_ulp(both.ntk, both.ntk.T, 2)
        assert (np.linalg.eigvalsh(both.nngp) > 0).all()


def test_positions_that_no_pooling_pairs_are_not_paired():
    """Flattened, a convolutional kernel needs equal positions alone: 64 times fewer numbers."""
    network = Serial(conv(), act("relu"), conv(), act("relu"), Flatten(), dense())
    x = normal(2, 8, 8, 3)
    program = jax.make_jaxpr(ntk.infinite_kernel(network))(x, x)
    pooled = jax.make_jaxpr(
        ntk.infinite_kernel(Serial(*network.layers[:-2], GlobalAvgPool(), dense()))
    )(x, x)
    assert largest(program.jaxpr) <= 2 * 2 * 10 * 10 * 3
    assert largest(pooled.jaxpr) >= 2 * 2 * 64 * 64


def largest(jaxpr):
    sizes = [var.aval.size for equation in jaxpr.eqns for var in equation.outvars]
    inner = [largest(j.jaxpr) for e in jaxpr.eqns for j in e.params.values() if hasattr(j, "jaxpr")]
    return max([*sizes, *inner])


@pytest.mark.parametrize("activation", ["relu", *slow("gelu", "erf", "tanh")])
def test_derivatives_by_inputs_and_scales(activation):
    """Duplicates and an example of zeros included; against central differences."""
    x = normal(4, 5).at[1].set(normal(4, 5)[0]).at[2].set(0.0)
    weights = jnp.asarray(np.random.default_rng(1).normal(size=(2, 4, 4)))

    def total(arguments):
        (weight_std, bias_std, factor), x = arguments
        layer = Dense(weight_std, bias_std)
        network = Serial(
            layer, Activation(activation), Scale(factor), layer, LayerNorm(0.1),
            Activation(activation), layer,
        )  # fmt: skip
        kernels = ntk.infinite_kernel(network)(x)
        # Between examples and their shifted copies, whose angles are not zero.
        apart = ntk.infinite_kernel(network)(x, x[::-1] + 0.1)
        return sum(jnp.sum(w * (k + a)) for w, k, a in zip(weights, kernels, apart, strict=True))

    scales = jnp.asarray([1.3, 0.4, 0.8])
    slope = jax.grad(total)((scales, x))
    assert all(np.isfinite(g).all() for g in slope)
    value = jax.jit(total)
    step = 1e-6
    for k in range(3):
        move = step * jnp.eye(3)[k]
        gap = value((scales + move, x)) - value((scales - move, x))
        np.testing.assert_allclose(slope[0][k], gap / (2 * step), rtol=1e-5)
    # Both copies of an example move together, and the zeros do not: there the kernel has a kink.
    direction = normal(4, 6)[:, :5].at[1].set(normal(4, 6)[0, :5]).at[2].set(0.0)
    gap = value((scales, x + step * direction)) - value((scales, x - step * direction))
    np.testing.assert_allclose(jnp.sum(slope[1] * direction), gap / (2 * step), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flat", "sums", "residual convolutions"])
def test_derivatives_of_convolutional_kernels(name):
    network, x = NETWORKS[name]
    x = x.at[1].set(x[0]).at[2].set(0.0)
    kernel = jax.jit(ntk.infinite_kernel(network))
    other = IMAGES[:2] + 0.3
    direction = normal(3, 6, 5, 3)[..., :2].at[1].set(normal(3, 6, 5, 3)[0, ..., :2]).at[2].set(0.0)

    def total(x):
        return sum(jnp.sum(k * normal(3, 3)) for k in kernel(x)) + jnp.sum(kernel(x, other).ntk)

    slope = jax.grad(total)(x)
    assert np.isfinite(slope).all()
    step = 1e-6
    gap = total(x + step * direction) - total(x - step * direction)
    np.testing.assert_allclose(jnp.sum(slope * direction), gap / (2 * step), rtol=1e-5)


@pytest.mark.parametrize("name", ["dense", "normalised", *slow("sums", "one axis")])
def test_single_precision(name):
    """The diagonal included, where an angle would lose half of the digits."""
    network, x = NETWORKS[name]
    kernel = ntk.infinite_kernel(network)
    single, double = kernel(x.astype(jnp.float32)), kernel(x)
    for one, two in zip(single, double, strict=True):
        assert one.dtype == jnp.float32
        np.testing.assert_allclose(np.diag(one), np.diag(two), rtol=2e-6)
        np.testing.assert_allclose(one, two, rtol=2e-5)
    half = kernel(x.astype(jnp.bfloat16))
    rounded = kernel(x.astype(jnp.bfloat16).astype(jnp.float32))
    np.testing.assert_array_equal(half.ntk, rounded.ntk)


def test_normalised_inputs_of_any_size():
    """Their variances' product is no number in single precision; zeros stay zeros."""
    network = Serial(Dense(1.3), LayerNorm(), act("relu"), dense())
    kernel = ntk.infinite_kernel(network)
    x = VECTORS.astype(jnp.float32)
    expected = kernel(VECTORS)
    for size in (1e15, 1e-15):
        for one, two in zip(kernel(size * x), expected, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-5)
    some = VECTORS.at[0].set(0.0)
    parameters, _ = network.init(jax.random.key(0), (5,), itertools.repeat(7), some.dtype)
    outputs = network.apply(parameters, some)
    assert np.isfinite(outputs).all()
    np.testing.assert_allclose(outputs[0], network.apply(parameters, 0 * some)[0])
    kernels = kernel(some)
    np.testing.assert_allclose(kernels.nngp[0], 0.3**2, rtol=1e-12)
    np.testing.assert_allclose(kernels.nngp[1:, 1:], expected.nngp[1:, 1:], rtol=1e-12)
    slope = jax.grad(lambda x: sum(jnp.sum(k) for k in kernel(x)))(some)
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("name", [*slow("dense"), *slow("one axis")])
def test_tiles_within_a_budget_and_over_a_mesh(name):
    network, _ = NETWORKS[name]
    x = normal(70, 5) if name == "dense" else normal(7, 9, 2)
    kernel = ntk.infinite_kernel(network)
    whole = kernel(x)
    mesh = jax.make_mesh((1,), ("devices",))
    budget = 60_000 if name == "dense" else 20_000
    inputs = _inputs(network, ("nngp", "ntk"), x, None)
    assert measured_bytes(inputs, INFINITE_WIDTH, tiling(inputs, len(x), None)) > budget
    cut = choose_tiling(inputs, INFINITE_WIDTH, budget, True, 1)
    assert measured_bytes(inputs, INFINITE_WIDTH, cut) <= budget
    for other in (
        kernel(x, memory_budget=budget),
        kernel(x, x, memory_budget=budget),
        kernel(np.asarray(x), mesh=mesh),
        jax.jit(lambda x: kernel(x, memory_budget=budget))(x),
    ):
        for one, two in zip(other, whole, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-7)
    # Of examples with themselves, also in the tiles of a mesh.
    single = x.astype(jnp.float32)
    for one, two in zip(kernel(single, mesh=mesh), kernel(single), strict=True):
        np.testing.assert_allclose(jnp.diagonal(one), jnp.diagonal(two), rtol=2e-6)
        # To rounding: how a processor's vectors end decides how two entries alike are rounded.
        rounding = 2 * jnp.finfo(one.dtype).eps * jnp.max(jnp.diagonal(one))
        np.testing.assert_allclose(one, one.T, rtol=0, atol=float(rounding))
    with pytest.raises(ValueError, match="memory_budget of 10 bytes is too small"):
        kernel(x, memory_budget=10)


def test_a_symmetric_kernel_is_half_the_work_and_depth_takes_no_memory():
    x = normal(2048, 5).astype(jnp.float32)

    def program(depth, other):
        network = Serial(*[l for _ in range(depth) for l in (dense(), act("relu"))], dense())
        inputs = _inputs(network, ("nngp", "ntk"), x, other)
        return inputs, cost_by(inputs, INFINITE_WIDTH)

    (_, once), (_, both) = program(3, None), program(3, x)
    assert once.operations < 0.65 * both.operations
    # Two numbers of a block for every layer, not two of a pair of examples.
    deep, _ = program(12, x)
    assert measured_bytes(deep, INFINITE_WIDTH, tiling(deep, len(x), None)) < 2 * 4 * len(x) ** 2


@pytest.mark.parametrize("name", [*slow("dense"), *slow("one axis")])
def test_finite_kernels_converge_as_one_over_the_width(name):
    """The mean square of the error, over networks: slope -1 in width on both axes' logarithms."""
    network, x = NETWORKS[name]
    widths, count = np.array([32, 64, 128, 256, 512]), 300
    exact = ntk.infinite_kernel(network)(x)
    squares = {"nngp": [], "ntk": []}
    for width in widths:
        draw = jax.jit(functools.partial(one_network, network, int(width), x))
        keys = jax.random.split(jax.random.key(width), count)
        draws = [draw(key) for key in keys]
        kernels = zip(*draws, strict=True)
        for kernel, limit, found in zip(kernels, exact, squares.values(), strict=True):
            gaps = np.stack(kernel) - np.asarray(limit)
            found.append((gaps**2).sum((1, 2)) / np.sum(np.asarray(limit) ** 2))
    for found in squares.values():
        means = np.array([f.mean() for f in found])
        errors = np.array([f.std(ddof=1) / count**0.5 / f.mean() for f in found])
        design = np.log(widths) - np.log(widths).mean()
        slope = design @ np.log(means) / (design @ design)
        error = np.sqrt(design**2 @ errors**2) / (design @ design)
        assert 4 * error < 0.15
        assert abs(slope + 1) < 0.15


def test_finite_layers_have_the_shapes_they_say():
    for network, x in NETWORKS.values():
        parameters, shape = jax.eval_shape(
            lambda key, network=network, x=x: network.init(
                key, x.shape[1:], itertools.repeat(7), jnp.float32
            ),
            jax.random.key(0),
        )
        inputs = jax.ShapeDtypeStruct(x.shape, jnp.float32)
        outputs = jax.eval_shape(network.apply, parameters, inputs)
        assert outputs.shape == (len(x), *(7 for _ in shape))
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
        (ValueError, "get must be", lambda: kernel(dense())(VECTORS, get=None)),
        (ValueError, "x2 is too large for float64", lambda: kernel(dense())(
            VECTORS, 1e155 * VECTORS)),
        (ValueError, "end in different shapes", lambda: kernel(
            Serial(Residual(dense()), dense()))(VECTORS[:, :1])),
        (ValueError, "end in different shapes", lambda: kernel(
            Serial(Parallel(Dense(times=0.3), Dense(times=0.6)), dense()))(VECTORS)),
        (TypeError, "factor must be a number", lambda: Scale("2")),
        (ValueError, "weight_std must be", lambda: Dense(-1.0)),
        (ValueError, "padding must be", lambda: conv(padding="REFLECT")),
        (ValueError, "strides must be", lambda: conv(strides=(1, 0))),
        (ValueError, "unknown activation", lambda: Activation("relu6")),
    ]  # fmt: skip
    for error, message, call in bad:
        with pytest.raises(error, match=message):
            call()


def test_arrays_on_the_host_in_single_precision():
    """NumPy's default precision is rounded to JAX's, without a warning."""
    with jax.enable_x64(False):
        kernel, x = ntk.infinite_kernel(NETWORKS["dense"][0]), np.asarray(VECTORS)
        kernels = kernel(x, jnp.asarray(x[:2], jnp.float32))
        assert kernels.ntk.dtype == jnp.float32
        with pytest.raises(ValueError, match="x1 is too large for float32"):
            kernel(1e30 * x)
