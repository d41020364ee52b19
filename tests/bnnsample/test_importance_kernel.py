"""``kernel="importance"``: independent draws chosen from weighted prior draws."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats as st

import bnnsample
from bnnsample import ImportanceSamplingError
from bnnsample._weights import pareto_smoothed, systematic
from bnnsample.chains._importance import _choice, _num_proposals
from bnnsample.likelihoods import Gaussian
from bnnsample.models import from_functions, mlp
from bnnsample.results import effective_sample_size

RNG = np.random.default_rng(0)
N = 12
X = RNG.normal(size=(N, 2))
Y = np.sin(X[:, 0]) + 0.3 * RNG.normal(size=N)
X_EVAL = 1.5 * RNG.normal(size=(8, 2))


def run(data=(X, Y), model=None, **settings):
    settings = {"width": 64, "likelihood": Gaussian(0.7), "num_samples": 400, **settings}
    settings = {"kernel": "importance", "progress": False, "x_eval": X_EVAL, **settings}
    return bnnsample.run(mlp(1) if model is None else model, data, **settings)


def moments(draws):
    """Mean and variance of every quantity, and their Monte-Carlo standard errors."""
    q = np.asarray(draws, float).reshape(*draws.shape[:2], -1)
    mean, size = q.mean((0, 1)), effective_sample_size(q)
    squares = (q - mean) ** 2
    variance = squares.mean((0, 1))
    return (mean, (variance / size) ** 0.5), (variance, squares.std((0, 1)) / size**0.5)


# The unknown noise has a density and not a quantile map; its posterior is far from its prior.
CASES = {
    "known": (Gaussian(0.4), np.float32),
    "unknown": (Gaussian(dist.Weibull(0.8, 2.0)), np.float64),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", ["known", pytest.param("unknown", marks=pytest.mark.slow)])
def test_agrees_with_a_long_run_of_infinite_hmc(case):
    likelihood, dtype = CASES[case]
    data = (X.astype(dtype), Y.astype(dtype))
    settings = {"data": data, "likelihood": likelihood, "num_samples": 1000, "keep": "none"}
    settings["width"] = 8
    draws = [
        run(kernel=kernel, **settings).record.draws for kernel in ("importance", "infinite_hmc")
    ]
    names = ["f", "f_mean", "hidden", "log_likelihood", *likelihood.unknowns]
    pairs = [zip(*(moments(d[name]) for d in draws), strict=True) for name in names]
    z = np.concatenate(
        [
            (ours - theirs) / np.hypot(error, their_error)
            for pair in pairs
            for (ours, error), (theirs, their_error) in pair
        ]
    )
    assert np.abs(z).max() < st.norm.isf(1e-3 / (2 * z.size))
    assert draws[0]["f"].dtype == dtype


def test_log_normal_weights_give_independent_draws():
    """The mean over draws has the variance of that many independent ones: ESS holds its word."""
    s, num_samples, repeats = 0.8, 200, 400
    rng = np.random.default_rng(1)
    sizes, means = [], []
    for _ in range(repeats):
        pilot = pareto_smoothed(s * rng.normal(size=2000))
        count = _num_proposals(pilot, num_samples, 1)
        g = rng.normal(size=count)
        smoothed = pareto_smoothed(s * g).log_weights
        choice = _choice(smoothed, s * g, rng.uniform(), num_samples, np.float64)
        chosen = g[np.asarray(choice.numbers)]
        # Under these weights g ~ N(s, 1).
        means.append(chosen.mean() - s)
        sizes.append(float(bnnsample.results.effective_sample_size(chosen[None, :, None])[0]))
    z = np.asarray(means) * np.asarray(sizes) ** 0.5
    assert abs(z.mean()) < 4 / repeats**0.5
    assert np.mean(z**2) < st.chi2(repeats).isf(1e-3) / repeats
    assert np.mean(sizes) > 0.8 * num_samples


def test_proposals_that_are_not_finite_are_counted_by_the_draw_after_them():
    log_weights = np.array([0.0, -np.inf, 0, 0, -np.inf, -np.inf, 0, -np.inf])
    smoothed = np.where(np.isfinite(log_weights), -np.log(4), -np.inf)
    choice = _choice(smoothed, log_weights, 0.5, 4, np.float64)
    assert np.asarray(choice.numbers).tolist() == [0, 2, 3, 6]
    assert np.asarray(choice.num_passed).tolist() == [1, 2, 1, 4]
    assert np.asarray(choice.num_non_finite).tolist() == [0, 1, 0, 3]


def test_copies_stand_together_and_lower_the_ess():
    rng = np.random.default_rng(2)
    g = rng.normal(size=500)
    smoothed = pareto_smoothed(1.2 * g).log_weights
    chosen = g[systematic(smoothed, 500, 0.5)]
    assert np.sum(np.diff(chosen) == 0) > 100
    assert effective_sample_size(chosen[None, :, None])[0] < 250


def test_systematic_resampling():
    """Each index comes out as often as its weight says, rounded up or down, without bias."""
    log_weights = np.log([0.5, 0.0625, 0.3, 0.1375]) - 300
    expected = 8 * np.exp(log_weights + 300)
    counts = np.stack(
        [
            np.bincount(systematic(log_weights, 8, u), minlength=4)
            for u in (np.arange(1000) + 0.5) / 1000
        ]
    )
    assert np.all((counts >= np.floor(expected - 1e-9)) & (counts <= np.ceil(expected + 1e-9)))
    np.testing.assert_allclose(counts.mean(0), expected, atol=2e-3)
    with np.errstate(divide="ignore"):
        none = systematic(np.log([0.0, 1.0, 1.0, 0.0]), 3, 0.999999)
    np.testing.assert_array_equal(none, [1, 2, 2])


def test_draws_are_those_the_weights_were_of():
    """Positions drawn again from their numbers have the potentials they were chosen for."""
    result = run(keep="all", num_samples=30, num_chains=2)
    posterior, hidden = result.record.posterior, result.record.kept.parameters["hidden"]
    for chain in range(2):
        for draw in (0, 29):
            h = jax.tree.map(lambda a, at=(chain, draw): jnp.asarray(a[at]), hidden)
            square = sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(h))
            expected = -float(posterior.potential({"hidden": h, "unknowns": {}})) - square / 2
            found = result.record.sample_stats["lp"][chain, draw]
            assert found == pytest.approx(expected, rel=1e-10)
    assert np.unique(result.record.draws["f_mean"][..., 0, 0]).size == 60


def test_what_is_reported(tmp_path):
    result = run(num_chains=3, num_samples=100)
    adapted, stats = result.adapted, result.record.sample_stats
    assert adapted["k_hat"] < 0.5
    proposals = adapted["num_proposals"]
    assert proposals >= 100
    assert 0.5 * 3 * proposals < adapted["importance_ess"] <= 3 * proposals
    np.testing.assert_array_equal(stats["n_steps"].sum(1), [proposals] * 3)
    assert result.num_gradients == 3 * proposals
    assert result.warmup_gradients == 3 * 500
    assert np.all(stats["acceptance_rate"] == 100 / proposals)
    assert not stats["diverging"].any()
    text = result.report()
    assert f"importance ESS          {adapted['importance_ess']:,.0f} of" in text
    assert f"k-hat                   {adapted['k_hat']:.2f}" in text
    assert "per evaluation" in text
    for attributes in (result.idata.posterior.attrs, result.idata.sample_stats.attrs):
        assert attributes["k_hat"] == adapted["k_hat"]
        assert attributes["importance_ess"] == adapted["importance_ess"]
    result.save(tmp_path / "result")
    again = bnnsample.load(tmp_path / "result")
    assert again.idata.posterior.attrs["k_hat"] == adapted["k_hat"]
    assert json.loads(again.idata.posterior.attrs["adapted"]) == adapted


def test_no_hidden_parameters():
    """Equal weights: every proposal is a draw, and nothing is left to chance."""
    fixed = from_functions(lambda key, x, width: {}, lambda h, x: jnp.cos(x))
    result = run(model=fixed, num_samples=100)
    assert result.adapted["num_proposals"] == 100
    assert result.adapted["k_hat"] == 0
    assert result.adapted["importance_ess"] == pytest.approx(400)
    assert np.all(result.record.sample_stats["n_steps"] == 1)
    exact, draws = result.record.draws["f_mean"][0, 0], result.record.draws["f"]
    error = draws.std((0, 1)) / 400**0.5
    assert np.all(np.abs(draws.mean((0, 1)) - exact) < 4.5 * error)


@pytest.mark.parametrize("options", [{}, {"kernel_options": {"num_proposals": 500}}])
def test_a_prior_too_far_from_the_posterior_is_refused(options):
    match = r"k-hat is (inf|\d).*above 0.7.*use kernel='infinite_hmc'"
    with pytest.raises(ImportanceSamplingError, match=match) as caught:
        run(data=(X, 10 * Y), width=8, likelihood=Gaussian(0.05), **options)
    assert caught.value.k_hat > 0.7
    assert 1 <= caught.value.effective_sample_size < 100


def test_too_few_finite_weights_are_refused():
    broken = from_functions(
        lambda key, x, width: {"w": jax.random.normal(key, (2, 1), x.dtype)},
        lambda h, x: jnp.log(x @ h["w"] - 1),
    )
    with pytest.raises(ImportanceSamplingError, match="k-hat is inf"):
        run(model=broken, width=1)


@pytest.mark.parametrize(
    ("match", "settings"),
    [
        ("needs coordinates='collapsed'", {"coordinates": "repriorised"}),
        ("needs coordinates='collapsed'", {"coordinates": "standard"}),
        ("init: kernel 'importance' has no chain", {"init": {"hidden": []}}),
        ("thin must be 1 .* got 2", {"thin": 2}),
        ("num_warmup must be at least 25 .* got 6", {"num_warmup": 6}),
        (r"'num_proposals'\] must be at least 25 .* got 3", {"options": {"num_proposals": 3}}),
        (
            r"must be at most 100,000,000 .* got 200,000,000",
            {"options": {"num_proposals": 2 * 10**8}},
        ),
        (r"'num_proposals'\] of 'importance' must be at least", {"options": {"num_proposals": 0}}),
        ("has no option 'step_size'; its options are num_proposals", {"options": {"step_size": 1}}),
    ],
)
def test_bad_input(match, settings):
    settings = dict(settings)
    options = {"kernel_options": settings.pop("options", None)}
    with pytest.raises(ValueError, match=match):
        run(**options, **settings)


def test_num_proposals_must_be_an_int():
    with pytest.raises(TypeError, match=r"must be an int, got 30\.5"):
        run(kernel_options={"num_proposals": 30.5})


@pytest.mark.parametrize("log_weights", [np.zeros(24), np.zeros(0)])
def test_smoothing_needs_weights(log_weights):
    with pytest.raises(ValueError, match=f"at least 25 draws, got {len(log_weights)}"):
        pareto_smoothed(log_weights)


@pytest.mark.parametrize("shape", [0.2, 0.5, 1.0])
def test_k_hat_is_the_shape_of_pareto_weights(shape):
    """Weights ``u^-k`` have a generalised Pareto tail of shape k; the fit's error is (1 + k)."""
    k_hats = [
        pareto_smoothed(-shape * np.log(np.random.default_rng(i).uniform(size=20_000))).k_hat
        for i in range(20)
    ]
    # Maximum likelihood on the tail's 425 weights (Smith 1987), and a weak prior at 0.5.
    error = (1 + shape) / 425**0.5
    prior = 10 * (0.5 - shape) / (425 + 10)
    assert abs(np.mean(k_hats) - shape - prior) < 4 * error / 20**0.5 + 0.01
