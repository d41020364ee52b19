"""Likelihoods against SciPy, and what they refuse."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.special
import scipy.stats as st

from bnnsample.likelihoods import (
    Bernoulli,
    Categorical,
    Gaussian,
    HeteroscedasticGaussian,
    Laplace,
    Poisson,
    StudentT,
    from_log_prob,
    from_numpyro,
)

N, D = 7, 3
LEARNED = dist.LogNormal(0.0, 1.0)
PER_POINT = np.linspace(0.2, 1.5, N)
CASES = {
    "scalar": (Gaussian(0.3), {}, np.full(N, 0.3)),
    "per_point": (Gaussian(PER_POINT), {}, PER_POINT),
    "list": (Gaussian(list(PER_POINT)), {}, PER_POINT),
    "unknown": (Gaussian(), {"noise_scale": 0.45}, np.full(N, 0.45)),
    "own_prior": (Gaussian(dist.Exponential(2.0)), {"noise_scale": 0.6}, np.full(N, 0.6)),
}


def cast(values, dtype):
    return {name: jnp.asarray(value, dtype) for name, value in values.items()}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("case", CASES)
def test_log_prob_equals_scipy(case, dtype):
    likelihood, values, sigma = CASES[case]
    rng = np.random.default_rng(0)
    y, f = rng.normal(size=(N, D)), rng.normal(size=(N, D))
    got = likelihood.log_prob(jnp.asarray(y, dtype), jnp.asarray(f, dtype), cast(values, dtype))
    expected = st.norm(f, sigma[:, None]).logpdf(y).sum(axis=1)
    assert got.shape == (N,)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, expected, rtol=1e-12 if dtype == jnp.float64 else 1e-4)


@pytest.mark.parametrize("case", CASES)
def test_samples_are_normal_with_the_scale_of_their_point(case):
    likelihood, values, sigma = CASES[case]
    f = np.random.default_rng(1).normal(size=(N, D))
    keys = jax.random.split(jax.random.key(3), 4000)
    values = cast(values, jnp.float64)
    draws = np.asarray(jax.vmap(lambda k: likelihood.sample(k, jnp.asarray(f), values, True))(keys))
    z = (draws - f) / sigma[:, None]
    level = 1e-3 / (N * D * len(CASES))
    worst = min(st.kstest(z[:, i, j], "norm").pvalue for i in range(N) for j in range(D))
    assert worst > level
    # Independent over points and outputs.
    correlation = np.corrcoef(z.reshape(len(keys), -1).T) - np.eye(N * D)
    assert np.abs(correlation).max() < st.norm.isf(1e-4 / (N * D) ** 2) / len(keys) ** 0.5


@pytest.mark.parametrize("case", CASES)
def test_noise_variance_is_the_square_of_the_scale(case):
    likelihood, values, sigma = CASES[case]
    values = cast(values, jnp.float64)
    variance = likelihood.variance(jnp.zeros((N, D)), values, True)
    expected = np.broadcast_to(sigma[:, None] ** 2, (N, D))
    np.testing.assert_allclose(np.broadcast_to(variance, (N, D)), expected, rtol=1e-14)
    scale = likelihood.gaussian_scale(values)
    np.testing.assert_allclose(np.broadcast_to(scale, N), sigma, rtol=1e-14)


def test_noise_at_new_inputs_is_unknown_when_given_per_point():
    likelihood = Gaussian(PER_POINT)
    f = jnp.zeros((N + 1, D))
    assert likelihood.variance(f, {}, False) is None
    assert likelihood.sample(jax.random.key(0), f, {}, False) is None
    assert Gaussian(0.3).sample(jax.random.key(0), f, {}, False).shape == (N + 1, D)


RNG = np.random.default_rng(8)
REAL, COUNTS = RNG.normal(size=(N, D)), RNG.poisson(2.0, size=(N, D))
LABELS, SIGNS = RNG.integers(0, D, N), RNG.integers(0, 2, N)


def softmax(f):
    return scipy.special.softmax(f, axis=1)


# The likelihood, targets, outputs d, values of unknowns, and SciPy's distribution of outputs f.
OTHERS = {
    "categorical": (Categorical(range(D)), LABELS, D, {}, lambda f: st.multinomial(1, softmax(f))),
    "bernoulli": (Bernoulli(), SIGNS, 1, {}, lambda f: st.bernoulli(scipy.special.expit(f))),
    "poisson": (Poisson(), COUNTS, D, {}, lambda f: st.poisson(np.exp(f))),
    "student_t": (StudentT(5, 0.4), REAL, D, {}, lambda f: st.t(5, f, 0.4)),
    "unknown_t": (StudentT(5), REAL, D, {"noise_scale": 0.7}, lambda f: st.t(5, f, 0.7)),
    "laplace": (Laplace(0.4), REAL, D, {}, lambda f: st.laplace(f, 0.4)),
    "heteroscedastic": (
        HeteroscedasticGaussian(), REAL, 2 * D, {}, lambda f: st.norm(f[:, :D], np.exp(f[:, D:])),
    ),
    "numpyro": (
        from_numpyro(dist.Gumbel, unknowns={"scale": dist.HalfNormal()}),
        REAL, D, {"scale": 0.6}, lambda f: st.gumbel_r(f, 0.6),
    ),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("name", OTHERS)
def test_density_and_moments_equal_scipy(name, dtype):
    likelihood, targets, d, values, exact = OTHERS[name]
    likelihood, y, _ = likelihood.prepared(targets, N)
    assert likelihood.num_outputs(y) == d
    f = np.random.default_rng(9).normal(size=(N, d))
    values, f_jax = cast(values, dtype), jnp.asarray(f, dtype)
    tolerance = {
        "rtol": 1e-10 if dtype == jnp.float64 else 2e-5,
        "atol": 1e-6 * (dtype == jnp.float32),
    }
    reference = exact(f)
    got = likelihood.log_prob(jnp.asarray(y, dtype), f_jax, values)
    if name == "categorical":
        expected = reference.logpmf(np.eye(D)[targets])
        mean, variance = softmax(f), softmax(f) * (1 - softmax(f))
    else:
        density = reference.logpdf if hasattr(reference, "logpdf") else reference.logpmf
        expected = density(y).sum(axis=1)
        mean, variance = reference.mean(), reference.var()
    assert got.shape == (N,)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, expected, **tolerance)
    np.testing.assert_allclose(likelihood.mean(f_jax, values), mean, **tolerance)
    np.testing.assert_allclose(likelihood.variance(f_jax, values, True), variance, **tolerance)


@pytest.mark.parametrize("name", OTHERS)
def test_draws_have_the_moments(name):
    likelihood, targets, d, values, _ = OTHERS[name]
    likelihood, y, _ = likelihood.prepared(targets, N)
    f = jnp.asarray(np.random.default_rng(9).normal(size=(N, d)))
    values = cast(values, jnp.float64)
    keys = jax.random.split(jax.random.key(2), 4000)
    draws = np.asarray(jax.vmap(lambda k: likelihood.sample(k, f, values, False))(keys))
    assert draws.shape[1:] == y.shape
    if name == "categorical":
        draws = np.eye(D)[draws[..., 0].astype(int)]
    spread = np.sqrt(np.asarray(likelihood.variance(f, values, False)) / len(keys))
    z = (draws.mean(axis=0) - np.asarray(likelihood.mean(f, values))) / spread
    assert np.abs(z).max() < 4.5
    single = likelihood.sample(keys[0], f.astype(jnp.float32), cast(values, jnp.float32), False)
    assert single.dtype == jnp.float32


def test_degrees_of_freedom_may_be_numpys():
    assert StudentT(np.float32(3)).df == StudentT(np.int64(3)).df == 3.0


def test_extreme_outputs_stay_finite():
    """Logits and log rates where probabilities are 0 or 1 in float32."""
    f = jnp.asarray([[200.0], [-200.0]], jnp.float32)
    for given, targets in ((Bernoulli(), [0, 1]), (Poisson(), [0, 0])):
        likelihood, y, _ = given.prepared(targets, 2)
        value, slope = jax.value_and_grad(
            lambda f, of=likelihood, y=y: of.log_prob(jnp.asarray(y, jnp.float32), f, {})[1]
        )(f)
        assert np.isfinite(value)
        assert np.isfinite(slope[1]).all()


def test_moments_that_do_not_exist_are_none():
    f = jnp.zeros((2, 1))
    assert StudentT(1.0, 1.0).mean(f, {}) is None
    assert StudentT(2.0, 1.0).variance(f, {}, True) is None
    own = from_log_prob(lambda y, f: -jnp.sum((y - f) ** 4, axis=1))
    assert own.mean(f, {}) is None
    assert own.sample(jax.random.key(0), f, {}, True) is None
    cauchy = from_numpyro(dist.Cauchy, unknowns={"scale": dist.HalfNormal()})
    at = jax.jit(
        lambda f, s: (cauchy.mean(f, {"scale": s}), cauchy.variance(f, {"scale": s}, True))
    )
    assert at(f, 1.0) == (None, None)
    # Infinite, or so for values that an unknown may have.
    for likelihood, values in (
        (from_numpyro(lambda f: dist.StudentT(1.0, f)), {}),
        (from_numpyro(lambda f, df: dist.StudentT(df, f), unknowns={"df": LEARNED}), {"df": 5.0}),
    ):
        assert likelihood.mean(f, values) is None
        assert likelihood.variance(f, values, True) is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("vector", [True, False])
def test_classes_of_numpyro_are_those_of_categorical(vector, dtype):
    codes = np.array([0, 2, 1, 1])
    f = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), dtype)
    logits = (lambda f: f) if vector else (lambda f: f[:, None])
    own = from_numpyro(lambda f: dist.Categorical(logits=logits(f)), num_outputs=3)
    own, y, _ = own.prepared(codes if vector else codes[:, None], 4)
    theirs, _, _ = Categorical().prepared(codes, 4)
    y, tolerance = jnp.asarray(y, dtype), 1e-12 if dtype == np.float64 else 1e-5
    for given in (own, theirs):
        slope = jax.grad(lambda f, given=given: given.log_prob(y, f, {}).sum())(f)
        found = (
            given.log_prob(y, f, {}), slope, given.mean(f, {}),
            jnp.broadcast_to(given.variance(f, {}, True), f.shape),
        )  # fmt: skip
        assert {a.dtype for a in found} == {f.dtype}
        if given is own:
            expected = found
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance), expected, found)
    assert own.sample(jax.random.key(0), f, {}, True).shape == (4, 1)
    with pytest.raises(ValueError, match="outside the support"):
        own.prepared(codes + 1 if vector else codes[:, None] + 1, 4)


@pytest.mark.parametrize(
    ("y", "classes", "codes"),
    [
        (["no", "yes", "no"], ["no", "yes"], [0, 1, 0]),
        (np.array([3, 7, 3]), ["3", "7"], [0, 1, 0]),
        (np.array([1.0, 0.0, 1.0]), ["0", "1"], [1, 0, 1]),
        ([True, False, True], ["0", "1"], [1, 0, 1]),
        (np.array([[2], [1], [2]]), ["1", "2"], [1, 0, 1]),
    ],
)
def test_labels_are_encoded_in_order(y, classes, codes):
    likelihood, encoded, _ = Categorical().prepared(y, 3)
    assert likelihood.output_names == classes
    np.testing.assert_array_equal(encoded[:, 0], codes)
    likelihood, encoded, _ = Bernoulli().prepared(y, 3)
    np.testing.assert_array_equal(encoded[:, 0], codes)


def test_sample_keeps_float32():
    f = jnp.zeros((N, D), jnp.float32)
    assert Gaussian(PER_POINT).sample(jax.random.key(0), f, {}, True).dtype == jnp.float32
    assert Gaussian(0.3).sample(jax.random.key(0), f, {}, False).dtype == jnp.float32


def test_unknowns_are_named():
    assert Gaussian(0.3).unknowns == {}
    assert list(Gaussian().unknowns) == ["noise_scale"]
    prior = Gaussian().unknowns["noise_scale"].prior
    assert isinstance(prior, dist.HalfNormal)
    assert prior.scale == 1.0


@pytest.mark.parametrize("scale", [0.0, -0.1, np.inf, np.nan, [0.1, 0.0], [0.1, np.inf], []])
def test_scale_must_be_positive_and_finite(scale):
    with pytest.raises(ValueError, match="positive and finite"):
        Gaussian(scale)


def test_scale_per_output_is_refused():
    with pytest.raises(ValueError, match="per output"):
        Gaussian(np.full((N, D), 0.1))


def test_scale_must_be_a_number():
    with pytest.raises(TypeError, match="got 'small'"):
        Gaussian("small")
    with pytest.raises(TypeError, match="got dict"):
        Gaussian({})


@pytest.mark.parametrize(
    "prior", [dist.Normal(0.0, 1.0), dist.Uniform(-1.0, 1.0), dist.StudentT(3.0), dist.Cauchy()]
)
def test_prior_must_be_positive(prior):
    with pytest.raises(ValueError, match="positive support"):
        Gaussian(prior)


@pytest.mark.parametrize(
    "prior",
    [
        dist.HalfNormal(1.0),
        dist.Uniform(0.1, 2.0),
        dist.Gamma(2.0, 1.0),
        dist.InverseGamma(2.0, 1.0),
        dist.HalfCauchy(1.0),
        dist.TruncatedNormal(0.5, 0.3, low=0.0),
        dist.Beta(2.0, 2.0),
        dist.Pareto(0.1, 2.0),
        dist.TransformedDistribution(dist.Normal(0.0, 1.0), dist.transforms.ExpTransform()),
    ],
)
def test_positive_priors_are_taken_and_described(prior):
    likelihood = Gaussian(prior)
    description = json.loads(json.dumps(likelihood.describe()))
    assert description["likelihood"] == "Gaussian"
    assert description["scale"]["distribution"] == type(prior).__name__


def test_prior_must_be_scalar_and_continuous():
    with pytest.raises(ValueError, match="scalar distribution"):
        Gaussian(dist.HalfNormal(jnp.ones(3)))
    with pytest.raises(ValueError, match="scalar distribution"):
        Gaussian(dist.LogNormal(0.0, 1.0).expand([2]).to_event(1))
    with pytest.raises(ValueError, match="continuous"):
        Gaussian(dist.Poisson(3.0))


def test_check_wants_one_scale_per_data_point():
    Gaussian(PER_POINT).check(np.zeros((N, 1)))
    Gaussian(0.1).check(np.zeros((N, 1)))
    Gaussian().check(np.zeros((N, 1)))
    with pytest.raises(ValueError, match="7 entries, but y has 8"):
        Gaussian(PER_POINT).check(np.zeros((N + 1, 1)))


def test_describe_gives_plain_values():
    assert Gaussian(0.25).describe() == {"likelihood": "Gaussian", "scale": 0.25}
    assert Gaussian([0.25, 0.5]).describe()["scale"] == [0.25, 0.5]
    prior = Gaussian(dist.HalfNormal(0.5)).describe()["scale"]
    assert prior == {"distribution": "HalfNormal", "scale": 0.5}
