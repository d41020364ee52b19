"""The evidence and the divergence from the prior against closed forms and quadrature."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats as st
from scipy.integrate import quad
from test_results_record import make_record

import bnnsample
from bnnsample.chains._prior_draws import Weigher
from bnnsample.likelihoods import Gaussian
from bnnsample.models import from_functions, mlp
from bnnsample.theory import evidence
from bnnsample.theory._importance import importance_estimate
from bnnsample.theory._smc import TemperedSMC

RNG = np.random.default_rng(0)
N = 12
X = RNG.normal(size=(N, 2))
Y = np.sin(X[:, 0]) + 0.3 * RNG.normal(size=N)
FIXED = from_functions(lambda key, x, width: {}, lambda h, x: jnp.cos(x), 1.3, 0.5)
# Five standard errors: 6e-7 for a normal, and eight replicates' spread has heavier tails.
FIVE_SIGMA = 5.0
EIGHT_REPLICATES = st.t.isf(3e-7, 7)


def regression_evidence(scale, y=Y):
    """``log p(y)`` of Bayesian linear regression on ``FIXED``'s features, by SciPy."""
    psi = np.concatenate([1.3 / 2**0.5 * np.cos(X), np.full((N, 1), 0.5)], axis=1)
    return st.multivariate_normal(np.zeros(N), psi @ psi.T + scale**2 * np.eye(N)).logpdf(y)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class LinearGaussian:
    """``l(q) = log N(t; A q, s^2 I)`` under ``q ~ N(0, I)``: evidence and divergence are known."""

    A: jax.Array
    y: jax.Array
    s: jax.Array

    def potential(self, position):
        z = (self.y - self.A @ position["q"]) / self.s
        half_log = jnp.asarray(len(self.y) * 0.5 * np.log(2 * np.pi), z.dtype)
        return 0.5 * jnp.sum(z * z) + len(self.y) * jnp.log(self.s) + half_log

    def prior_draw(self, key):
        return {"q": jax.random.normal(key, (self.A.shape[1],), self.y.dtype)}

    def numbered_prior_draw(self, key, number):
        return self.prior_draw(jax.random.fold_in(key, number))

    def truth(self):
        """``log Z`` and the divergence of the Gaussian posterior from N(0, I)."""
        A, t, s = (np.asarray(a, float) for a in (self.A, self.y, self.s))
        m, k = A.shape
        log_z = st.multivariate_normal(np.zeros(m), A @ A.T + s**2 * np.eye(m)).logpdf(t)
        covariance = np.linalg.inv(np.eye(k) + A.T @ A / s**2)
        mean = covariance @ A.T @ t / s**2
        log_det = np.linalg.slogdet(covariance)[1]
        return log_z, 0.5 * (np.trace(covariance) + mean @ mean - k - log_det)


def linear_gaussian(scale, dtype=np.float64):
    rng = np.random.default_rng(1)
    A, t = rng.normal(size=(5, 3)), rng.normal(size=5)
    return LinearGaussian(*(jnp.asarray(a, dtype) for a in (A, t, scale)))


def close(estimate, truth, deviations):
    """All four numbers of an estimate against ``(log Z, KL)``."""
    log_z, kl = truth
    assert abs(estimate.log_evidence - log_z) < deviations * estimate.log_evidence_se
    assert abs(estimate.kl_to_prior - kl) < deviations * estimate.kl_to_prior_se


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", ["auto", "smc"])
def test_no_hidden_parameters_is_exact(dtype, method):
    data = (X.astype(dtype), Y.astype(dtype))
    options = {"num_particles": 25, "num_replicates": 2, "method": method}
    result = evidence(FIXED, data, width=1, likelihood=Gaussian(0.4), **options)
    tolerance = 1e-5 if dtype == np.float32 else 1e-10
    assert result.log_evidence == pytest.approx(regression_evidence(0.4), abs=20 * tolerance)
    assert result.kl_to_prior == pytest.approx(0, abs=tolerance)
    assert result.log_evidence_se < tolerance
    assert result.kl_to_prior_se < tolerance
    assert result.method == ("smc" if method == "smc" else "importance")
    assert (result.k_hat, result.num_not_finite) == (0, 0)
    assert result.importance_ess == pytest.approx(50)


