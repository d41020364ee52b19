"""Each rule of the verdict that warns: when it does, when it does not, and that it says it once."""

import dataclasses
import warnings

import numpy as np
import pytest
from test_results_diagnostics import ar1
from test_results_record import make_record

import bnnsample
from bnnsample.repriorisation._condition import (
    LARGEST_EXACT,
    against,
    breaks_down,
    condition_number,
    explain,
    largest_eigenvalue,
)
from bnnsample.results import Result, _storage, _warn, _zarr
from bnnsample.results._chains_apart import longest_stays, modes
from bnnsample.results._digits import known_digits
from bnnsample.results._storage import Stored
from bnnsample.results._warn import warned

CHAINS, DRAWS = 4, 200


def record_of(draws=None, stats=None, make=None, **settings):
    record = make_record(**{"chains": CHAINS, "draws": DRAWS, **(make or {})})
    record.draws.update(draws or {})
    record.sample_stats.update(stats or {})
    record.settings.update(settings)
    return record


def warned_of(record):
    """Categories of the warnings of a record, each with its text, which the report has too."""
    result = Result(record)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", bnnsample.SamplingWarning)
        assert warned(result) is result
    found = {w.category: str(w.message) for w in caught}
    assert len(found) == len(caught)
    report = " ".join(result.report().split())
    assert all(text in report for text in found.values())
    return found


SHAPE = (CHAINS, DRAWS)
ONE_STEP = {"adapted": {"step_size": 1.57, "num_integration_steps": 1}}
AIMS_LOW = {"kernel_options": {"target_acceptance": 0.2}}
SLOW = np.cumsum(np.random.default_rng(0).normal(size=(*SHAPE, 9, 2)), axis=1)


def rates(value):
    return {"acceptance_rate": np.full(SHAPE, value)}


@pytest.mark.parametrize(
    ("changes", "category"),
    [
        ({"draws": {"f_mean": SLOW}}, bnnsample.ConvergenceWarning),
        ({"draws": {"f_mean": SLOW}}, bnnsample.EffectiveSampleSizeWarning),
        ({"stats": {"diverging": np.arange(800).reshape(SHAPE) < 9}}, bnnsample.DivergenceWarning),
        ({"stats": rates(0.59)}, bnnsample.WarmupWarning),
        ({"stats": rates(0.33), "make": ONE_STEP}, bnnsample.WarmupWarning),
        ({"stats": rates(0.59), "make": ONE_STEP, "kernel": "hmc"}, bnnsample.WarmupWarning),
        ({"stats": rates(0.04), "make": ONE_STEP, **AIMS_LOW}, bnnsample.WarmupWarning),
        ({"stats": {"non_finite": np.eye(*SHAPE, dtype=int)}}, bnnsample.NonFiniteWarning),
        ({"draws": {"f": np.full((*SHAPE, 9, 2), np.nan)}}, bnnsample.NonFiniteWarning),
        ({"make": {"potential_error": 0.2}}, bnnsample.PrecisionWarning),
        ({"make": {"potential_error": np.nan}}, bnnsample.PrecisionWarning),
    ],
)
def test_each_problem_has_its_warning(changes, category):
    assert category in warned_of(record_of(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"stats": {"diverging": np.arange(800).reshape(SHAPE) < 8}},
        {"stats": rates(0.61)},
        {"stats": rates(0.34), "make": ONE_STEP},
        {"stats": rates(0.34), "make": ONE_STEP, "kernel": "alternating"},
        {"stats": rates(0.06), "make": ONE_STEP, **AIMS_LOW},
        # Nothing is adapted where the user gave the number of steps.
        {"stats": rates(0.2), "kernel_options": {"num_integration_steps": 1}},
        {"stats": rates(0.95)},
        {"make": {"potential_error": 0.09}},
        {"make": {"draws": 24}, "stats": {"acceptance_rate": np.full((CHAINS, 24), 0.3)}},
        {"kernel": "mclmc"},
        {"make": {"interrupted": True}},
        {"make": {"chains": 1, "draws": 1000}},
        {"make": {"draws": 3}, "draws": {"f": np.full((CHAINS, 3, 9, 2), np.nan)}},
    ],
)
def test_remarks_are_not_warned_of(changes):
    assert warned_of(record_of(**changes)) == {}


def test_a_trial_is_judged_by_the_report_alone():
    """399 draws have no 400 effective ones."""
    slow = {"draws": {"f_mean": SLOW[:3, :133]}, "make": {"chains": 3, "draws": 133}}
    assert warned_of(record_of(**slow)) == {}
    assert "disagree" in Result(record_of(**slow)).report()
    enough = {"draws": {"f_mean": SLOW[:, :100]}, "make": {"chains": 4, "draws": 100}}
    assert bnnsample.ConvergenceWarning in warned_of(record_of(**enough))


