"""Networks: priors, NTK parameterisation, shapes, dtypes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats as st

from bnnsample import models

X = np.random.default_rng(0).normal(size=(4, 3))
# By definition, from SciPy and NumPy.
ACTIVATIONS = {
    "relu": lambda z: np.maximum(z, 0),
    "gelu": lambda z: z * st.norm.cdf(z),
    "erf": scipy.special.erf,
    "tanh": np.tanh,
    "sin": np.sin,
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
}


def forward(hidden, x, activation, scales):
    """The scaled features, from the definition."""
    weight_std, bias_std, readout_weight_std, readout_bias_std = scales
    z = x.reshape(len(x), -1)
    for layer in hidden:
        pre = weight_std / np.sqrt(z.shape[1]) * z @ np.asarray(layer["weight"])
        z = activation(pre + (bias_std * np.asarray(layer["bias"]) if bias_std else 0))
    psi = readout_weight_std / np.sqrt(z.shape[1]) * z
    return np.hstack([psi, np.full((len(x), 1), readout_bias_std)]) if readout_bias_std else psi


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("depth", [1, 3])
def test_features_and_outputs_equal_the_definition(activation, depth):
    scales = (1.3, 0.4, 0.8, 0.25)
    model = models.mlp(depth, activation, *scales)
    parameters = model.init(jax.random.key(0), jnp.asarray(X), 6, num_outputs=2)
    psi = forward(parameters["hidden"], X, ACTIVATIONS[activation], scales)
    assert psi.shape == (4, 7)
    np.testing.assert_allclose(model.features(parameters["hidden"], X), psi, rtol=1e-12, atol=1e-14)
    f = psi @ np.asarray(parameters["readout"])
    np.testing.assert_allclose(model.apply(parameters, X), f, rtol=1e-11, atol=1e-13)


def test_bias_column_comes_last_and_zero_leaves_it_out():
    model = models.mlp(1, readout_bias_std=0.3)
    h = model.init(jax.random.key(0), X, 5)["hidden"]
    np.testing.assert_array_equal(model.features(h, X)[:, -1], np.full(4, 0.3))
    without = models.mlp(1, bias_std=0.0, readout_bias_std=0.0)
    parameters = without.init(jax.random.key(0), X, 5)
    assert set(parameters["hidden"][0]) == {"weight"}
    assert without.features(parameters["hidden"], X).shape == (4, 5)
    assert parameters["readout"].shape == (5, 1)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_dtype_follows_the_inputs(dtype):
    x = jnp.asarray(X, dtype)
    for activation in ACTIVATIONS:
        model = models.mlp(2, activation)
        parameters = model.init(jax.random.key(1), x, 5, 2)
        assert {leaf.dtype for leaf in jax.tree.leaves(parameters)} == {jnp.dtype(dtype)}
        assert model.apply(parameters, x).dtype == dtype
        gradient = jax.grad(lambda p, m=model: jnp.sum(m.apply(p, x)))(parameters)
        assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype(dtype)}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_are_finite_at_zero_and_far_out(activation):
    model = models.mlp(1, activation)
    x = jnp.asarray([[0.0], [-300.0], [300.0], [1e-30]], jnp.float32)
    parameters = model.init(jax.random.key(2), x, 8)
    for leaf in jax.tree.leaves(jax.jacobian(model.apply)(parameters, x)):
        assert jnp.all(jnp.isfinite(leaf))


@pytest.mark.parametrize("width", [[5, 4, 3], (5, 4, 3)])
def test_width_per_layer(width):
    model = models.mlp(3)
    parameters = model.init(jax.random.key(0), X, width, 2)
    shapes = [layer["weight"].shape for layer in parameters["hidden"]]
    assert shapes == [(3, 5), (5, 4), (4, 3)]
    assert [layer["bias"].shape for layer in parameters["hidden"]] == [(5,), (4,), (3,)]
    assert parameters["readout"].shape == (4, 2)


def test_images_are_flattened():
    x = np.random.default_rng(1).normal(size=(4, 2, 3))
    model = models.mlp(1, "tanh")
    h = model.init(jax.random.key(0), x, 5)["hidden"]
    assert h[0]["weight"].shape == (6, 5)
    np.testing.assert_allclose(model.features(h, x), model.features(h, x.reshape(4, 6)))


def test_every_parameter_has_a_standard_normal_prior():
    """KS over each layer, at level 1e-3 shared; the layers are independent draws."""
    model = models.mlp(2)
    parameters = model.init(jax.random.key(5), jnp.zeros((1, 40)), 100, 20)
    leaves = [np.asarray(leaf).ravel() for leaf in jax.tree.leaves(parameters)]
    assert len(leaves) == 5
    for leaf in leaves:
        assert st.kstest(leaf, "norm").pvalue > 1e-3 / len(leaves)
    for i, a in enumerate(leaves):
        for b in leaves[i + 1 :]:
            size = min(len(a), len(b))
            assert abs(np.corrcoef(a[:size], b[:size])[0, 1]) < 4.5 / np.sqrt(size)
    other = model.init(jax.random.key(6), jnp.zeros((1, 40)), 100, 20)
    assert not np.allclose(other["readout"], parameters["readout"])


def arc_cosine_kernel(k11, k12, k22):
    """E[relu(u) relu(v)] for a centred Gaussian pair (Cho and Saul 2009, eq. 1 with n = 1)."""
    cosine = np.clip(k12 / np.sqrt(k11 * k22), -1, 1)
    angle = np.arccos(cosine)
    return np.sqrt(k11 * k22) / (2 * np.pi) * (np.sin(angle) + (np.pi - angle) * cosine)


def test_feature_gram_converges_to_the_arc_cosine_kernel():
    """One layer: units are i.i.d., so the gram's Monte-Carlo error is measured from them."""
    width, weight_std, bias_std, readout_std, readout_bias = 200_000, 1.2, 0.5, 0.9, 0.3
    model = models.mlp(1, "relu", weight_std, bias_std, readout_std, readout_bias)
    psi = np.asarray(model.features(model.init(jax.random.key(9), X, width)["hidden"], X))
    base = weight_std**2 * X @ X.T / X.shape[1] + bias_std**2
    diagonal = np.diag(base)
    kernel = arc_cosine_kernel(diagonal[:, None], base, diagonal[None, :])
    expected = readout_std**2 * kernel + readout_bias**2
    terms = psi[:, None, :-1] * psi[None, :, :-1] * width
    standard_error = terms.std(axis=-1) / np.sqrt(width)
    assert np.all(np.abs(psi @ psi.T - expected) < 4.5 * standard_error)
    # The test is sharp: the error allowed is below 2% of the kernel's diagonal.
    assert standard_error.max() * 4.5 < 0.02 * np.diag(expected).max()


