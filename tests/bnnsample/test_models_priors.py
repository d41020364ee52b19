"""Priors of module parameters: quantiles in both tails, draws, trees, rules."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.special
import scipy.stats as st
from flax import linen as nn
from module_networks import NNXMLP, LinenMLP, equinox_mlp

import bnnsample
from bnnsample import models
from bnnsample.likelihoods import Gaussian
from bnnsample.models._modules._inverse import coordinates
from bnnsample.models._modules._student import student_quantile
from bnnsample.models._modules._whitening import whitening
from bnnsample.results import effective_sample_size

X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)))
PRIORS = {
    "normal": (dist.Normal(0.5, 2.0), st.norm(0.5, 2.0)),
    "laplace": (dist.Laplace(0.0, 0.7), st.laplace(0.0, 0.7)),
    "shifted_laplace": (dist.Laplace(-1.0, 0.7), st.laplace(-1.0, 0.7)),
    "cauchy": (dist.Cauchy(0.0, 0.5), st.cauchy(0.0, 0.5)),
    "student_1": (dist.StudentT(1.0), st.cauchy()),
    "student_3": (dist.StudentT(3.0, 0.0, 0.5), st.t(3.0, 0.0, 0.5)),
    "student_4.5": (dist.StudentT(4.5), st.t(4.5)),
    "student_1000": (dist.StudentT(1000.0), st.t(1000.0)),
    "log_normal": (dist.LogNormal(-1.0, 0.5), st.lognorm(0.5, scale=np.exp(-1.0))),
    "half_normal": (dist.HalfNormal(0.7), st.halfnorm(scale=0.7)),
    "exp_of_normal": (
        dist.TransformedDistribution(dist.Normal(0.0, 0.5), dist.transforms.ExpTransform()),
        st.lognorm(0.5),
    ),
    "expanded": (dist.Laplace(0.0, 0.7).expand([100]).to_event(1), st.laplace(0.0, 0.7)),
}


def quantiles(reference, u):
    """SciPy's, each from the smaller of the two tails."""
    below, above = reference.ppf(st.norm.cdf(u)), reference.isf(st.norm.sf(u))
    return np.where(u < 0, below, above)


@pytest.mark.parametrize("name", [name for name in PRIORS if name != "half_normal"])
def test_quantiles_and_slopes_equal_scipy_in_both_tails(name):
    prior, reference = PRIORS[name]
    u = np.linspace(-7, 7, 100)  # 0 is not among them
    expected = quantiles(reference, u)
    slopes = st.norm.pdf(u) / reference.pdf(expected)
    location = abs(reference.median()) if reference.support()[0] < 0 else 0.0
    for dtype, tolerance in ((jnp.float64, 5e-11), (jnp.float32, 2e-5)):
        function = jax.jit(whitening("w", prior, (100,)))
        value, tangent = jax.jvp(function, (jnp.asarray(u, dtype),), (jnp.ones(100, dtype),))
        assert value.dtype == tangent.dtype == dtype
        np.testing.assert_allclose(value, expected, rtol=tolerance, atol=tolerance * location)
        np.testing.assert_allclose(tangent, slopes, rtol=tolerance)


@pytest.mark.parametrize("df", [1.0, 1.5, 2.0, 7.0, 50.0])
def test_student_tails_have_the_normals_probability(df):
    """log P(T > t) = log Phi(-u) up to u = 12, where probabilities are 1e-33."""
    u = np.linspace(0.01, 12, 200)
    t = np.asarray(student_quantile(df)(jnp.asarray(u)))
    tail = 0.5 * scipy.special.betainc(df / 2, 0.5, df / (df + t * t))
    np.testing.assert_allclose(np.log(tail), scipy.special.log_ndtr(-u), rtol=1e-9)
    # Further out it still increases.
    far = np.asarray(student_quantile(df)(jnp.linspace(11.5, 20, 50)))
    assert (np.diff(far) > 0).all()
    assert np.isfinite(far).all()