def test_a_large_run_on_disk_is_warned_of_without_reading_its_draws(tmp_path, monkeypatch):
    """What needs the draws of the function is said by the report."""
    record = record_of(draws={"f_mean": SLOW}, stats={"non_finite": np.ones(SHAPE, int)})
    Result(record).save(tmp_path / "run")
    groups, _ = _zarr.read(tmp_path / "run")
    lazy = Stored(_storage._read_draws(groups, list(record.draws)))
    read = []
    monkeypatch.setattr(Stored, "__getitem__", lambda s, n: read.append(n) or s._arrays[n].values)
    monkeypatch.setattr(_warn, "MOST_BYTES", lazy.nbytes - 1)
    record = dataclasses.replace(record, draws=lazy)
    with pytest.warns(bnnsample.NonFiniteWarning) as caught:
        warned(Result(record))
    assert len(caught) == 1
    assert set(read) <= {"hidden", "noise_scale"}


@pytest.mark.parametrize(("condition", "words"), [(2e2, "not the likely cause"), (1e6, "float64")])
def test_the_remedy_goes_with_the_condition_number(condition, words):
    record = record_of(stats={"non_finite": np.ones(SHAPE, int)}, dtype="float32")
    text = warned_of(dataclasses.replace(record, condition=condition))[bnnsample.NonFiniteWarning]
    assert words in text.split("ended")[1]
    assert "in 100% of the draws" in text


def test_results_of_before_the_counts_are_read():
    record = record_of()
    del record.sample_stats["non_finite"]
    assert warned_of(record) == {}


# --- one chain stuck


def with_a_stay(length, chain=2, draws=DRAWS):
    record = record_of(make={"draws": draws})
    record.draws["hidden"][chain, 3 : 3 + length] = record.draws["hidden"][chain, 3]
    return record


def test_the_stuck_chain_is_named():
    found = warned_of(with_a_stay(50))
    assert list(found) == [bnnsample.StuckChainWarning]
    assert (
        "Chain 2 did not move for 50 draws in a row, of 200" in found[bnnsample.StuckChainWarning]
    )
    assert longest_stays(with_a_stay(50)).tolist() == [0, 0, 50, 0]


def test_a_stay_must_be_long_and_a_fifth_of_the_draws():
    assert bnnsample.StuckChainWarning not in warned_of(with_a_stay(49))
    assert bnnsample.StuckChainWarning not in warned_of(with_a_stay(99, draws=500))
    assert bnnsample.StuckChainWarning in warned_of(with_a_stay(100, draws=500))


def test_chosen_draws_and_an_exact_posterior_are_not_stuck():
    still = {"lp": np.zeros(SHAPE)}
    record = record_of(stats=still, kernel="importance")
    del record.draws["hidden"]
    assert bnnsample.StuckChainWarning not in warned_of(record)
    exact = record_of(stats=still, make={"hidden_index": np.zeros(0, np.int32)})
    del exact.draws["hidden"], exact.draws["noise_scale"]
    assert bnnsample.StuckChainWarning not in warned_of(exact)
    moving = record_of(stats=still, coordinates="repriorised")
    del moving.draws["hidden"]
    assert bnnsample.StuckChainWarning in warned_of(moving)


def test_chains_that_stay_are_in_no_modes_and_are_not_told_to_run_longer():
    record = in_modes("noise_scale")
    record.draws["hidden"][:] = record.draws["hidden"][:, :1]
    assert list(warned_of(record)) == [bnnsample.StuckChainWarning]


# --- chains in two modes


def in_modes(quantity, apart=6.0):
    noise = np.random.default_rng(3).normal(size=SHAPE)
    noise[[0, 3]] += apart
    if quantity == "noise_scale":
        return record_of(draws={"noise_scale": np.exp(noise - 6)})
    points = np.repeat(noise[..., None] / 12, 12, axis=2)
    return record_of(draws={"log_likelihood": points})


@pytest.mark.parametrize("quantity", ["noise_scale", "log_likelihood"])
def test_chains_in_two_modes_are_named_and_not_told_to_run_longer(quantity):
    found = warned_of(in_modes(quantity))
    text = found[bnnsample.BimodalWarning]
    assert quantity.replace("_l", "-l") in text
    assert "chains 1 and 2" in text
    assert "chains 0 and 3" in text
    assert bnnsample.ConvergenceWarning not in found
    assert "Run longer" not in " ".join(found.values())


def test_modes_are_at_the_geometric_means():
    found = modes(in_modes("noise_scale"))
    assert found.at == pytest.approx((np.exp(-6), 1), rel=0.3)
    assert (found.low.tolist(), found.high.tolist()) == ([1, 2], [0, 3])


def test_chains_a_little_apart_have_not_mixed():
    found = warned_of(in_modes("noise_scale", apart=1.0))
    assert bnnsample.BimodalWarning not in found
    assert bnnsample.ConvergenceWarning in found


