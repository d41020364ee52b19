"""What is expected of a run against runs, and the parts it rests on against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats
from sklearn.datasets import load_diabetes
from test_results_record import fixed_features

import bnnsample
from bnnsample.coordinates import Collapsed
from bnnsample.likelihoods import Gaussian, Laplace
from bnnsample.models import mlp
from bnnsample.theory._placement import placed
from bnnsample.theory._trials import Trials, acceptance_of, spread_for


def diabetes(n):
    x, y = load_diabetes(return_X_y=True)
    x, y = (((a - a.mean(0)) / a.std(0)).astype(np.float32) for a in (x, y))
    chosen = np.random.default_rng(0).permutation(len(x))[:n]
    return x[chosen], y[chosen]


def run(data, width, scale, depth=1, **options):
    return bnnsample.run(
        mlp(depth),
        data,
        width=width,
        likelihood=Gaussian(scale),
        num_chains=2,
        num_samples=200,
        progress=False,
        keep="none",
        **options,
    )


def acceptance(result):
    return float(result.record.sample_stats["acceptance_rate"].mean())


def test_acceptance_is_the_mean_metropolis_rate():
    for spread in (0.1, 0.5, 2.0):
        errors = scipy.stats.norm(spread**2 / 2, spread)
        rate = errors.expect(lambda e: np.minimum(1, np.exp(-e)), lb=-12 * spread, ub=40)
        assert acceptance_of(spread) == pytest.approx(rate, rel=1e-6)
        assert spread_for(float(acceptance_of(spread))) == pytest.approx(spread)


def check_against_runs(settings, data):
    """From data-dominated to prior: step sizes within a factor of 2, and in order."""
    expected, adapted = [], []
    for width, scale in settings:
        expected.append(bnnsample.will_it_help(mlp(1), data, width, Gaussian(scale)))
        adapted.append(run(data, width, scale, num_warmup=150))
    for e, result in zip(expected, adapted, strict=True):
        assert 0.5 < e.step_size / result.adapted["step_size"] < 2
        # Dual averaging meets its target to a tenth or so in 150 steps, as must a forecast.
        assert abs(e.acceptance_rate - acceptance(result)) < 0.2
    assert np.all(np.diff([e.step_size for e in expected]) > 0)
    assert np.all(np.diff([e.ess_per_gradient for e in expected]) > 0)
    assert np.all(np.diff([r.adapted["step_size"] for r in adapted]) > 0)
    return [e.regime for e in expected]


@pytest.mark.slow
def test_both_extremes_are_foretold():
    regimes = check_against_runs([(32, 0.1), (1024, 1.0)], diabetes(24))
    assert regimes == ["data-dominated", "prior"]


@pytest.mark.slow
def test_a_path_from_data_to_prior_is_foretold():
    # All clear of the border at which one gentle kick overtakes several full ones.
    regimes = check_against_runs([(32, 0.1), (128, 0.1), (512, 0.2), (4096, 1.0)], diabetes(48))
    assert regimes[0] == "data-dominated"
    assert regimes[-1] == "prior"


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.1, 0.3, 1.0])
@pytest.mark.parametrize(
    ("width", "depth"), [(64, 1), (64, 2), (512, 1), (512, 2), (2048, 1)], ids=str
)
def test_step_sizes_over_noise_depth_and_width(depth, scale, width):
    """At the border where one gentle kick overtakes several full ones, either may be chosen."""
    data = diabetes(64)
    expected = bnnsample.will_it_help(mlp(depth), data, width, Gaussian(scale))
    result = run(data, width, scale, depth, num_warmup=300)
    if result.adapted["kick_scale"] == expected.kick_scale:
        assert 0.5 < expected.step_size / result.adapted["step_size"] < 2
    found = acceptance(result) ** 2 / result.adapted["num_integration_steps"]
    assert 0.5 < expected.ess_per_gradient / found < 2


@pytest.mark.slow
def test_prior_proposals_are_accepted_as_expected():
    width, scale = 64, 0.7
    data = diabetes(32)
    expected = bnnsample.will_it_help(mlp(1), data, width, Gaussian(scale), num_draws=128)
    options = {"kernel": "pcn", "kernel_options": {"step_size": np.pi / 2}}
    result = run(data, width, scale, num_warmup=20, **options)
    # The standard deviation of 128 draws is known to 6%; the chain's mean rate to 0.02.
    assert abs(expected.prior_acceptance - acceptance(result)) < 0.1
    assert expected.regime == "prior"


def test_a_trial_is_one_trajectory():
    """A constant gradient is integrated in closed form (Beskos et al. 2011)."""

    class Linear(Collapsed):
        def potential(self, position):
            return jnp.sum(slope * position["hidden"]["w"])

    jax.tree_util.register_dataclass(
        Linear,
        ["x", "y", "location", "spread"],
        ["model", "likelihood", "width", "tempering", "network_dtype"],
    )
    slope = jnp.asarray([0.7, -0.4, 1.1])
    posterior = Linear(mlp(1), Gaussian(0.5), 3, jnp.ones((2, 3)), jnp.ones((2, 1)))
    q = jax.random.normal(jax.random.key(0), (4000, 3))
    trials = Trials(posterior, {"hidden": {"w": q}}, jax.random.key(1), "cpu")
    # Half a kick, a quarter turn, half a kick: dH = U(q') - U(q) - kicks, by hand.
    half = np.pi / 4
    p = np.random.default_rng(2).normal(size=q.shape)
    first = p - half * np.asarray(slope)
    q_new, turned = first, -np.asarray(q)
    last = turned - half * np.asarray(slope)
    energies = [
        0.5 * np.sum(a**2, 1) + 0.5 * np.sum(b**2, 1) + a @ np.asarray(slope)
        for a, b in ((np.asarray(q), p), (q_new, last))
    ]
    expected = np.std(energies[1] - energies[0], ddof=1)
    assert trials.spread(1) == pytest.approx(expected, rel=4 * 2**0.5 / 4000**0.5)
    curve = trials.until(0.9)
    assert curve(1) == pytest.approx(trials.spread(1))
    assert curve(64) < curve(8) < curve(2)


def test_an_unknown_noise_scale_is_placed_by_the_kernel():
    """At the mode over a grid of ``log prior + log marginal likelihood`` in u."""
    x, y = diabetes(24)
    likelihood = Gaussian(dist.LogNormal(-0.5, 0.8))
    posterior = Collapsed(
        mlp(1), likelihood, 8, jnp.asarray(x, float), jnp.asarray(y, float)[:, None]
    )
    K = np.asarray(x @ x.T / x.shape[1], float)
    found = placed(posterior, jnp.asarray(K))
    u = np.linspace(-4, 4, 4001)
    log_density = [
        scipy.stats.multivariate_normal(cov=K + np.exp(2 * (-0.5 + 0.8 * a)) * np.eye(24)).logpdf(y)
        - a**2 / 2
        for a in u
    ]
    weights = np.exp(log_density - np.max(log_density))
    weights /= weights.sum()
    assert float(found.location["noise_scale"]) == pytest.approx(u[np.argmax(weights)], abs=2e-3)
    deviation = np.sqrt(weights @ u**2 - (weights @ u) ** 2)
    # Laplace's, of a density that is nearly Gaussian.
    assert float(found.spread["noise_scale"]) == pytest.approx(deviation, rel=0.1)


def test_the_effective_dimension_is_that_of_the_mean_kernel():
    x, y = diabetes(20)
    data = (x.astype(float), y.astype(float))
    found = bnnsample.will_it_help(mlp(1), data, 1024, Gaussian(0.5))
    model = mlp(1)
    h = model.init(jax.random.key(5), jnp.asarray(data[0]), 2**16)["hidden"]
    psi = np.asarray(model.features(h, jnp.asarray(data[0])))
    K = psi @ psi.T
    expected = np.trace(K @ np.linalg.inv(K + 0.25 * np.eye(20)))
    assert found.effective_dimension == pytest.approx(expected, rel=0.02)
    assert found.num_data == 20


def test_the_report_is_plain_words():
    found = bnnsample.will_it_help(mlp(1), diabetes(16), 16, standardize=True, num_draws=8)
    text = found.report()
    assert max(map(len, text.splitlines())) <= 88
    for part in ("Width 16", f"noise scale {found.noise_scale:.3g}", found.regime, "step size"):
        assert part in text
    assert 0.1 < found.noise_scale < 1.5


def test_arguments_that_do_not_fit_are_refused():
    data = diabetes(8)
    with pytest.raises(ValueError, match="num_draws must be at least 8, got 3"):
        bnnsample.will_it_help(mlp(1), data, 8, num_draws=3)
    with pytest.raises(ValueError, match="no hidden parameters"):
        bnnsample.will_it_help(fixed_features(), data, 8)
    with pytest.raises(TypeError, match="likelihood must be a Likelihood, got float"):
        bnnsample.will_it_help(mlp(1), data, 8, 0.1)
    with pytest.raises(ValueError, match=r"needs a Gaussian likelihood.*Laplace"):
        bnnsample.will_it_help(mlp(1), data, 8, Laplace(1.0))
    with pytest.raises(FloatingPointError, match="not finite"):
        bnnsample.will_it_help(mlp(1), (data[0], 1e30 * data[1]), 8, Gaussian(1e-3))
