"""Prior scales that are sampled with the network: densities, kernels, runs, storage."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats as st

import bnnsample
from bnnsample import likelihoods, models, repriorisation
from bnnsample.coordinates import COORDINATES, Standard, SurrogateRepriorised
from bnnsample.kernels._registry import resolve_kernel
from bnnsample.likelihoods import Categorical, Gaussian
from bnnsample.results._ess import mean_ess
from bnnsample.surrogates import Surrogate
from ntk.layers import Activation, Dense, Serial

N, D = 6, 2
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(N, 3)), RNG.normal(size=(N, D))
LABELS = np.array([0.0, 2, 1, 1, 0, 2])[:, None]
MODEL = models.mlp(
    1,
    "tanh",
    weight_std=[dist.HalfNormal(1.5)],
    bias_std=dist.LogNormal(-1.0, 0.5),
    readout_weight_std=dist.Gamma(2.0, 1.0),
    readout_bias_std=dist.HalfCauchy(0.3),
)
NAMES = {"weight_std_0", "bias_std", "readout_weight_std", "readout_bias_std"}
# Both sides of the linear algebra: p = 4 < n and p = 12 > n.
WIDTHS = [3, 11]


def scales_of(position):
    """Values of the unknowns, from SciPy's quantile functions."""
    u = {name: float(value) for name, value in position["unknowns"].items()}
    p = {name: st.norm.cdf(value) for name, value in u.items()}
    values = {
        "weight_std_0": st.halfnorm(scale=1.5).ppf(p["weight_std_0"]),
        "bias_std": math.exp(-1 + 0.5 * u["bias_std"]),
        "readout_weight_std": math.exp(u["readout_weight_std"]),
        "readout_bias_std": st.halfcauchy(scale=0.3).ppf(p["readout_bias_std"]),
    }
    if "noise_scale" in u:
        values["noise_scale"] = st.halfnorm.ppf(p["noise_scale"])
    return values


def correction(position):
    """Of the gamma prior, moved through its logarithm: density, less that of N(0, 1)."""
    u = float(position["unknowns"]["readout_weight_std"])
    return st.gamma(2.0).logpdf(math.exp(u)) + u + u**2 / 2


def features(position, values, x=X):
    layer = position["hidden"][0]
    weight, bias = np.asarray(layer["weight"]), np.asarray(layer["bias"])
    z = values["weight_std_0"] / np.sqrt(3) * x @ weight + values["bias_std"] * bias
    phi = np.tanh(z) * values["readout_weight_std"] / np.sqrt(weight.shape[1])
    return np.hstack([phi, np.full((len(x), 1), values["readout_bias_std"])])


def build(coordinates, width, likelihood=None, y=Y):
    return COORDINATES[coordinates](
        MODEL, likelihood or Gaussian(), width, jnp.asarray(X), jnp.asarray(y)
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_standard_potential_is_minus_the_log_likelihood(width):
    posterior = build("standard", width)
    for seed in range(3):
        position = posterior.prior_draw(jax.random.key(seed))
        values = scales_of(position)
        assert values.keys() == NAMES | {"noise_scale"}
        f = features(position, values) @ np.asarray(position["readout"])
        expected = -st.norm(f, values["noise_scale"]).logpdf(Y).sum() - correction(position)
        np.testing.assert_allclose(posterior.potential(position), expected, rtol=1e-10)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("coordinates", ["collapsed", "repriorised"])
def test_collapsed_potential_integrates_the_readout_out(coordinates, width):
    posterior = build(coordinates, width)
    for seed in range(3):
        position = posterior.prior_draw(jax.random.key(seed))
        values = scales_of(position)
        psi = features(position, values)
        noise = values["noise_scale"] ** 2 * np.eye(N)
        marginal = st.multivariate_normal(cov=psi @ psi.T + noise)
        expected = -marginal.logpdf(Y.T).sum() - correction(position)
        np.testing.assert_allclose(posterior.potential(position), expected, rtol=1e-9)


def test_units_see_the_scales():
    """``1/2 tr(z^T M^{-1} z) + d/2 log det M + c`` is the potential."""
    posterior = build("collapsed", 11)
    target = posterior.unit_target()
    for seed in range(3):
        position = posterior.prior_draw(jax.random.key(seed))
        units, rest = target.split(position)
        M0, z, c = target.base(rest)
        P = target.columns(units, rest)
        M = np.asarray(M0 + P @ P.T)
        value = 0.5 * np.trace(z.T @ np.linalg.solve(M, z)) + D / 2 * np.linalg.slogdet(M)[1]
        np.testing.assert_allclose(value + float(c), posterior.potential(position), rtol=1e-9)


def with_surrogate(width):
    likelihood, y, _ = Categorical().prepared(LABELS[:, 0].astype(int), N)
    rng = np.random.default_rng(7)
    surrogate = Surrogate(jnp.asarray(rng.uniform(0.3, 2, N)), jnp.asarray(rng.normal(size=(N, 3))))
    standard = Standard(MODEL, likelihood, width, jnp.asarray(X), jnp.asarray(y))
    moved = SurrogateRepriorised(*(getattr(standard, k) for k in FIELDS), surrogate=surrogate)
    return standard, moved


FIELDS = ("model", "likelihood", "width", "x", "y")


def log_density(posterior, position):
    squares = sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(position))
    return -float(posterior.potential(position)) - 0.5 * squares


