"""Networks built from layers: definitions, priors, units, kernels of infinite width."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from network_oracles import conv, resnet_features, with_readout

import ntk
from bnnsample import models
from bnnsample.coordinates import Collapsed
from bnnsample.likelihoods import Gaussian
from bnnsample.results._rebuild import rebuild_model
from ntk.layers import (
    Activation,
    AvgPool,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    LayerNorm,
    Residual,
    Scale,
    Serial,
)

SCALES = (1.3, 0.4, 0.8, 0.25)
RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(4, 3))
SIGNALS = RNG.normal(size=(3, 9, 2))
IMAGES = RNG.normal(size=(3, 8, 6, 2))
VOLUMES = RNG.normal(size=(2, 4, 5, 3, 1))
# beta^2 of the six blocks of depth 14.
VARIANCES = {
    "uniform": [1 / 2] * 6,
    "progressive_one": [1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 6, 1 / 7],
    "progressive_depth": [1 / 4, 1 / 5, 1 / 6, 1 / 7, 1 / 8, 1 / 9],
}


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)


def shapes_of(model, width, x=IMAGES):
    return jax.eval_shape(lambda key: model.init(key, x, width, 2), jax.random.key(0))


def parameters_of(model, width, x=IMAGES):
    """Standard normal parameters, drawn by NumPy."""
    draw = np.random.default_rng(1).normal
    return jax.tree.map(lambda leaf: jnp.asarray(draw(size=leaf.shape)), shapes_of(model, width, x))


@pytest.mark.parametrize(
    ("x", "depth", "window", "strides", "padding", "pooling"),
    [
        (IMAGES, 2, (3, 3), 1, "SAME", "global_average"),
        (IMAGES, 2, (3, 2), (2, 1), "VALID", "flatten"),
        (IMAGES, 3, (2, 3), 2, "SAME", "global_average"),
        (SIGNALS, 2, (4,), 2, "CIRCULAR", "global_average"),
        (VOLUMES, 1, (2, 3, 2), (1, 2, 2), "SAME", "flatten"),
    ],
)
def test_cnn_equals_the_definition(x, depth, window, strides, padding, pooling):
    model = models.cnn(depth, "relu", window, strides, padding, pooling, *SCALES)
    parameters = parameters_of(model, 5, x)
    assert [set(layer) for layer in parameters["hidden"]] == [{"weight", "bias"}] * depth
    z = x
    for layer in parameters["hidden"]:
        z = np.maximum(conv(z, layer, *SCALES[:2], strides, padding), 0)
    mean = z.mean(tuple(range(1, z.ndim - 1)))
    phi = mean if pooling == "global_average" else z.reshape(len(z), -1)
    psi = with_readout(phi, *SCALES[2:])
    close(model.features(parameters["hidden"], x), psi)
    close(model.apply(parameters, x), psi @ np.asarray(parameters["readout"]))


@pytest.fixture(scope="module")
def resnet_parameters():
    return parameters_of(models.resnet(14), 2)


@pytest.mark.parametrize("scaling", [*VARIANCES, "none"])
def test_resnet_equals_the_definition(scaling, resnet_parameters):
    model = models.resnet(14, "relu", scaling, *SCALES)
    weights = [(1, 1)] * 6 if scaling == "none" else [(1 - v, v) for v in VARIANCES[scaling]]
    hidden = resnet_parameters["hidden"]
    psi = with_readout(resnet_features(hidden, IMAGES, weights, *SCALES[:2]), *SCALES[2:])
    assert psi.shape == (3, 4 * 2 + 1)
    close(model.features(hidden, IMAGES), psi)
    close(model.apply(resnet_parameters, IMAGES), psi @ np.asarray(resnet_parameters["readout"]))


def test_resnet_has_three_groups_of_doubling_width(resnet_parameters):
    shapes = [leaf.shape for leaf in jax.tree.leaves(resnet_parameters["hidden"])]
    weights = [shape[2:] for shape in shapes if len(shape) == 4]
    first = [(2, 2)] * 6
    second = [(2, 4), (2, 4), *[(4, 4)] * 3]
    third = [(4, 8), (4, 8), *[(8, 8)] * 3]
    assert weights == [*first, *second, *third]
    assert all(shape[:2] == (3, 3) for shape in shapes if len(shape) == 4)


def test_one_width_per_layer():
    h = shapes_of(models.cnn(2), [3, 4])["hidden"]
    assert [layer["weight"].shape for layer in h] == [(3, 3, 2, 3), (3, 3, 3, 4)]
    # Two blocks' layers share a width where nothing but a sum stands between them.
    widths = (5, 6, 7, 6, 3, 2, 3, 4, 1, 4)
    stem, *blocks = shapes_of(models.resnet(8), widths)["hidden"]
    assert stem["weight"].shape[2:] == (2, 5)
    shapes = [b.shape[0] for b in jax.tree.leaves(blocks) if b.ndim == 1]
    assert shapes == [6, 7, 6, 6, 4, 6, 16, 4, 16]
    with pytest.raises(ValueError, match="3 entries, but the network has 10 layers"):
        shapes_of(models.resnet(8), [1, 2, 3])
    with pytest.raises(ValueError, match="different shapes"):
        shapes_of(models.resnet(8), range(1, 11))


def test_same_layers_as_by_hand():
    """A network inside another, and parameters of the layers that have any."""
    block = Residual(Activation("gelu"), Dense(1.2, 0.1))
    network = Serial(Serial(Flatten(), Dense(1.1)), Serial(block, Scale(2.0)), Dense(0.7, 0.3))
    model = models.from_layers(network)
    assert model.network is network
    assert model.name == "layers"
    assert model.description is None
    assert (model.readout_weight_std, model.readout_bias_std) == (0.7, 0.3)
    parameters = parameters_of(model, 5)
    first, second = parameters["hidden"]
    readout = {"weight": parameters["readout"][:-1], "bias": parameters["readout"][-1]}
    whole = [[(), first], [second, ()], readout]
    close(model.apply(parameters, IMAGES), network.apply(whole, jnp.asarray(IMAGES)))


def test_a_readout_alone_is_linear_regression():
    model = models.from_layers(Serial(Dense(0.5)))
    parameters = model.init(jax.random.key(0), VECTORS, 7, 2)
    assert parameters["hidden"] == []
    close(model.apply(parameters, VECTORS), 0.5 / 3**0.5 * VECTORS @ parameters["readout"])


@pytest.mark.parametrize(
    ("model", "x"),
    [
        (models.mlp(2, "tanh"), VECTORS),
        (models.cnn(2), IMAGES),
        (
            models.from_layers(
                Serial(Conv(), Activation("erf"), Conv(), AvgPool((2, 2)), GlobalAvgPool(), Dense())
            ),
            IMAGES,
        ),
    ],
)
def test_units(model, x):
    """Every column of the features follows its own unit alone, and the potential their sum."""
    h = parameters_of(model, 4, x)["hidden"]
    layer = model.units
    units, rest = layer.get(h), layer.put(h, None)
    z = layer.lower(rest, jnp.asarray(x))
    np.testing.assert_array_equal(layer.features(units, z), model.hidden_features(h, x))
    moved = jax.tree.map(lambda leaf: leaf.at[..., 1].add(1.0), units)
    difference = np.abs(layer.features(moved, z) - layer.features(units, z)).max(0)
    assert difference[1] > 1e-3
    assert (difference[[0, 2, 3]] == 0).all()

    y = np.random.default_rng(1).normal(size=(len(x), 2))
    posterior = Collapsed(model, Gaussian(0.5), 4, jnp.asarray(x), jnp.asarray(y))
    target = posterior.unit_target()
    position = {"hidden": h, "unknowns": {}}
    units, rest = target.split(position)
    P = np.asarray(target.columns(units, rest))
    M0, y_scaled, constant = map(np.asarray, target.base(rest))
    M = M0 + P @ P.T
    quadratic = np.sum(y_scaled * np.linalg.solve(M, y_scaled)) / 2
    close(posterior.potential(position), quadratic + np.linalg.slogdet(M)[1] + constant)
    close(posterior.potential(target.join(units, rest)), posterior.potential(position))


def test_no_units_where_features_mix_them():
    assert models.cnn(2, pooling="flatten").units is None
    assert models.resnet(8).units is None
    normalised = Serial(Dense(), LayerNorm(), Activation("relu"), Dense())
    assert models.from_layers(normalised).units is None
    assert models.from_layers(Serial(Flatten(), Dense())).units is None


def kernel_in_draws(model, x, width, draws):
    """The mean of ``Psi Psi^T`` over the prior, and its standard error."""

    def gram(key):
        psi = model.features(model.init(key, x, width)["hidden"], x)
        return psi @ psi.T

    keys = jax.random.split(jax.random.key(3), draws)
    found = np.asarray(jax.jit(lambda keys: jax.lax.map(gram, keys))(keys))
    return found.mean(0), found.std(0, ddof=1) / draws**0.5


def identity(z):
    return z


@pytest.mark.parametrize(
    ("model", "diagonal"),
    [
        # One layer: channels are independent, so the mean is exact at any width.
        (models.cnn(1, "relu", (3, 3), 2, "CIRCULAR", "global_average", *SCALES), False),
        # Rectified and flat: variances follow from variances linearly.
        (models.cnn(2, "relu", (3, 3), 1, "SAME", "flatten", *SCALES), True),
        # A linear network: every covariance does.
        pytest.param(
            models.resnet(8, identity, "progressive_depth", *SCALES), False, marks=pytest.mark.slow
        ),
    ],
)
def test_prior_covariance_is_that_of_infinite_width(model, diagonal):
    mean, error = kernel_in_draws(model, jnp.asarray(IMAGES), 4, 4000)
    exact = np.asarray(ntk.infinite_kernel(model)(IMAGES, get="nngp"))
    if diagonal:
        mean, error, exact = np.diag(mean), np.diag(error), np.diag(exact)
    assert (np.abs(mean - exact) < 4.5 * error).all()
    # The means are precise enough to tell.
    assert (error < 0.02 * exact.max()).all()


def test_mlp_has_the_arc_cosine_kernel():
    """Cho and Saul 2009, eq. 1 with n = 1."""
    weight_std, bias_std, readout_weight_std, readout_bias_std = SCALES
    base = weight_std**2 * VECTORS @ VECTORS.T / 3 + bias_std**2
    norms = np.sqrt(np.outer(np.diag(base), np.diag(base)))
    angle = np.arccos(np.clip(base / norms, -1, 1))
    kernel = norms / (2 * np.pi) * (np.sin(angle) + (np.pi - angle) * np.cos(angle))
    expected = readout_weight_std**2 * kernel + readout_bias_std**2
    found = ntk.infinite_kernel(models.mlp(1, "relu", *SCALES))(VECTORS, get="nngp")
    np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_from_functions_has_no_network():
    assert models.from_functions(lambda k, x, w: {}, lambda h, x: x).network is None


@pytest.mark.parametrize(
    "model",
    [
        models.mlp(2, "erf", *SCALES),
        models.cnn(2, "gelu", (3, 2), (2, 1), "CIRCULAR", "flatten", *SCALES),
        models.resnet(8, "tanh", "uniform", *SCALES),
    ],
)
def test_models_rebuild_from_plain_values(model):
    stored = json.loads(json.dumps({"name": model.name, **model.description}))
    rebuilt = rebuild_model({"model": stored})
    assert rebuilt.network == model.network
    assert rebuilt.description == model.description


def test_models_that_do_not_rebuild():
    assert models.cnn(1, jnp.tanh).description is None
    assert models.resnet(8, jnp.tanh).description is None
    for name in ("cnn", "layers", "os.system", ""):
        assert rebuild_model({"model": {"name": name}}) is None
    assert rebuild_model({"model": {"name": "eval", "activation": "relu"}}) is None


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("model", [models.cnn(1), models.resnet(8)])
def test_dtype_follows_the_inputs(model, dtype):
    x = jnp.asarray(IMAGES, dtype)
    parameters = jax.eval_shape(lambda key: model.init(key, x, 3, 2), jax.random.key(0))
    outputs = jax.eval_shape(model.apply, parameters, x)
    assert {leaf.dtype for leaf in jax.tree.leaves([parameters, outputs])} == {jnp.dtype(dtype)}


@dataclasses.dataclass(frozen=True)
class Standard(Dense):
    parameterization: str = "standard"


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (Serial(Dense(), Activation("relu")), "end with Dense.*Activation"),
        (Serial(Dense(), Residual(Activation("relu"), Dense())), "end with Dense.*Parallel"),
        (Serial(), "end with Dense.*None"),
        (Serial(Dense(), Dense(times=2)), "times must be 1, got 2"),
        (Serial(Standard(), Activation("relu"), Dense()), "NTK parameterisation"),
        (Serial(Residual(Standard()), Dense()), "NTK parameterisation"),
    ],
)
def test_networks_that_cannot_be_split(network, words):
    with pytest.raises(ValueError, match=words):
        models.from_layers(network)
    with pytest.raises(TypeError, match=r"network must be a layer of .*, got list"):
        models.from_layers([network])


@pytest.mark.parametrize(
    ("network", "x", "words"),
    [
        (Serial(Dense(), Activation("relu"), Dense()), IMAGES, "pool or flatten them"),
        (Serial(Conv(), Dense()), IMAGES, "pool or flatten them"),
        (Serial(Conv(), GlobalAvgPool(), Dense()), IMAGES[..., 0], "2 spatial axes"),
        (Serial(Conv((9, 1), padding="VALID"), Flatten(), Dense()), IMAGES, "leaves nothing"),
    ],
)
def test_inputs_that_do_not_fit(network, x, words):
    with pytest.raises(ValueError, match=words):
        models.from_layers(network).init(jax.random.key(0), x, 3)


@pytest.mark.parametrize("depth", [0, 2, 7, 18, 21])
def test_impossible_residual_depths(depth):
    with pytest.raises(ValueError, match=f"depth must be .*got {depth}"):
        models.resnet(depth)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"depth": 0}, "depth must be at least 1"),
        ({"window": ()}, "window must be"),
        ({"window": (3, 0)}, "window must be"),
        ({"strides": (1, 2, 3)}, "strides must be"),
        ({"padding": "FULL"}, "padding must be one of"),
        ({"pooling": "max"}, "pooling must be one of global_average, flatten, got 'max'"),
        ({"pooling": ["flatten"]}, "pooling must be one of global_average, flatten, got"),
        ({"activation": "swish"}, "unknown activation 'swish'"),
        ({"weight_std": 0.0}, "weight_std must be a finite positive"),
        ({"bias_std": np.nan}, "bias_std must be a finite"),
        ({"readout_weight_std": -1}, "readout_weight_std must be a finite positive"),
        ({"readout_bias_std": np.inf}, "readout_bias_std must be a finite"),
    ],
)
def test_impossible_convolutional_networks(settings, words):
    with pytest.raises(ValueError, match=words):
        models.cnn(**settings)
    if not settings.keys() & {"depth", "window", "strides", "padding", "pooling"}:
        with pytest.raises(ValueError, match=words):
            models.resnet(8, **settings)


def test_types_are_checked():
    for factory in (models.cnn, models.resnet):
        with pytest.raises(TypeError, match="depth must be an int"):
            factory(8.0)
        with pytest.raises(TypeError, match="weight_std must be a number"):
            factory(8, weight_std="wide")
        with pytest.raises(TypeError, match="activation must be a name or a callable"):
            factory(8, 3)
    with pytest.raises(TypeError, match="window must be an int"):
        models.cnn(1, window=(3.0, 3))
    expected = "progressive_one, progressive_depth, none, got 'batch'"
    with pytest.raises(ValueError, match=expected):
        models.resnet(8, residual_scaling="batch")
    with pytest.raises(ValueError, match="residual_scaling must be one of"):
        models.resnet(8, residual_scaling=["none"])
