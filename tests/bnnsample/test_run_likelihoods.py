"""Whole runs of every likelihood against brute force, and what results make of them."""

import functools

import arviz
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import bnnsample
from bnnsample import likelihoods, models
from bnnsample.results._ess import mean_ess

N = 5
RNG = np.random.default_rng(0)
X, X_NEW = RNG.normal(size=(N, 2)), RNG.normal(size=(4, 2))
REAL = RNG.normal(size=N)
MODEL = models.mlp(1, "tanh", readout_weight_std=1.5)
WIDTH = 2
CASES = {
    "categorical": (likelihoods.Categorical(), np.array(["b", "c", "a", "b", "b"])),
    "bernoulli": (likelihoods.Bernoulli(), np.array([True, False, True, True, False])),
    "poisson": (likelihoods.Poisson(), np.array([0, 3, 1, 0, 2])),
    "student_t": (likelihoods.StudentT(3.0, dist.LogNormal(-0.7, 0.4)), REAL),
    "laplace": (likelihoods.Laplace(0.5), REAL),
    "heteroscedastic": (likelihoods.HeteroscedasticGaussian(), REAL),
    "numpyro": (likelihoods.from_numpyro(lambda f: dist.Logistic(f[:, 0], 0.4)), REAL),
    "numpyro classes": (
        likelihoods.from_numpyro(lambda f: dist.Categorical(logits=f), num_outputs=3),
        np.array([1, 2, 0, 1, 1]),
    ),
    "log_prob": (
        likelihoods.from_log_prob(
            lambda y, f, width: jnp.sum(-jnp.log1p((y - f) ** 2 / width) - jnp.log(width), 1),
            unknowns={"width": dist.HalfNormal(1.0)},
            mean=lambda f, width: f,
        ),
        REAL,
    ),
    "own surrogate": (
        likelihoods.from_log_prob(
            lambda y, f: -jnp.sum(jnp.abs(y - f), axis=1) / 0.5,
            mean=lambda f: f,
            surrogate=lambda y: (0.8 * y, jnp.full(len(y), 0.6)),
        ),
        REAL,
    ),
}
# A stored result does not hold the functions of these.
OWN = ("numpyro", "numpyro classes", "log_prob", "own surrogate")


def run(name, **options):
    likelihood, y = CASES[name]
    settings = {
        "width": WIDTH,
        "num_warmup": 300,
        "num_samples": 800,
        "x_eval": X_NEW,
        "progress": False,
        **options,
    }
    return bnnsample.run(MODEL, (X, y), likelihood=likelihood, **settings)


QUICK = ["categorical", "student_t"]
LONG = [pytest.param(name, marks=pytest.mark.slow) for name in CASES if name not in QUICK]


@functools.cache
def short(name):
    """One short run per likelihood, for all that looks at results."""
    return run(name, num_warmup=100, num_samples=150)


def brute_force(name, count=200_000):
    """``E[y | f]`` at the new points, and its error, of prior draws weighted by the likelihood."""
    likelihood, y = CASES[name]
    likelihood, y, _ = likelihood.prepared(y, N)
    outputs = likelihood.num_outputs(y)

    def draw(key):
        network_key, unknown_key = jax.random.split(key)
        parameters = MODEL.init(network_key, X, WIDTH, outputs)
        u = jax.random.normal(unknown_key, (len(likelihood.unknowns),))
        values = {
            k: unknown.value(u[i]) for i, (k, unknown) in enumerate(likelihood.unknowns.items())
        }
        f, f_new = (MODEL.apply(parameters, jnp.asarray(a)) for a in (X, X_NEW))
        log_weight = jnp.sum(likelihood.log_prob(jnp.asarray(y), f, values))
        return log_weight, likelihood.mean(f_new, values), values

    keys = jax.random.split(jax.random.key(11), count)
    log_weights, mean, values = jax.jit(lambda k: jax.lax.map(draw, k, batch_size=10_000))(keys)
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    quantities = np.hstack(
        [np.asarray(mean).reshape(count, -1), *(v[:, None] for v in values.values())]
    )
    estimate = weights @ quantities
    error = np.sqrt(weights**2 @ (quantities - estimate) ** 2)
    return estimate, error