@pytest.mark.parametrize("width", WIDTHS)
def test_surrogate_density_is_the_standard_one_times_the_jacobian(width):
    standard, posterior = with_surrogate(width)
    surrogate = posterior.surrogate
    for seed in range(3):
        position = posterior.prior_draw(jax.random.key(seed))
        psi = jnp.asarray(features(position, scales_of(position)))
        scale = 1 / surrogate.root
        W = repriorisation.forward(position["readout"], psi, surrogate.target, scale)
        jacobian = float(repriorisation.log_det(psi, scale, 3))
        np.testing.assert_allclose(
            log_density(standard, {**position, "readout": W}) + jacobian,
            log_density(posterior, position),
            rtol=1e-10,
        )
        parameters = posterior.network_parameters(position)
        np.testing.assert_allclose(parameters["readout"], W, atol=1e-11)
        back = posterior.position_of(parameters, position["unknowns"])
        np.testing.assert_allclose(back["readout"], position["readout"], atol=1e-10)


@pytest.mark.parametrize("width", WIDTHS)
def test_alternating_keeps_its_potential_and_moves_every_scale(width):
    """The kernel's running potential is that of its position, scales moved with the hidden."""
    _, posterior = with_surrogate(width)
    spec, parameters, _ = resolve_kernel("alternating", {"step_size": 0.2})
    target = spec.view(posterior)
    state = spec.init(
        jax.random.key(0), target, posterior.position_of(*draws_of(posterior, jax.random.key(1)))
    )
    first = state.position["unknowns"]
    for seed in range(4):
        state, _ = spec.step(jax.random.key(seed), target, state, parameters)
        np.testing.assert_allclose(state.potential, posterior.potential(state.position), rtol=1e-10)
    assert all(float(first[name]) != float(state.position["unknowns"][name]) for name in NAMES)


def draws_of(posterior, key):
    return posterior.prior_parameters(key), posterior.prior_unknowns(key)


# A posterior that weighted prior draws still cover.
SMALL = models.mlp(
    1,
    "tanh",
    weight_std=dist.HalfNormal(1.5),
    readout_weight_std=dist.Gamma(2.0, 1.0),
    readout_bias_std=dist.LogNormal(-1.0, 0.5),
)
X_NEW = np.random.default_rng(5).normal(size=(3, 3))
TARGETS = {"gaussian": (Gaussian(0.5), Y), "bernoulli": (likelihoods.Bernoulli(), LABELS[:, 0] > 0)}


@functools.cache
def small_run(name, coordinates="auto", **options):
    likelihood, y = TARGETS[name]
    settings = {"num_warmup": 300, "num_samples": 800, "x_eval": X_NEW, "progress": False}
    return bnnsample.run(
        SMALL,
        (X, y),
        width=2,
        likelihood=likelihood,
        coordinates=coordinates,
        **{**settings, **options},
    )