def test_prior_variance_of_the_outputs_does_not_depend_on_width_and_depth():
    """relu with weight_std sqrt(2), no biases: E f(x)^2 = |x|^2 / fan_in * readout_std^2 / 1."""
    model = models.mlp(3, "relu", 2**0.5, 0.0, 0.7, 0.0)
    x = jnp.asarray(X[:1])
    keys = jax.random.split(jax.random.key(4), 4000)
    f = jax.vmap(lambda k: model.apply(model.init(k, x, 30), x)[0, 0])(keys)
    expected = 0.7**2 * np.mean(X[0] ** 2)
    squares = np.asarray(f) ** 2
    assert abs(squares.mean() - expected) < 4 * squares.std() / np.sqrt(len(keys))


def test_callable_activation_and_description():
    named, callable_ = models.mlp(1, "tanh"), models.mlp(1, jnp.tanh)
    h = named.init(jax.random.key(0), X, 5)["hidden"]
    np.testing.assert_array_equal(named.features(h, X), callable_.features(h, X))
    assert callable_.description is None
    rebuilt = models.mlp(**named.description)
    np.testing.assert_array_equal(named.features(h, X), rebuilt.features(h, X))


def test_from_functions_scales_features_and_adds_the_bias():
    def init(key, x, width):
        return {"w": jax.random.normal(key, (x.shape[1], width), x.dtype)}

    def features(h, x):
        return jnp.sin(x @ h["w"])

    model = models.from_functions(init, features, readout_weight_std=2.0, readout_bias_std=0.5)
    parameters = model.init(jax.random.key(0), X, 6, 2)
    w = np.asarray(parameters["hidden"]["w"])
    psi = np.hstack([2.0 / np.sqrt(6) * np.sin(X @ w), np.full((4, 1), 0.5)])
    np.testing.assert_allclose(model.features(parameters["hidden"], X), psi, rtol=1e-12)
    f = psi @ np.asarray(parameters["readout"])
    np.testing.assert_allclose(model.apply(parameters, X), f, rtol=1e-11)