# A quantile map, and none: the coordinate's reference density then needs its constant.
@pytest.mark.parametrize("prior", [dist.HalfNormal(1.0), dist.Gamma(3.0, 6.0)])
@pytest.mark.parametrize("method", ["importance", "smc"])
def test_unknown_noise_against_quadrature(prior, method):
    density = st.halfnorm() if isinstance(prior, dist.HalfNormal) else st.gamma(3, scale=1 / 6)
    shift = regression_evidence(0.4)

    def integrand(scale, power):
        log_p = regression_evidence(scale)
        return density.pdf(scale) * np.exp(log_p - shift) * log_p**power

    z, first = (quad(integrand, 0.02, 8, args=(power,), limit=200)[0] for power in (0, 1))
    log_z = np.log(z) + shift
    settings = {"likelihood": Gaussian(prior), "num_particles": 64, "method": method}
    result = evidence(FIXED, (X, Y), width=1, **settings)
    deviations = FIVE_SIGMA if method == "importance" else EIGHT_REPLICATES
    assert abs(result.log_evidence - log_z) < deviations * result.log_evidence_se
    assert 0 < result.log_evidence_se < 0.2
    if isinstance(prior, dist.HalfNormal):
        kl = first / z - log_z
        assert abs(result.kl_to_prior - kl) < deviations * result.kl_to_prior_se
        assert 0 < result.kl_to_prior_se < 0.2


@functools.cache
def two_weights_truth(scale):
    """``(log Z, KL)`` of ``TWO_WEIGHTS`` by a grid over its two hidden weights."""
    grid = np.linspace(-7, 7, 281)
    w = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    psi = np.tanh(X @ w.T).T
    # K = psi psi^T + scale^2 I has one eigenvalue that is not scale^2.
    square = np.sum(psi**2, axis=1)
    quadratic = (Y @ Y - (psi @ Y) ** 2 / (scale**2 + square)) / scale**2
    log_det = np.log(scale**2 + square) + (N - 1) * np.log(scale**2)
    log_p = -0.5 * (quadratic + log_det + N * np.log(2 * np.pi))
    log_prior = -0.5 * np.sum(w**2, axis=1) - np.log(2 * np.pi) + 2 * np.log(grid[1] - grid[0])
    log_z = np.logaddexp.reduce(log_prior + log_p)
    return log_z, np.sum(np.exp(log_prior + log_p - log_z) * log_p) - log_z


TWO_WEIGHTS = from_functions(
    lambda key, x, width: {"w": jax.random.normal(key, (2, 1), x.dtype)},
    lambda h, x: jnp.tanh(x @ h["w"]),
    1.0,
    0.0,
)


@pytest.mark.parametrize(
    ("scale", "method", "dtype"),
    [
        (0.9, "importance", np.float64),
        (0.9, "importance", np.float32),
        (0.9, "smc", np.float64),
        (0.25, "auto", np.float32),
    ],
)
def test_two_hidden_weights_against_quadrature(scale, method, dtype):
    data = (X.astype(dtype), Y.astype(dtype))
    result = evidence(TWO_WEIGHTS, data, width=1, likelihood=Gaussian(scale), method=method)
    if scale == 0.25:
        assert result.method == "smc"
        assert len(result.temperatures) > 1
    deviations = FIVE_SIGMA if result.method == "importance" else EIGHT_REPLICATES
    close(result, two_weights_truth(scale), deviations)
    assert 0 < result.kl_to_prior_se < 0.1
    assert 0 < result.log_evidence_se < 0.1


def test_the_path_of_smc_is_reported():
    result = evidence(TWO_WEIGHTS, (X, Y), width=1, likelihood=Gaussian(0.25), num_particles=64)
    stages = len(result.temperatures)
    assert np.all(np.diff(result.temperatures) > 0)
    assert result.temperatures[-1] == 1
    assert result.effective_sample_sizes.shape == (8, stages)
    assert result.acceptance_rates.shape == (8, stages)
    # The pilot left half of its particles effective at every stage but the last.
    assert 20 < np.mean(result.effective_sample_sizes[:, :-1]) < 44
    assert np.all((result.acceptance_rates > 0.3) & (result.acceptance_rates <= 1))
    # One gradient to start each particle, and at least one per move, of nine systems.
    assert result.num_gradients >= 9 * 64 * stages * 4
    assert result.num_draws == 512


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_smc_on_a_linear_gaussian_model(dtype):
    """Standard errors are the spread of replicates: their t-statistics have Student's law."""
    target = linear_gaussian(0.5, dtype)
    with bnnsample._precision.precision(dtype):
        smc = TemperedSMC(target, 64, 3, "cpu")
        key = jax.random.key(0)
        stages = smc.pilot(key).stages
        assert len(stages) >= 2
        repeats, replicates = 30, 4
        runs = [
            smc.replicate(jax.random.fold_in(key, i + 1), stages)
            for i in range(repeats * replicates)
        ]
    log_z, kl = target.truth()
    z = np.exp([run.log_evidence - log_z for run in runs]).reshape(repeats, replicates)
    divergence = np.asarray([run.kl_to_prior for run in runs]).reshape(repeats, replicates)
    for values, truth in ((z, 1.0), (divergence, kl)):
        everything = values.ravel()
        error = np.std(everything, ddof=1) / everything.size**0.5
        assert abs(everything.mean() - truth) < 4 * error
        assert error < 0.1 * truth
        t = (values.mean(1) - truth) / (values.std(1, ddof=1) / replicates**0.5)
        assert st.kstest(t, st.t(replicates - 1).cdf).pvalue > 1e-3


