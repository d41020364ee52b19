"""One network in Linen, NNX, Equinox and our own layers: one posterior, one chain."""

import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from module_networks import four_models, outputs_of
from sklearn.datasets import load_diabetes

import bnnsample
from bnnsample.coordinates import COORDINATES
from bnnsample.likelihoods import Gaussian

N, WIDTH, OUTPUTS = 12, 6, 2
X, TARGETS = load_diabetes(return_X_y=True, scaled=True)
X = X[:, :3] * 20
Y = np.stack([TARGETS, TARGETS**2], 1)
Y = (Y - Y.mean(0)) / Y.std(0)
FRAMEWORKS = ("linen", "nnx", "equinox")
MODELS = four_models(3, OUTPUTS)


def slow(case):
    return pytest.param(case, marks=pytest.mark.slow)


def leaves_equal(one, other, **tolerance):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        if callable(a):  # an activation of Equinox
            continue
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, **tolerance)


@pytest.mark.parametrize("name", FRAMEWORKS)
@pytest.mark.parametrize("dtype", [jnp.float64, slow(jnp.float32)])
def test_one_prior_draw_and_one_function(name, dtype):
    x = jnp.asarray(X[:N], dtype)
    own, model = MODELS["own"], MODELS[name]
    expected, drawn = (
        jax.jit(lambda key, m=m: m.init(key, x, WIDTH, OUTPUTS))(jax.random.key(5))
        for m in (own, model)
    )
    leaves_equal(expected, drawn, rtol=0)
    tolerance = 1e-12 if dtype == jnp.float64 else 1e-5
    f = jax.jit(model.apply)(drawn, x)
    assert f.dtype == dtype
    np.testing.assert_allclose(f, jax.jit(own.apply)(expected, x), rtol=tolerance, atol=tolerance)
    theirs = outputs_of(name, WIDTH, model.to_framework(drawn), x)
    np.testing.assert_allclose(theirs, f, rtol=tolerance, atol=tolerance)
    back = model.from_framework(model.to_framework(drawn), x, WIDTH)
    assert jax.tree.structure(back) == jax.tree.structure(drawn)
    leaves_equal(back, drawn, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("coordinates", ["standard", slow("repriorised"), "collapsed"])
def test_one_potential(coordinates):
    x, y = jnp.asarray(X[:N]), jnp.asarray(Y[:N])
    found = []
    for model in MODELS.values():
        posterior = COORDINATES[coordinates](model, Gaussian(0.3), WIDTH, x, y)
        position = jax.jit(posterior.prior_draw)(jax.random.key(2))
        found.append(jax.value_and_grad(posterior.potential)(position))
    (value, gradient), *others = found
    for other, slope in others:
        np.testing.assert_allclose(other, value, rtol=1e-12)
        leaves_equal(gradient, slope, rtol=1e-9, atol=1e-10 * abs(float(value)))


def run(name, dtype, **settings):
    return bnnsample.run(
        MODELS[name],
        (X[:N].astype(dtype), Y[:N].astype(dtype)),
        width=WIDTH,
        likelihood=Gaussian(0.5),
        num_chains=1,
        keep="all",
        progress=False,
        **settings,
    )


def check_parameters(name, result, tolerance):
    """A kept draw, in the framework's own structure, is the draw of the function."""
    dtype = result.idata.posterior["f"].values.dtype
    theirs = outputs_of(name, WIDTH, result.parameters(0, 3), jnp.asarray(X[:N], dtype))
    f = result.idata.posterior["f"].values[0, 3]
    np.testing.assert_allclose(theirs, f, rtol=tolerance, atol=tolerance)


SHORT = {
    "num_warmup": 0,
    "num_samples": 8,
    "kernel_options": {"step_size": 0.3, "num_integration_steps": 3},
}


@pytest.fixture(scope="module")
def own_chain():
    result = run("own", np.float64, **SHORT)
    assert 0.3 < result.idata.sample_stats["acceptance_rate"].values.mean() < 0.999
    return result


@pytest.mark.parametrize("name", [slow("linen"), slow("nnx"), "equinox"])
def test_one_chain(name, own_chain, tmp_path):
    result = run(name, np.float64, **SHORT)
    for variable in ("f", "f_mean", "hidden", "projection"):
        np.testing.assert_allclose(
            result.idata.posterior[variable].values,
            own_chain.idata.posterior[variable].values,
            rtol=1e-8,
            atol=1e-10,
        )
    check_parameters(name, result, 1e-10)
    result.save(tmp_path / "run")
    loaded = bnnsample.load(tmp_path / "run", model=MODELS[name])
    leaves_equal(loaded.parameters(0, 2), result.parameters(0, 2), rtol=0)
    # Without the model the parameters are the stored ones.
    stored = bnnsample.load(tmp_path / "run").parameters(0, 2)
    assert stored["readout"].shape == (WIDTH + 1, OUTPUTS)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_adapted_runs(name, dtype):
    own = run("own", dtype, num_warmup=100, num_samples=100)
    result = run(name, dtype, num_warmup=100, num_samples=100)
    assert "Function space" in result.report()
    assert result.idata.posterior["f"].values.dtype == dtype
    check_parameters(name, result, 1e-10 if dtype is np.float64 else 1e-3)
    spread = own.predict(X[:N]).std
    difference = np.abs(own.predict(X[:N]).mean - result.predict(X[:N]).mean)
    assert (difference < spread).all()


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_models_go_to_other_processes(name):
    """As joblib, and so scikit-learn's ``n_jobs``, sends them."""
    x, model = jnp.asarray(X[:N]), MODELS[name]
    parameters = model.init(jax.random.key(3), x, WIDTH, OUTPUTS)
    copy = cloudpickle.loads(cloudpickle.dumps(model))
    np.testing.assert_array_equal(copy.apply(parameters, x), model.apply(parameters, x))
    leaves_equal(copy.init(jax.random.key(3), x, WIDTH, OUTPUTS), parameters, rtol=0)


def test_a_trained_network_starts_a_chain():
    """The chain's position is that of the parameters, to the rounding of the inverse."""
    model, x = MODELS["linen"], jnp.asarray(X[:N])
    trained = model.to_framework(model.init(jax.random.key(9), x, WIDTH, OUTPUTS))
    start = model.from_framework(trained, x, np.int64(WIDTH))
    posterior = COORDINATES["standard"](model, Gaussian(0.5), WIDTH, x, jnp.asarray(Y[:N]))
    template = posterior.prior_draw(jax.random.key(0))
    assert str(jax.tree.structure(template)) == str(jax.tree.structure({**start, "unknowns": {}}))
    f = outputs_of("linen", WIDTH, trained, x)
    np.testing.assert_allclose(model.apply(start, x), f, rtol=1e-12, atol=1e-12)