@functools.cache
def brute_force(name, count=200_000):
    likelihood, y = TARGETS[name]
    likelihood, y, _ = likelihood.prepared(y, N)
    outputs, y = likelihood.num_outputs(y), jnp.asarray(y, float)

    def draw(key):
        network_key, *keys = jax.random.split(key, 4)
        values = {
            "weight_std": 1.5 * jnp.abs(jax.random.normal(keys[0])),
            "readout_weight_std": jax.random.gamma(keys[1], 2.0),
            "readout_bias_std": jnp.exp(-1 + 0.5 * jax.random.normal(keys[2])),
        }
        model = models.mlp(1, "tanh", **values)
        parameters = model.init(network_key, X, 2, outputs)
        f, f_new = (model.apply(parameters, jnp.asarray(a)) for a in (X, X_NEW))
        log_weight = jnp.sum(likelihood.log_prob(y, f, {}))
        mean = likelihood.mean(f_new, {})
        return log_weight, jnp.concatenate([mean.ravel(), jnp.stack(list(values.values()))])

    keys = jax.random.split(jax.random.key(11), count)
    log_weights, q = jax.jit(lambda k: jax.lax.map(draw, k, batch_size=10_000))(keys)
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    q = np.asarray(q)
    estimate = weights @ q
    return estimate, np.sqrt(weights**2 @ (q - estimate) ** 2)


@pytest.mark.parametrize(
    ("name", "coordinates"),
    [
        ("gaussian", "collapsed"),
        pytest.param("gaussian", "repriorised", marks=pytest.mark.slow),
        pytest.param("gaussian", "standard", marks=pytest.mark.slow),
        pytest.param("bernoulli", "repriorised", marks=pytest.mark.slow),
        pytest.param("bernoulli", "standard", marks=pytest.mark.slow),
    ],
)
def test_run_agrees_with_brute_force(name, coordinates):
    draws = small_run(name, coordinates).record.draws
    expected, error = brute_force(name)
    values = draws["f_mean" if name == "gaussian" else "y_mean"]
    shape = values.shape[:2]
    scales = ("weight_std", "readout_weight_std", "readout_bias_std")
    got = np.concatenate(
        [values.reshape(*shape, -1), *(draws[k][..., None] for k in scales)], axis=-1
    )
    chain_error = got.std(axis=(0, 1)) / np.sqrt(mean_ess(got))
    z = (got.mean(axis=(0, 1)) - expected) / np.hypot(error, chain_error)
    assert np.abs(z).max() < 4.5, z


def test_results_know_the_scales(tmp_path):
    """Names in the posterior and the prior, predictions and parameters of each draw's network."""
    result = small_run("gaussian", num_warmup=50, num_samples=40)
    names = {"weight_std", "readout_weight_std", "readout_bias_std"}
    for group in ("posterior", "prior"):
        assert names <= set(result.idata[group].data_vars)
    assert "hyperparameters" in result.diagnostics().index
    kept = result.record.kept
    chain, draw = 1, int(kept.draws[-1])
    values = {k: result.record.draws[k][chain, draw] for k in names}
    network = SMALL.at(values)
    f = network.apply(result.parameters(chain, draw), jnp.asarray(X_NEW))
    np.testing.assert_allclose(f, result.record.draws["f"][chain, draw], rtol=1e-8)
    prediction = result.predict(X_NEW, return_draws=True)
    np.testing.assert_allclose(
        prediction.mean, result.record.draws["f_mean"].mean(axis=(0, 1)), rtol=1e-8
    )
    result.save(tmp_path / "run.zarr")
    loaded = bnnsample.load(tmp_path / "run.zarr")
    np.testing.assert_allclose(loaded.predict(X_NEW).std, prediction.std, rtol=1e-12)
    assert loaded.settings["model"]["weight_std"] == {"distribution": "HalfNormal", "scale": 1.5}


def test_prior_draws_of_two_scales_are_independent():
    """Without quantile functions they come from NumPyro's sampler, under keys of their own."""
    model = models.mlp(
        1, "tanh", weight_std=dist.Gamma(2.0, 1.0), readout_weight_std=dist.Gamma(2.0, 1.0)
    )
    result = bnnsample.run(
        model, (X, Y), width=2, num_chains=1, num_warmup=0, num_samples=4, progress=False
    )
    prior = result.record.prior
    a, b = prior["weight_std"][0], prior["readout_weight_std"][0]
    assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(len(a))