@pytest.mark.parametrize("rho", [0.5, 0.95, 0.99, 0.999, 1.0])
def test_slow_chains_are_hardly_ever_taken_for_modes(rho):
    """Chains of one mode, each drifting; ``1.0``: random walks."""
    step = np.random.default_rng(4).normal(size=(60, CHAINS, DRAWS))
    if rho == 1:
        runs = np.cumsum(step, axis=2)
    else:
        runs = ar1(rho, CHAINS, DRAWS, 60, seed=4).transpose(2, 0, 1)
    taken = sum(
        modes(record_of(draws={"noise_scale": np.exp(np.clip(run, -50, 50))})) is not None
        for run in runs
    )
    assert taken <= 3


# --- condition numbers


@pytest.mark.parametrize("on_parameter_side", [True, False])
@pytest.mark.parametrize("shape", [(6, 9), (9, 6)])
def test_condition_number_is_numpys(shape, on_parameter_side):
    P = np.random.default_rng(0).normal(size=shape)
    A = P.T if on_parameter_side else P
    matrix = np.eye(len(A)) + A @ A.T
    assert condition_number(P, on_parameter_side) == pytest.approx(np.linalg.cond(matrix))
    assert largest_eigenvalue(P) == pytest.approx(np.linalg.norm(P, 2) ** 2, rel=1e-3)


def test_large_matrices_are_judged_without_their_eigenvalues():
    P = np.ones((LARGEST_EXACT + 1, 1)) * 2
    assert condition_number(P, False) == pytest.approx(1 + 4 * (LARGEST_EXACT + 1))


def test_products_beyond_float64_have_a_condition_number():
    P = np.random.default_rng(0).normal(size=(3, 7))
    assert condition_number(1e200 * P, False) == pytest.approx(np.linalg.cond(P @ P.T))
    assert condition_number(1e200 * P[[0, 0, 1]], False) > 1e15
    assert condition_number(1e-200 * P, False) == 1
    assert largest_eigenvalue(1e200 * P) == np.inf


def test_an_explanation_names_the_cause():
    P = np.random.default_rng(0).normal(size=(5, 9)).astype(np.float32)
    assert "is not the cause" in explain(P, False, np.float32)
    assert "use float64 or a larger noise scale" in explain(P[[0, 0, 1]] * 1e5, False, np.float32)
    assert "is not the cause" in explain(P[[0, 0, 1]] * 1e5, False, np.float64)
    P[0, 0] = np.inf
    assert "overflows in float32" in explain(P, False, np.float32)
    assert "near float32's 1.7e+07" in against(1e6, np.float32)
    assert "below float64's 9.0e+15" in against(1e6, np.float64)
    assert breaks_down(1e6, 100, np.float32)
    assert not breaks_down(1e6, 10, np.float32)


# --- digits


def test_digits_of_a_summary_are_known():
    """The unit of the last digit is at least the Monte-Carlo standard error, and below ten."""
    result = Result(record_of())
    exact, shown = result.summary(round_to="none"), result.summary()
    for column, error in (("mean", "mcse_mean"), ("sd", "mcse_sd")):
        unit = 10.0 ** np.ceil(np.log10(exact[error].to_numpy(float)))
        in_units = shown[column].to_numpy(float) / unit
        np.testing.assert_allclose(in_units, in_units.round(), atol=1e-9)
        assert (np.abs(shown[column] - exact[column]) <= unit / 2 + 1e-12).all()
    assert (shown["ess_bulk"] % 1 == 0).all()
    assert list(shown.columns) == list(exact.columns)


def test_digits_follow_the_error():
    import pandas as pd

    table = pd.DataFrame(
        {
            "mean": [1.23456, 123.456, 1.23456],
            "mcse_mean": [0.01, 3.0123, np.nan],
            "sd": [0.98765, 7.77, 0.0],
            "mcse_sd": [0.00241, 0.2, 0.0],
            "hdi_3%": [-1.23456, -9.87, 0.5],
            "ess_tail": [10_000.4, 100.0, np.nan],
            "r_hat": [1.00123, 1.2, np.nan],
            "label": ["a", "b", "c"],
        }
    )
    shown = known_digits(table)
    assert shown["mean"].tolist() == [1.23, 120, 1.23456]
    assert shown["sd"].tolist() == [0.99, 8, 0.0]
    assert shown["hdi_3%"].tolist() == [-1.2, -10, 0.5]
    assert shown["mcse_mean"].tolist()[:2] == [0.01, 3.0]
    assert shown["mcse_sd"].tolist() == [0.0024, 0.2, 0.0]
    assert shown["ess_tail"].tolist()[:2] == [10_000, 100]
    assert shown["r_hat"].tolist()[:2] == [1.001, 1.2]
    assert shown["label"].tolist() == ["a", "b", "c"]