@pytest.mark.parametrize("empty", [{}, [], None, ()])
def test_from_functions_without_hidden_parameters(empty):
    model = models.from_functions(lambda key, x, width: empty, lambda h, x: x, readout_bias_std=0)
    parameters = model.init(jax.random.key(0), X, 1, 2)
    assert jax.tree.leaves(parameters["hidden"]) == []
    assert parameters["readout"].shape == (3, 2)
    f = X / np.sqrt(3) @ np.asarray(parameters["readout"])
    np.testing.assert_allclose(model.apply(parameters, X), f, rtol=1e-12)


@pytest.mark.parametrize("depth", [0, -1])
def test_depth_must_be_positive(depth):
    with pytest.raises(ValueError, match="at least 1 hidden layer"):
        models.mlp(depth)


@pytest.mark.parametrize(
    "name", ["weight_std", "bias_std", "readout_weight_std", "readout_bias_std"]
)
@pytest.mark.parametrize("value", [-0.1, np.nan, np.inf])
def test_scales_must_be_standard_deviations(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be a finite"):
        models.mlp(1, **{name: value})
    if name.startswith("readout"):
        with pytest.raises(ValueError, match=name):
            models.from_functions(lambda k, x, w: {}, lambda h, x: x, **{name: value})


def test_weight_scales_may_not_vanish():
    for name in ("weight_std", "readout_weight_std"):
        with pytest.raises(ValueError, match="positive"):
            models.mlp(1, **{name: 0.0})


def test_types_are_checked():
    with pytest.raises(TypeError, match="depth must be an int"):
        models.mlp(1.5)
    with pytest.raises(TypeError, match="weight_std must be a number"):
        models.mlp(1, weight_std="wide")
    with pytest.raises(ValueError, match="unknown activation 'swish'"):
        models.mlp(1, "swish")
    with pytest.raises(TypeError, match="activation must be a name or a callable"):
        models.mlp(1, 3)
    with pytest.raises(TypeError, match="features must be a function"):
        models.from_functions(lambda k, x, w: {}, None)


@pytest.mark.parametrize("width", [0, -3, [5, 4], [5, 0, 3]])
def test_impossible_widths(width):
    with pytest.raises(ValueError, match="width"):
        models.mlp(3).init(jax.random.key(0), X, width)


@pytest.mark.parametrize("width", [5.0, "512", [5, 4.5, 3], None])
def test_widths_are_ints(width):
    with pytest.raises(TypeError, match="width must be an int or one int per layer"):
        models.mlp(3).init(jax.random.key(0), X, width)


@pytest.mark.parametrize("shape", [(4, 3), (4, 2, 3, 1)])
def test_the_layers_of_a_network_describe_it(shape):
    model = models.mlp(2, "relu", 1.3, 0.4, 0.8, 0.25)
    x = jnp.asarray(np.random.default_rng(0).normal(size=shape))
    parameters = model.init(jax.random.key(0), x, 6, num_outputs=2)
    first, second = parameters["hidden"]
    # The readout's bias is the last row of W.
    W = parameters["readout"]
    readout = {"weight": W[:-1], "bias": W[-1]}
    f = model.network.apply([(), first, (), second, (), readout], x)
    np.testing.assert_allclose(f, model.apply(parameters, x), rtol=1e-12)