@pytest.mark.parametrize("sd", [1e-3, 0.3, 0.8])
def test_importance_standard_errors_are_calibrated(sd):
    """Log weights from N(0, sd^2): log Z = KL = sd^2 / 2."""
    repeats, n = 400, 2000
    rng = np.random.default_rng(2)
    estimates = [importance_estimate(-90 + sd * rng.normal(size=n)) for _ in range(repeats)]
    for name, truth in (("log_evidence", -90 + sd**2 / 2), ("kl_to_prior", sd**2 / 2)):
        values, errors = (
            np.asarray([getattr(e, field) for e in estimates]) for field in (name, f"{name}_se")
        )
        z = (values - truth) / errors
        # A chi-square variable with one degree of freedom per repeat, and a mean of zero.
        low, high = st.chi2(repeats).ppf([5e-4, 1 - 5e-4]) / repeats
        assert low < np.mean(z**2) < high
        assert abs(np.mean(z)) < 4 / repeats**0.5


def test_a_small_divergence_does_not_cancel():
    """At a standard deviation of 1e-7 around -1e3 the divergence of 5e-15 has all its digits."""
    log_weights = 1e-7 * np.random.default_rng(3).normal(size=4000)
    result = importance_estimate(log_weights)
    assert result.kl_to_prior == pytest.approx(np.var(log_weights) / 2, rel=1e-4)
    assert result.kl_to_prior_se == pytest.approx(np.std(log_weights**2) / 2 / 4000**0.5, rel=1e-2)


def test_weights_of_zero_count_as_draws():
    log_weights = np.where(np.arange(100) < 25, 0.0, -np.inf)
    result = importance_estimate(log_weights)
    assert result.log_evidence == pytest.approx(np.log(0.25))
    assert result.kl_to_prior == pytest.approx(np.log(4))
    # KL = -log Z, and Z is a binomial share p of squared relative error (1 - p) / (n p).
    assert result.log_evidence_se == pytest.approx((0.75 / 25) ** 0.5, rel=0.01)
    assert result.kl_to_prior_se == pytest.approx((0.75 / 25) ** 0.5, rel=0.01)


def test_log_weights_are_those_of_the_prior_draws_in_any_chunking():
    target = linear_gaussian(0.5)
    key = jax.random.key(1)
    weigher = Weigher("cpu")
    long = weigher.log_weights(target, key, 150)
    np.testing.assert_array_equal(weigher.log_weights(target, key, 70), long[:70])
    q = target.numbered_prior_draw(key, np.uint32(149))["q"]
    expected = st.norm(np.asarray(target.A @ q), 0.5).logpdf(np.asarray(target.y)).sum()
    assert long[149] == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow
def test_a_chain_agrees_on_the_posterior_mean_of_the_log_likelihood():
    """``E_posterior[l] = log Z + KL``, here from infinite HMC, which knows no evidence."""
    settings = {"width": 64, "likelihood": Gaussian(0.7)}
    found = evidence(mlp(1), (X, Y), num_particles=512, **settings)
    result = bnnsample.run(
        mlp(1), (X, Y), num_samples=300, num_warmup=200, keep="all", progress=False, **settings
    )
    posterior, kept = result.record.posterior, result.record.kept

    @jax.jit
    def log_likelihoods(hidden):
        return jax.lax.map(lambda h: -posterior.potential({"hidden": h, "unknowns": {}}), hidden)

    values = np.stack(
        [
            np.asarray(
                log_likelihoods(jax.tree.map(lambda a, c=c: a[c], kept.parameters["hidden"]))
            )
            for c in range(4)
        ]
    )
    size = bnnsample.results.effective_sample_size(values)
    # Their errors may be perfectly correlated, which adds them up.
    error = found.log_evidence_se + found.kl_to_prior_se
    error = np.hypot(error, values.std() / size**0.5)
    assert error < 0.1
    assert abs(values.mean() - found.log_evidence - found.kl_to_prior) < 4 * error