def test_own_layers_and_functions_take_scales():
    layers = models.from_layers(
        lambda s, r: Serial(Dense(s), Activation("tanh"), Dense(r, 0.1)),
        s=dist.HalfNormal(1.0),
        r=1.5,
    )
    own = models.from_functions(
        lambda key, x, width: {"w": jax.random.normal(key, (x.shape[1], width), x.dtype)},
        lambda h, x, s: jnp.tanh(s / math.sqrt(x.shape[1]) * (x @ h["w"])),
        readout_weight_std=1.5,
        scales={"s": dist.HalfNormal(1.0)},
    )
    assert list(layers.unknowns) == list(own.unknowns) == ["s"]
    h = layers.init(jax.random.key(0), jnp.asarray(X), 4)["hidden"]
    at = {"s": jnp.asarray(0.7)}
    expected = layers.at(at).features(h, jnp.asarray(X))
    got = own.at(at).features({"w": h[0]["weight"]}, jnp.asarray(X))
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    assert not layers.at(at).unknowns


def test_one_scale_per_layer():
    model = models.mlp(2, "tanh", weight_std=[1.0, dist.HalfNormal(1.0)], bias_std=[0.0, 0.3])
    assert list(model.unknowns) == ["weight_std_1"]
    h = model.init(jax.random.key(0), jnp.asarray(X), 4)["hidden"]
    assert [sorted(layer) for layer in h] == [["weight"], ["bias", "weight"]]
    z = np.tanh(X @ np.asarray(h[0]["weight"]) / np.sqrt(3))
    z = np.tanh(0.7 / 2 * z @ np.asarray(h[1]["weight"]) + 0.3 * np.asarray(h[1]["bias"]))
    got = model.at({"weight_std_1": 0.7}).features(h, jnp.asarray(X))
    np.testing.assert_allclose(got, np.hstack([z / 2, np.full((N, 1), 0.1)]), rtol=1e-12)


@pytest.mark.parametrize("kind", ["cnn", "resnet"])
def test_convolutional_networks_take_scales(kind):
    model = getattr(models, kind)(weight_std=dist.HalfNormal(1.0))
    x = jnp.asarray(RNG.normal(size=(2, 8, 8, 1)))
    h = model.init(jax.random.key(0), x, 3)["hidden"]
    known = getattr(models, kind)(weight_std=0.7)
    np.testing.assert_allclose(
        model.at({"weight_std": 0.7}).features(h, x), known.features(h, x), rtol=1e-12
    )


def test_float32_stays_float32():
    x, y = X.astype(np.float32), Y.astype(np.float32)
    result = bnnsample.run(
        SMALL, (x, y), width=4, num_chains=2, num_warmup=20, num_samples=10, progress=False
    )
    assert {draws.dtype for draws in result.record.draws.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: models.mlp(weight_std=dist.Normal(0.0, 1.0)), ValueError, "weight_std.*positive"),
        (lambda: models.mlp(bias_std=dist.HalfNormal(jnp.ones(2))), ValueError, "scalar"),
        (lambda: models.mlp(weight_std="bayes"), TypeError, "weight_std must be a number.*'bayes'"),
        (
            lambda: SMALL.at({"weight_std": -1.0}),
            ValueError,
            "weight_std must be a finite positive",
        ),
        (lambda: SMALL.at({"weight_std": np.ones(2)}), TypeError, "weight_std must be a number"),
        (lambda: models.mlp(2, weight_std=[1.0]), ValueError, "1 entries.*2 hidden"),
        (lambda: models.mlp(2, weight_std=[1.0, -1.0]), ValueError, r"weight_std\[1\]"),
        (lambda: models.mlp(readout_weight_std=[1.0]), TypeError, "one standard deviation"),
        (lambda: models.resnet(weight_std=[1.0]), TypeError, "one standard deviation"),
        (lambda: models.from_layers(Serial(Dense()), s=1.0), TypeError, "function of s"),
        (lambda: likelihoods.StudentT(scale="empirical-bayes"), ValueError, "Gaussian noise alone"),
    ],
)
def test_scales_that_cannot_be_meant(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_names_do_not_collide():
    own = likelihoods.from_log_prob(
        lambda y, f, weight_std: -jnp.sum((y - f) ** 2, 1) / weight_std,
        unknowns={"weight_std": dist.HalfNormal(1.0)},
    )
    with pytest.raises(ValueError, match="both have an unknown named 'weight_std'"):
        bnnsample.run(SMALL, (X, Y), width=2, likelihood=own)


def test_theory_asks_for_known_scales():
    result = small_run("gaussian", num_warmup=50, num_samples=40)
    with pytest.raises(ValueError, match="known prior scales, and weight_std"):
        result.compare_to_theory()
    with pytest.raises(ValueError, match="known prior scales"):
        bnnsample.theory.will_it_help(SMALL, (X, Y), 4)