@pytest.mark.parametrize("name", ["laplace", "cauchy", "student_1", "student_3"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_slope_at_zero(name, dtype):
    prior, reference = PRIORS[name]
    value, slope = jax.value_and_grad(whitening("w", prior, ()))(jnp.zeros((), dtype))
    assert value == 0
    np.testing.assert_allclose(slope, st.norm.pdf(0) / reference.pdf(0), rtol=1e-6)


@pytest.mark.parametrize("name", PRIORS)
def test_draws_have_the_prior(name):
    """KS at the family-wise level 1e-3."""
    prior, reference = PRIORS[name]
    u = jax.random.normal(jax.random.key(17), (40, 100))
    draws = np.asarray(jax.vmap(whitening("w", prior, (100,)))(u)).ravel()
    assert st.kstest(draws, reference.cdf).pvalue > 1e-3 / len(PRIORS)


@pytest.mark.parametrize("name", PRIORS)
def test_coordinates_invert(name):
    function = whitening("w", PRIORS[name][0], (100,))
    u = jnp.linspace(-4, 4, 100)
    np.testing.assert_allclose(coordinates("w", function, function(u)), u, rtol=1e-7, atol=1e-9)


def test_values_outside_the_support_have_no_coordinate():
    function = whitening("w", dist.LogNormal(0.0, 1.0), (2,))
    with pytest.raises(ValueError, match="'w' has values outside its prior's support"):
        coordinates("w", function, jnp.asarray([1.0, -1.0]))


def test_arrays_of_standard_deviations_and_zero():
    deviation = np.array([[1.0, 2.0], [0.5, 3.0]])
    w = whitening("w", deviation, (2, 2))(jnp.ones((2, 2), jnp.float32))
    np.testing.assert_array_equal(w, deviation.astype(np.float32))
    assert whitening("w", 0.0, (2, 2)) is None


@pytest.mark.parametrize(
    ("prior", "error", "words"),
    [
        (-1.0, ValueError, "non-negative standard deviation, got -1.0"),
        (np.nan, ValueError, "finite"),
        (np.ones(3), ValueError, r"shape \(2, 2\), got \(3,\)"),
        ("wide", TypeError, "got str"),
        (dist.Gamma(2.0, 1.0), TypeError, "smooth function of a Gaussian.*got Gamma"),
        (dist.Bernoulli(0.5), TypeError, "got BernoulliProbs"),
        (dist.Normal(0.0, np.ones(3)), ValueError, r"shape \(2, 2\), or \(\)"),
        (dist.StudentT(0.5), ValueError, "at least 1"),
        (dist.MultivariateNormal(np.zeros(2), np.eye(2)), ValueError, "shape"),
    ],
)
def test_refused_priors(prior, error, words):
    with pytest.raises(error, match=f"^weights.*{words}"):
        whitening("weights", prior, (2, 2))


def linen(prior):
    return models.from_flax(lambda width: LinenMLP(width, 2), prior)


def drawn(model):
    """A draw, and the same in the framework's structure; one program."""

    def both(key):
        parameters = model.init(key, X, 5, 2)
        return parameters["hidden"].layers, model.to_framework(parameters)["params"]

    return jax.jit(both)(jax.random.key(3))


def test_trees_rules_and_numbers_say_the_same():
    std = np.linspace(0.5, 2, 15).reshape(3, 5)
    tree = {"Dense_0": {"kernel": std, "bias": 2.0}, "Dense_1": dist.Laplace(0.0, 1.0)}
    rules = {"Dense_0/kernel": std, "Dense_0/bias": 2.0}
    shapes = {}

    def rule(path, shape):
        shapes[path] = shape
        return rules.get(path, dist.Laplace(0.0, 1.0))

    layers, params = drawn(linen(tree))
    for other in (linen({"params": tree}), linen(rule)):
        for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(drawn(other)[1]), strict=True):
            np.testing.assert_array_equal(a, b)
    assert shapes == {
        "Dense_0/kernel": (3, 5),
        "Dense_0/bias": (5,),
        "Dense_1/kernel": (5, 5),
        "Dense_1/bias": (5,),
    }
    np.testing.assert_allclose(params["Dense_0"]["kernel"], std * layers[0]["kernel"], rtol=1e-14)
    laplace = st.laplace().ppf(st.norm.cdf(layers[1]["bias"]))
    np.testing.assert_allclose(params["Dense_1"]["bias"], laplace, rtol=1e-12)


@pytest.mark.parametrize(("prior", "scale"), [(0.3, 0.3), (None, 1.0), (dist.Normal(0.0, 2.0), 2)])
def test_one_prior_for_all(prior, scale):
    layers, params = drawn(linen(prior))
    for i, layer in enumerate(layers):
        for name, u in layer.items():
            np.testing.assert_allclose(params[f"Dense_{i}"][name], scale * u, rtol=1e-14)


def test_equinox_trees_are_in_its_own_order_of_axes():
    module = equinox_mlp(3, 5, 2)
    std = np.linspace(0.5, 2, 15).reshape(5, 3)
    prior = jax.tree.map(jnp.ones_like, eqx.filter(module, eqx.is_inexact_array))
    last = lambda m: (m.layers[2].weight, m.layers[2].bias)  # noqa: E731
    prior = eqx.tree_at(last, prior, replace=(None, None))
    prior = eqx.tree_at(lambda m: m.layers[0].weight, prior, jnp.asarray(std))
    model = models.from_equinox(module, prior)
    drawn = model.init(jax.random.key(3), X, 5, 2)
    weight = model.to_framework(drawn).layers[0].weight
    np.testing.assert_array_equal(weight, std * drawn["hidden"].layers[0]["weight"].T)
    np.testing.assert_allclose(
        model.apply(drawn, X), jax.vmap(model.to_framework(drawn))(X), rtol=1e-12, atol=1e-12
    )


def test_nnx_trees():
    prior = {"one": {"kernel": 0.5, "bias": 0.1}, "and_another": 2.0}
    model = models.from_flax(NNXMLP(3, 5, 2), prior)
    drawn = model.init(jax.random.key(3), X, None, 2)
    module, (first, second) = model.to_framework(drawn), drawn["hidden"].layers
    np.testing.assert_array_equal(module.one.kernel[...], 0.5 * first["kernel"])
    np.testing.assert_array_equal(module.one.bias[...], 0.1 * first["bias"])
    np.testing.assert_array_equal(module.and_another.bias[...], 2.0 * second["bias"])


def test_fan_in():
    rule = models.fan_in(1.5, 0.2)
    assert rule("a/kernel", (3, 3, 4, 8)) == 1.5 / 6
    assert rule("a/bias", (8,)) == 0.2
    assert rule("norm/scale", (8,)) == 1.0
    with pytest.raises(ValueError, match="weight_std"):
        models.fan_in(0.0)
    with pytest.raises(ValueError, match="bias_std"):
        models.fan_in(1.0, -1.0)


def test_parameters_held_at_zero_are_not_drawn():
    """As our own network without biases."""
    own = models.mlp(2, "gelu", 1.5, 0.0).init(jax.random.key(1), X, 5, 2)
    model = linen(models.fan_in(1.5, 0.0))
    drawn = model.init(jax.random.key(1), X, 5, 2)
    for a, b in zip(jax.tree.leaves(own), jax.tree.leaves(drawn), strict=True):
        np.testing.assert_array_equal(a, b)
    module = model.to_framework(drawn)
    assert not module["params"]["Dense_0"]["bias"].any()
    module["params"]["Dense_0"]["bias"] += 1
    with pytest.raises(ValueError, match="'Dense_0/bias' must be 0"):
        model.from_framework(module, X, 5)


@pytest.mark.parametrize(
    ("prior", "words"),
    [
        ({"Dense_0": 1.0}, "one entry for parameter 'Dense_1/kernel', got"),
        ({"Dense_0": 1.0, "Dense_1": 1.0, "Dense_7": 1.0}, "an entry 'Dense_7'; the parameters"),
        ({"Dense_0": 1.0, "Dense_1": 1.0, "Dense_2": 1.0}, "'Dense_2' of the readout"),
        ({"Dense_0": 1.0, "Dense_1": {"kernel": np.ones(2), "bias": 1.0}}, r"Dense_1/kernel.*\(2,"),
        (lambda path, shape: None, "got NoneType"),
    ],
)
def test_trees_that_do_not_fit(prior, words):
    with pytest.raises((TypeError, ValueError), match=words):
        linen(prior).init(jax.random.key(0), X, 5, 2)


def test_a_network_in_ntk_parameterisation():
    """Its own layers, whose scales are undone in its readout, not in the others."""

    class NTKDense(nn.Module):
        features: int

        @nn.compact
        def __call__(self, x):
            normal = nn.initializers.normal(1.0)
            b = self.param("offset", normal, (self.features,), x.dtype)
            w = self.param("weights", normal, (x.shape[-1], self.features), x.dtype)
            return x @ w / x.shape[-1] ** 0.5 + 0.1 * b[None]

    class Network(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.relu(NTKDense(16, name="first")(x))
            return NTKDense(2, name="last")(x)

    model = models.from_flax(Network(), readout="last")
    drawn = model.init(jax.random.key(0), X, None, 2)
    variables = model.to_framework(drawn)
    np.testing.assert_allclose(
        Network().apply(variables, X), model.apply(drawn, X), rtol=1e-12, atol=1e-12
    )
    params = variables["params"]
    np.testing.assert_array_equal(params["first"]["weights"], drawn["hidden"].layers[0]["weights"])
    readout = np.vstack([params["last"]["weights"], params["last"]["offset"]])
    np.testing.assert_allclose(readout, drawn["readout"], rtol=1e-12)


class Small(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = jnp.tanh(nn.Dense(3)(x))
        return nn.Dense(1)(x)


def weighted_prior(x, y, noise):
    """E[f | D], by weighting NumPy's draws from the prior with their marginal likelihood."""
    generator = np.random.default_rng(3)
    w = generator.laplace(0.0, 0.8, (100_000, 3, 3))
    b = 0.5 * generator.standard_t(3.0, (100_000, 1, 3))
    phi = np.tanh(x @ w + b)
    psi = np.concatenate([phi / 3**0.5, np.full((*phi.shape[:2], 1), 0.1)], 2)
    kernel = psi @ psi.transpose(0, 2, 1)
    noisy = kernel + noise**2 * np.eye(len(x))
    solved = np.linalg.solve(noisy, y[None, :, None])
    log_weight = -(solved[:, :, 0] @ y + np.linalg.slogdet(noisy)[1]) / 2
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    assert 1 / np.sum(weight**2) > 2000
    f = (kernel @ solved)[:, :, 0]
    mean = weight @ f
    return mean, np.sqrt(weight**2 @ (f - mean) ** 2)


@pytest.mark.slow
@pytest.mark.parametrize("coordinates", ["standard", "repriorised", "collapsed"])
def test_heavy_tailed_priors_agree_with_weighted_draws(coordinates):
    """Within 4 standard errors at every point, in each of the coordinate systems."""
    x = np.random.default_rng(5).normal(size=(6, 3))
    y = np.sin(2 * x[:, 0])
    prior = {"Dense_0": {"kernel": dist.Laplace(0.0, 0.8), "bias": dist.StudentT(3.0, 0.0, 0.5)}}
    result = bnnsample.run(
        models.from_flax(Small(), prior),
        (x, y),
        width=None,
        likelihood=Gaussian(0.3),
        coordinates=coordinates,
        num_warmup=500,
        num_samples=2500,
        progress=False,
    )
    f = result.idata.posterior["f_mean"].values[..., 0]
    ess = effective_sample_size(f)
    assert ess.min() > 400
    mean, error = weighted_prior(x, y, 0.3)
    z = (f.mean((0, 1)) - mean) / np.hypot(error, f.std((0, 1)) / np.sqrt(ess))
    assert np.abs(z).max() < 4