def test_the_divergence_falls_with_width():
    settings = {"likelihood": Gaussian(1.0), "num_particles": 128}
    narrow, wide = (evidence(mlp(1), (X, Y), width=w, **settings) for w in (32, 512))
    ratio = narrow.kl_to_prior / wide.kl_to_prior
    error = ratio * np.hypot(
        narrow.kl_to_prior_se / narrow.kl_to_prior, wide.kl_to_prior_se / wide.kl_to_prior
    )
    assert abs(ratio - 16) < 4 * error + 16 * 0.25
    assert error < 4


@pytest.mark.parametrize("coordinates", ["standard", "collapsed"])
def test_of_a_result(coordinates):
    """The same numbers as for the model and the data themselves, whatever the coordinates."""
    settings = {"num_particles": 25, "num_replicates": 2, "method": "importance", "seed": 5}
    for standardize in (False, True):
        record = make_record(
            n=6, likelihood=Gaussian(8.0), coordinates=coordinates, standardize=standardize
        )
        found = bnnsample.Result(record).kl_to_prior(**settings)
        data = (record.standardizer.inputs(record.x), record.standardizer.targets(record.y))
        expected = evidence(mlp(1), data, width=5, likelihood=Gaussian(8.0), **settings)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_of_a_result_without_its_network():
    record = dataclasses.replace(make_record(), posterior=None)
    with pytest.raises(ValueError, match=r"kl_to_prior\(\) needs the network"):
        bnnsample.Result(record).kl_to_prior()


@pytest.mark.parametrize(
    ("error", "match", "options"),
    [
        (ValueError, "num_particles must be at least 25, got 24", {"num_particles": 24}),
        (TypeError, "num_particles must be an int, got 30.0", {"num_particles": 30.0}),
        (ValueError, "num_replicates must be at least 2, got 1", {"num_replicates": 1}),
        (ValueError, "unknown method 'ais'; expected one of auto", {"method": "ais"}),
        (TypeError, "seed must be an int, got 0.5", {"seed": 0.5}),
        (TypeError, "likelihood must be a Likelihood, got float", {"likelihood": 0.1}),
        (TypeError, "model must be a bnnsample.models.Model", {"model": "mlp"}),
        (TypeError, "data must be a pair", {"data": X}),
        (ValueError, "y has 1 values that are not finite", {"data": (X, [np.nan, *Y[1:]])}),
        (ValueError, "width", {"width": 0}),
        (ValueError, "num_particles=1000000000 needs", {"num_particles": 10**9}),
    ],
)
def test_bad_input(error, match, options, monkeypatch):
    if options.get("num_particles") == 10**9:
        monkeypatch.setattr(Weigher, "log_weights", lambda *a, **k: RNG.normal(size=50) * 9)
    arguments = {"model": mlp(1), "data": (X, Y), "width": 8, "likelihood": Gaussian(0.5)}
    with pytest.raises(error, match=match):
        evidence(**{**arguments, **options})


def test_importance_alone_is_refused_far_from_the_prior():
    with pytest.raises(
        bnnsample.ImportanceSamplingError, match=r"k-hat is .* method='smc'"
    ) as info:
        evidence(mlp(1), (X, 10 * Y), width=8, likelihood=Gaussian(0.05), method="importance")
    assert info.value.k_hat > 0.7
    assert info.value.effective_sample_size < 200


def test_a_log_likelihood_that_is_not_finite():
    broken = from_functions(
        lambda key, x, width: {"w": jax.random.normal(key, (2, 1), x.dtype)},
        lambda h, x: jnp.log(x @ h["w"] - 1) + jnp.sum(h["w"]),
    )
    with pytest.raises(FloatingPointError, match="finite at 0 of 64 prior draws"):
        evidence(broken, (X, Y), width=1, likelihood=Gaussian(0.5), num_particles=64)
