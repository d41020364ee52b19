"""ESS and R-hat: their definition, their edges, and the table made of them."""

import arviz
import numpy as np
import pytest
import xarray as xr
from test_results_record import fixed_features, make_record

from bnnsample.likelihoods import Gaussian
from bnnsample.results import Result, effective_sample_size, r_hat
from bnnsample.results._diagnostics import COLUMNS, MAX_QUANTITIES, subset
from bnnsample.results._ess import bulk_ess, tail_ess


def ar1(rho, chains=4, draws=10_000, quantities=8, seed=1):
    rng = np.random.default_rng(seed)
    q = np.empty((chains, draws, quantities))
    q[:, 0] = rng.normal(size=(chains, quantities))
    for t in range(1, draws):
        q[:, t] = rho * q[:, t - 1] + np.sqrt(1 - rho**2) * rng.normal(size=q[:, 0].shape)
    return q


def dataset(draws):
    return xr.Dataset({"q": (("chain", "draw", "i"), draws)})


def test_ess_of_an_autoregression_is_the_known_one():
    q = ar1(0.9)
    known = 40_000 * (1 - 0.9) / (1 + 0.9)
    # Eight independent estimates, each with a relative standard error near 6%.
    assert np.mean(effective_sample_size(q)) == pytest.approx(known, rel=0.1)


def test_ess_of_an_antithetic_chain_is_that_of_the_squares():
    q = ar1(-0.7)
    known = 40_000 * (1 - 0.7**2) / (1 + 0.7**2)
    size = effective_sample_size(q)
    # ArviZ ranks first, and the ranks of the squares are less correlated than the squares.
    assert known < np.mean(size) < 1.35 * known
    assert np.all(bulk_ess(q) == 40_000)


def test_ess_is_capped_at_the_number_of_draws():
    q = ar1(-0.95, draws=500)
    assert arviz.ess(dataset(q), method="bulk")["q"].values.min() > 2000
    assert bulk_ess(q).max() == 2000
    assert tail_ess(q).max() <= 2000
    assert effective_sample_size(q).max() <= 2000


def test_statistics_are_arviz_own():
    q = ar1(0.5, draws=300)
    squares = (q - q.mean(axis=(0, 1))) ** 2
    direct = [arviz.ess(dataset(a), method="bulk")["q"].values for a in (q, squares)]
    np.testing.assert_array_equal(effective_sample_size(q), np.minimum(*direct))
    np.testing.assert_array_equal(tail_ess(q), arviz.ess(dataset(q), method="tail")["q"].values)
    np.testing.assert_array_equal(r_hat(q), arviz.rhat(dataset(q))["q"].values)


def test_trailing_axes_are_kept_and_float32_is_taken():
    q = ar1(0.5, draws=100, quantities=6).reshape(4, 100, 2, 3)
    assert effective_sample_size(q).shape == r_hat(q).shape == (2, 3)
    np.testing.assert_allclose(
        effective_sample_size(q.astype(np.float32)), effective_sample_size(q), rtol=1e-3
    )
    assert effective_sample_size(q[:, :, 0, 0]).shape == ()


def test_r_hat_sees_chains_apart_and_one_chain_drifting():
    q = ar1(0.0, draws=200)
    assert r_hat(q).max() < 1.02
    assert r_hat(q + np.arange(4.0)[:, None, None]).min() > 1.3
    assert np.isfinite(r_hat(q[:1])).all()
    assert r_hat(q[:1] + np.linspace(0, 4, 200)[None, :, None]).min() > 1.3


def test_undefined_statistics_are_nan_without_warnings():
    q = ar1(0.0, draws=50, quantities=4)
    q[:, :, 0] = 2.0
    q[1, 3, 1], q[1, 3, 2] = np.nan, np.inf
    for statistic in (effective_sample_size, bulk_ess, tail_ess, r_hat):
        assert np.isnan(statistic(q)).tolist() == [True, True, True, False]
        assert np.isnan(statistic(q[:, :3])).all()


def test_ess_where_only_the_squares_are_constant_is_that_of_the_draws():
    signs = np.random.default_rng(0).permutation(np.tile([-1.0, 1.0], 100)).reshape(2, 100)
    assert effective_sample_size(signs) == bulk_ess(signs)


def test_a_single_axis_is_refused():
    with pytest.raises(ValueError, match=r"\[chain, draw, ...\], got \(5,\)"):
        effective_sample_size(np.zeros(5))


def test_table_has_the_promised_rows_and_columns():
    table = Result(make_record()).diagnostics()
    assert table.index.tolist() == [
        "posterior_mean_function",
        "function",
        "log_likelihood",
        "hidden_weights",
        "projections",
        "hyperparameters",
    ]
    assert table.index.name == "group"
    assert tuple(table.columns) == COLUMNS
    assert np.isfinite(table.to_numpy()).all()