@pytest.mark.parametrize(
    "coordinates", ["repriorised", pytest.param("standard", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", [*QUICK, *LONG])
def test_run_agrees_with_brute_force(name, coordinates):
    result = run(name, coordinates=coordinates, keep="none")
    expected, error = brute_force(name)
    draws = result.record.draws
    shape = draws["y_mean"].shape[:2]
    unknowns = [draws[k][..., None] for k in CASES[name][0].unknowns]
    got = np.concatenate([draws["y_mean"].reshape(*shape, -1), *unknowns], axis=-1)
    chain_error = got.std(axis=(0, 1)) / np.sqrt(mean_ess(got))
    z = (got.mean(axis=(0, 1)) - expected) / np.hypot(error, chain_error)
    assert np.abs(z).max() < 4.5, z


def test_classes_by_name():
    """Names in the outputs' coordinates, probabilities that sum to one, codes in observed data."""
    result = short("categorical")
    posterior = result.idata["posterior"]
    assert list(posterior["y_mean"].coords["output"].values) == ["a", "b", "c"]
    assert posterior["y_mean"].dims == ("chain", "draw", "eval_point", "output")
    np.testing.assert_allclose(posterior["y_mean"].sum("output"), 1, rtol=1e-12)
    np.testing.assert_array_equal(result.idata["observed_data"]["y"].values[:, 0], [1, 2, 0, 1, 1])
    assert result.idata["observed_data"]["y"].attrs["classes"] == ["a", "b", "c"]
    assert result.idata["posterior_predictive"]["y"].dims[-1] == "target"
    mean, std, predictive_std, draws = result.predict(X_NEW, return_draws=True)
    assert mean.shape == (4, 3)
    np.testing.assert_allclose(mean.sum(axis=1), 1, rtol=1e-9)
    np.testing.assert_allclose(mean, draws.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(std, draws.std(axis=0), rtol=1e-7)
    # One-hot labels of these probabilities.
    np.testing.assert_allclose(predictive_std, np.sqrt(mean * (1 - mean)), rtol=1e-7)
    assert "expected observation" in result.report()
    assert result.settings["coordinates"] == "repriorised"
    assert result.settings["kernel"] == "alternating"


def test_two_labels_give_one_probability():
    result = short("bernoulli")
    prediction = result.predict(X_NEW)
    assert prediction.mean.shape == (4,)
    assert ((prediction.mean > 0) & (prediction.mean < 1)).all()


def test_noise_of_the_inputs_enters_the_predictive_spread():
    result = short("heteroscedastic")
    prediction = result.predict(X_NEW, return_draws=True)
    f = result.record.draws["f"]
    variance = np.exp(2 * f[..., 1]).mean(axis=(0, 1)) + f[..., 0].var(axis=(0, 1))
    np.testing.assert_allclose(prediction.predictive_std**2, variance, rtol=1e-7)
    np.testing.assert_allclose(prediction.mean, f[..., 0].mean(axis=(0, 1)), rtol=1e-7)
    assert result.idata["posterior"]["y_mean"].dims[-1] == "target"


@pytest.mark.parametrize("name", [*QUICK, *LONG])
def test_stored_and_loaded(name, tmp_path):
    result = short(name)
    result.save(tmp_path / "result.zarr")
    likelihood = CASES[name][0] if name in OWN else None
    loaded = bnnsample.load(tmp_path / "result.zarr", likelihood=likelihood)
    for draws, expected in ((loaded.record.draws, result.record.draws),):
        for key, value in expected.items():
            np.testing.assert_array_equal(draws[key], value)
    np.testing.assert_array_equal(loaded.predict(X_NEW).mean, result.predict(X_NEW).mean)


def test_log_likelihood_feeds_loo():
    result = short("poisson")
    loo = arviz.loo(result.idata)
    density = result.record.draws["log_likelihood"]
    assert np.isfinite(float(loo.iloc[0]) if hasattr(loo, "iloc") else loo.elpd)
    assert density.shape == (4, 150, N)


@pytest.mark.parametrize(
    "kernel",
    [
        "infinite_hmc",
        "nuts",
        *(
            pytest.param(kernel, marks=pytest.mark.slow)
            for kernel in ("infinite_mala", "pcn", "elliptical_slice", "hmc", "ghmc", "mclmc")
        ),
    ],
)
def test_other_kernels_take_the_surrogate_too(kernel):
    result = run("bernoulli", kernel=kernel, num_warmup=50, num_samples=20)
    assert np.isfinite(result.record.draws["f"]).all()


@pytest.mark.parametrize("kind", ["trace", "rank", "ess", "predictive"])
@pytest.mark.parametrize("name", ["categorical", "heteroscedastic"])
def test_plots(name, kind, tmp_path):
    result = short(name)
    assert result.plot(kind, tmp_path / "plot.png") is not None
    assert (tmp_path / "plot.png").stat().st_size > 5000


WRONG = [
    (likelihoods.Categorical(["a", "b"]), ["a", "b", "c", "a", "b"], "'c'.*classes"),
    (likelihoods.Categorical(), [0.5, 1, 0, 1, 0], "0.5.*whole"),
    (likelihoods.Categorical(), [1, 1, 1, 1, 1], "two classes"),
    (likelihoods.Categorical(), ["a", None, "b", "a", "b"], "missing"),
    (likelihoods.Categorical(), np.eye(5), "argmax"),
    (likelihoods.Categorical(), [0, 1], "same number"),
    (likelihoods.Bernoulli(), [0, 1, 2, 0, 1], "two classes.*3"),
    (likelihoods.Bernoulli(), np.full((5, 2), 0.5), "zeros and ones.*0.5"),
    (likelihoods.Poisson(), [-1, 0, 1, 2, 3], "counts.*-1"),
    (likelihoods.Poisson(), [0.5, 0, 1, 2, 3], "counts.*0.5"),
    (likelihoods.Poisson(), ["a"] * 5, "y must be real and numeric"),
    (likelihoods.StudentT(), [0, np.nan, 1, 2, 3], "not finite"),
    (likelihoods.from_numpyro(lambda f: dist.Gamma(jnp.exp(f), 1.0)), [-1, 0, 1, 2, 3], "support"),
    (likelihoods.from_numpyro(lambda f: dist.Normal(f[:2], 1.0)), REAL, "shape of the targets"),
    (
        likelihoods.from_numpyro(lambda f: dist.Uniform(f - 1, f + 1)),
        REAL,
        "support of Uniform depends on the outputs",
    ),
    (likelihoods.from_log_prob(lambda y, f: -((y - f) ** 2)), REAL, r"\[n\]"),
    (likelihoods.from_log_prob(lambda y, f: y[:, 0] > f[:, 0]), REAL, "floating point, got bool"),
    (
        likelihoods.from_log_prob(lambda y, f: -f[:, 0], sample=lambda key, f: f[:3]),
        REAL,
        r"sample.*\(5, 1\).*\(3, 1\)",
    ),
    (
        likelihoods.from_log_prob(lambda y, f: -f[:, 0], mean=lambda f: f.sum()),
        REAL,
        r"mean.*\[n, k\].*\(\)",
    ),
    *(
        (
            likelihoods.from_log_prob(lambda y, f: -f[:, 0], surrogate=pair),
            REAL,
            f"surrogate.*{said}",
        )
        for pair, said in (
            (lambda y: y, "expected .target, scale."),
            (lambda y: (y, y, y), "expected .target, scale."),
            (lambda y: (y, y), r"\(5, 1\).*\(5,\)"),
            (lambda y: (y, 0 * y[:, 0]), "positive"),
            (lambda y: (y / 0, 1 + 0 * y[:, 0]), "finite"),
            (lambda y: (np.asarray(y), np.ones(len(y))), "surrogate.*Tracer"),
        )
    ),
    (
        likelihoods.from_numpyro(lambda f: dist.Normal(f[:, 0], np.arange(1.0, 6.0))),
        REAL,
        "any number of points.*for 6.*raised ValueError",
    ),
    (
        likelihoods.from_numpyro(lambda f: dist.Normal(jnp.zeros(5), jnp.exp(f[0, 0]))),
        REAL,
        r"any number of points.*6.*\(5,\)",
    ),
    (likelihoods.Categorical(), [0.0, 1.0, np.inf, 1.0, 0.0], "class labels, got inf"),
    (likelihoods.Categorical(), [[0], [1, 0], [1], [0], [1]], "y must.*several lengths"),
    (likelihoods.Bernoulli(), [[0], [1, 0], [1], [0], [1]], "y must.*several lengths"),
    (likelihoods.Categorical(), [b"\xff", b"a", b"a", b"b", b"a"], "y has.*UTF-8"),
]


@pytest.mark.parametrize(("likelihood", "y", "message"), WRONG)
def test_targets_that_do_not_fit_are_refused(likelihood, y, message):
    with pytest.raises((TypeError, ValueError), match=f"(?s){message}"):
        bnnsample.run(MODEL, (X, y), width=2, likelihood=likelihood)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: likelihoods.StudentT(-1), "df"),
        (lambda: likelihoods.StudentT("a"), "df"),
        (lambda: likelihoods.StudentT(3, [0.1, 0.2]), "scale"),
        (lambda: likelihoods.Laplace(0), "scale"),
        (lambda: likelihoods.Laplace(dist.Normal(0, 1)), "positive support"),
        (lambda: likelihoods.Categorical("abc"), "classes"),
        (lambda: likelihoods.Categorical([0, "a"]), "all strings or all ints"),
        (lambda: likelihoods.Categorical([0, 0]), "distinct"),
        (lambda: likelihoods.Bernoulli([0, 1, 2]), "two classes"),
        (lambda: likelihoods.from_numpyro(3), "function"),
        (lambda: likelihoods.from_log_prob(lambda y, f: f, surrogate=3), "surrogate.*function"),
        (lambda: likelihoods.from_numpyro(lambda f: f, num_outputs=0), "num_outputs"),
        (lambda: likelihoods.from_log_prob(lambda y, f: f, unknowns={"a": 3}), "unknowns"),
        (lambda: likelihoods.from_log_prob(lambda y, f: f, unknowns=[3]), "unknowns"),
        (
            lambda: likelihoods.from_numpyro(dist.Cauchy, unknowns={"scale": dist.Normal(0, 1)}),
            r"unknowns\['scale'\].*positive support",
        ),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["numpyro", "log_prob"])
def test_functions_of_the_users_take_their_own_unknowns_alone(name):
    """The prior scales of the network are not among them; draws are those of a run without them."""
    likelihood, y = CASES[name]
    unknown = models.mlp(1, "tanh", readout_weight_std=dist.HalfNormal(1.5))
    result = bnnsample.run(
        unknown,
        (X, y),
        width=WIDTH,
        likelihood=likelihood,
        num_chains=1,
        num_warmup=3,
        num_samples=4,
        x_eval=X_NEW,
        progress=False,
    )
    assert {"readout_weight_std", *likelihood.unknowns} <= set(result.idata.posterior)
    at = {name: v[0, -1] for name, v in result.record.draws.items()}
    values = {name: jnp.asarray(at[name]) for name in likelihood.unknowns}
    f = unknown.at({"readout_weight_std": at["readout_weight_std"]}).apply(
        jax.tree.map(lambda a: a[0, -1], result.record.kept.parameters), jnp.asarray(X)
    )
    prepared, y, _ = likelihood.prepared(y, N)
    expected = prepared.log_prob(jnp.asarray(y), f, values)
    np.testing.assert_allclose(at["log_likelihood"], expected, rtol=1e-6)


@pytest.mark.slow
def test_standardised_means_and_log_scales_follow_the_units_of_y():
    """Targets in other units: the same draws, means and spreads in those units."""
    shift, factor = 1000.0, 100.0
    first, second = (
        bnnsample.run(
            MODEL,
            (X, y),
            width=WIDTH,
            likelihood=likelihoods.HeteroscedasticGaussian(),
            standardize=True,
            num_chains=1,
            num_warmup=20,
            num_samples=10,
            x_eval=X_NEW,
            progress=False,
        )
        for y in (REAL, shift + factor * REAL)
    )
    mean, log_std = np.moveaxis(first.idata.posterior["f"].values, -1, 0)
    got = second.idata.posterior["f"].values
    np.testing.assert_allclose(got[..., 0], shift + factor * mean, rtol=1e-6)
    np.testing.assert_allclose(got[..., 1], log_std + np.log(factor), rtol=1e-6)
    a, b = first.predict(X_NEW), second.predict(X_NEW)
    np.testing.assert_allclose(b.mean, shift + factor * a.mean, rtol=1e-6)
    np.testing.assert_allclose(b.predictive_std, factor * a.predictive_std, rtol=1e-6)
    both = [r.score(X_NEW, y)["nll"] for r, y in ((first, a.mean), (second, b.mean))]
    np.testing.assert_allclose(both[1], both[0] + np.log(factor), rtol=1e-6)


@pytest.mark.parametrize("what", ["evidence", "will_it_help"])
def test_theory_needs_a_gaussian(what):
    call = {"evidence": bnnsample.theory.evidence, "will_it_help": bnnsample.will_it_help}[what]
    with pytest.raises(ValueError, match=r"Gaussian likelihood.*Poisson"):
        call(MODEL, (X, [0, 1, 2, 3, 4]), width=8, likelihood=likelihoods.Poisson())
