"""Unknown prior scales of modules: the same posterior as that of our own layers."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from module_networks import LinenMLP, four_models, outputs_of
from test_models_frameworks import OUTPUTS, WIDTH, X, Y, leaves_equal

import bnnsample
from bnnsample import models
from bnnsample.coordinates import COORDINATES
from bnnsample.likelihoods import Gaussian

N = 8
SCALES = {"weight_std": dist.HalfNormal(1.5), "bias_std": dist.Gamma(2.0, 3.0)}
MODELS = four_models(3, OUTPUTS, SCALES)


def slow(*case):
    return pytest.param(*case, marks=pytest.mark.slow)


@pytest.mark.parametrize("coordinates", [slow("standard"), slow("repriorised"), "collapsed"])
def test_one_potential(coordinates):
    x, y = jnp.asarray(X[:N]), jnp.asarray(Y[:N])
    found = []
    for model in MODELS.values():
        assert set(model.unknowns) == set(SCALES)
        posterior = COORDINATES[coordinates](model, Gaussian(0.3), WIDTH, x, y)
        position = jax.jit(posterior.prior_draw)(jax.random.key(2))
        found.append(jax.jit(jax.value_and_grad(posterior.potential))(position))
    (value, gradient), *others = found
    assert min(abs(float(gradient["unknowns"][name])) for name in SCALES) > 1e-3
    for other, slope in others:
        np.testing.assert_allclose(other, value, rtol=1e-11)
        leaves_equal(gradient, slope, rtol=1e-9, atol=1e-10 * abs(float(value)))


def run(model, dtype=np.float64, **settings):
    return bnnsample.run(
        model,
        (X[:N].astype(dtype), Y[:N].astype(dtype)),
        width=WIDTH,
        likelihood=Gaussian(0.5),
        num_chains=1,
        num_warmup=0,
        num_samples=6,
        kernel_options={"step_size": 0.2, "num_integration_steps": 3},
        keep="all",
        progress=False,
        **settings,
    )


@pytest.mark.parametrize("name", [slow("linen"), slow("nnx"), "equinox"])
def test_one_chain_and_the_frameworks_parameters(name):
    own, result = run(MODELS["own"]), run(MODELS[name])
    for variable in ("f", "hidden", *SCALES):
        np.testing.assert_allclose(
            result.idata.posterior[variable].values,
            own.idata.posterior[variable].values,
            rtol=1e-8,
            atol=1e-10,
        )
    theirs = outputs_of(name, WIDTH, result.parameters(0, 3), jnp.asarray(X[:N]))
    np.testing.assert_allclose(theirs, result.idata.posterior["f"].values[0, 3], rtol=1e-10)


def linen(prior, scales, **options):
    return models.from_flax(lambda width: LinenMLP(width, OUTPUTS), prior, scales=scales, **options)


def test_a_rule_of_ones_own_has_a_scale_for_each_layer():
    """Of heavy tails, whose own scale is the unknown."""

    def rule(path, shape, first, second):
        return dist.Laplace(0.0, first if path.startswith("Dense_0") else second)

    model = linen(rule, {"first": dist.HalfNormal(1.0), "second": 0.7})
    assert set(model.unknowns) == {"first"}
    x = jnp.asarray(X[:N])
    drawn = model.init(jax.random.key(1), x, WIDTH, OUTPUTS)

    @jax.jit
    def params(first):
        return model.at({"first": first}).to_framework(drawn)["params"]

    one, three = params(1.0), params(3.0)
    leaves_equal(jax.tree.map(lambda a: 3 * a, one["Dense_0"]), three["Dense_0"], rtol=1e-12)
    for layer in ("Dense_1", "Dense_2"):
        leaves_equal(one[layer], three[layer], rtol=0)
    fixed = linen(rule, {"first": 3.0, "second": 0.7})
    leaves_equal(fixed.to_framework(drawn)["params"], three, rtol=1e-12)


@pytest.mark.slow
def test_scales_fitted_and_in_float32():
    model = linen(models.fan_in(), {"weight_std": "empirical-bayes"}, readout_bias_std=0.1)
    result = run(model, np.float32)
    assert result.settings["fitted"]["weight_std"] > 0
    assert result.idata.posterior["f"].values.dtype == np.float32
    mixed = run(linen(models.fan_in(), SCALES), precision="mixed")
    assert mixed.idata.posterior["weight_std"].values.dtype == np.float64


@pytest.mark.parametrize(
    ("prior", "scales", "error", "words"),
    [
        (None, {"s": 1.0}, TypeError, "prior that is a rule.*prior=None"),
        ({"Dense_0": 1.0}, {"s": 1.0}, TypeError, "prior that is a rule"),
        (models.fan_in(), [1.0], TypeError, "scales must be a dict by name"),
        (models.fan_in(), {1: 1.0}, TypeError, "scales must be a dict by name"),
        (models.fan_in(), {"readout_bias_std": 1.0}, ValueError, "argument of its own"),
        (models.fan_in(), {"weight_std": -1.0}, ValueError, "weight_std must be a finite positive"),
        (models.fan_in(), {"weight_std": dist.Normal()}, ValueError, "weight_std.*positive"),
    ],
)
def test_scales_that_cannot_be_meant(prior, scales, error, words):
    with pytest.raises(error, match=words):
        linen(prior, scales)


@pytest.mark.parametrize(
    ("prior", "scales", "words"),
    [
        (models.fan_in(), {"std": dist.HalfNormal()}, "unexpected keyword argument 'std'"),
        (lambda path, shape, df: dist.StudentT(df), {"df": dist.HalfNormal()}, "StudentT needs"),
        (lambda path, shape, s: s * jnp.ones(3), {"s": dist.HalfNormal()}, "parameter's shape"),
        (lambda path, shape, s: dist.Beta(s, s), {"s": dist.HalfNormal()}, "smooth function"),
    ],
)
def test_rules_that_do_not_take_their_scales(prior, scales, words):
    with pytest.raises((TypeError, ValueError), match=words):
        run(linen(prior, scales))


def test_a_name_of_the_likelihoods_is_taken():
    def rule(path, shape, noise_scale):
        return noise_scale

    model = linen(rule, {"noise_scale": dist.HalfNormal()})
    with pytest.raises(ValueError, match="both have an unknown named 'noise_scale'"):
        bnnsample.run(model, (X[:N], Y[:N]), width=WIDTH)