def test_table_is_made_of_the_definition():
    record = make_record(chains=4, draws=200)
    table = Result(record).diagnostics()
    for group, name in (("function", "f"), ("hidden_weights", "hidden")):
        draws = record.draws[name]
        median = np.median(effective_sample_size(draws))
        row = table.loc[group]
        assert row.ess_per_gradient == pytest.approx(median / record.num_gradients)
        assert row.ess_per_second == pytest.approx(median / record.sampling_seconds)
        assert row.ess_bulk_median == np.median(bulk_ess(draws))
        assert row.ess_bulk_min == bulk_ess(draws).min()
        assert row.ess_tail_min == tail_ess(draws).min()
        assert row.r_hat_max == r_hat(draws).max()


def test_fixed_features_leave_no_hidden_row_and_an_exact_mean():
    record = make_record(model=fixed_features(), likelihood=Gaussian(0.5))
    record.draws["f_mean"][:] = record.draws["f_mean"][:1, :1]
    table = Result(record).diagnostics()
    assert "hidden_weights" not in table.index
    assert "hyperparameters" not in table.index
    assert table.loc["posterior_mean_function", "ess_bulk_median"] == 80
    assert table.loc["posterior_mean_function", "r_hat_max"] == 1


def test_chains_that_never_move_are_not_called_independent():
    record = make_record()
    record.draws["f_mean"][:] = record.draws["f_mean"][:1, :1]
    assert np.isnan(Result(record).diagnostics().loc["posterior_mean_function"]).all()
    assert "never moved" in Result(record).report()


def test_large_groups_are_judged_by_an_even_subset():
    draws = np.arange(2 * 5 * 1000.0).reshape(2, 5, 500, 2)
    q = subset(draws)
    assert q.shape == (2, 5, MAX_QUANTITIES)
    assert (q[0, 0, 0], q[0, 0, -1]) == (0, 999)
    assert np.ptp(np.diff(q[0, 0])) <= 1


@pytest.mark.parametrize("kernel", ["nuts", "pcn"])
def test_report_is_narrow_and_complete(kernel):
    record = make_record(chains=4, draws=500)
    record.settings["kernel"] = kernel
    text = Result(record).report()
    assert max(map(len, text.splitlines())) <= 88
    function, weights = text.index("Function space"), text.index("Weight space")
    assert function < weights < text.index("Sampler") < text.index("Verdict: good.")
    assert ("per gradient" in text) == (kernel == "nuts")
    assert ("per evaluation" in text) == (kernel == "pcn")


def _changed(**changes):
    record = make_record(chains=4, draws=200, **changes.pop("make", {}))
    record.draws.update(changes.pop("draws", {}))
    record.sample_stats.update(changes.pop("stats", {}))
    record.settings.update(changes.pop("settings", {}))
    return Result(record).report()


SLOW = np.cumsum(np.random.default_rng(0).normal(size=(4, 200, 9, 2)), axis=1)
SHAPE = (4, 200)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"draws": {"f_mean": SLOW}}, ["not yet", "disagree", "times more draws"]),
        ({"stats": {"diverging": np.arange(800).reshape(SHAPE) == 7}}, ["0.12% of", "smaller"]),
        ({"stats": {"acceptance_rate": np.full(SHAPE, 0.05)}}, ["not yet", "far below"]),
        ({"settings": {"kernel": "mclmc"}}, ["biased"]),
        ({"make": {"interrupted": True}, "settings": {"num_samples": 900}}, ["200 of 900"]),
    ],
)
def test_report_says_what_is_wrong(changes, words):
    text = " ".join(_changed(**changes).split())
    for word in words:
        assert word in text


def test_report_sends_float32_divergences_to_float64():
    record = make_record(dtype=np.float32, chains=4, draws=200)
    record.sample_stats["diverging"][0, :20] = True
    assert "float64" in Result(record).report()


@pytest.mark.parametrize(("chains", "draws"), [(1, 1), (2, 3), (1, 50)])
def test_report_of_very_few_draws_or_one_chain(chains, draws):
    result = Result(make_record(chains=chains, draws=draws, keep_every=1))
    text = result.report()
    assert ("Too few draws" in text) == (draws < 4)
    assert ("One chain" in text) == (chains == 1)
    assert "nan" not in text


def test_representation_is_short():
    lines = repr(Result(make_record())).splitlines()
    assert 1 < len(lines) <= 3
    assert max(map(len, lines)) <= 100
