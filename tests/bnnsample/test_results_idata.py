"""The ArviZ schema, units and the summary, on whichever ArviZ line is installed."""

import json

import arviz
import numpy as np
import pytest
import xarray as xr
from test_results_record import fixed_features, make_record

from bnnsample.likelihoods import Gaussian
from bnnsample.results import Result

FIRST_LINE = arviz.__version__.startswith("0.")


def test_container_is_that_of_the_installed_arviz():
    idata = Result(make_record()).idata
    assert isinstance(idata, arviz.InferenceData if FIRST_LINE else xr.DataTree)


def test_it_is_built_once():
    result = Result(make_record())
    assert result.idata is result.idata


def test_groups_variables_and_dimensions():
    idata = Result(make_record(vector=True)).idata
    points, draw = ("eval_point", "output"), ("chain", "draw")
    expected = {
        "posterior": {
            "f": (*draw, *points),
            "f_mean": (*draw, *points),
            "projection": (*draw, "projection_index"),
            "hidden": (*draw, "hidden_index"),
            "noise_scale": draw,
        },
        "posterior_predictive": {"y": (*draw, *points)},
        "log_likelihood": {"y": (*draw, "observation")},
        "prior": {"f": (*draw, *points), "noise_scale": draw},
        "prior_predictive": {"y": (*draw, *points)},
        "sample_stats": dict.fromkeys(
            ("acceptance_rate", "diverging", "non_finite", "lp", "step_size", "n_steps"), draw
        ),
        "observed_data": {"y": ("observation", "output")},
        "constant_data": {"x": ("observation", "x_dim_0"), "x_eval": ("eval_point", "x_dim_0")},
    }
    for group, variables in expected.items():
        assert {n: v.dims for n, v in idata[group].data_vars.items()} == variables, group
    assert idata["posterior"].sizes["output"] == 1


def test_values_without_standardisation_are_the_draws():
    record = make_record(dtype=np.float32)
    posterior = Result(record).idata["posterior"]
    np.testing.assert_array_equal(posterior["f"], record.draws["f"])
    np.testing.assert_array_equal(posterior["hidden_index"], record.hidden_index)
    assert posterior["f"].dtype == np.float32


def test_standardisation_is_undone():
    record = make_record(standardize=True)
    idata = Result(record).idata
    mean, std = record.y.mean(0), record.y.std(0)
    for group, name, source in (
        ("posterior", "f", record.draws["f"]),
        ("posterior", "f_mean", record.draws["f_mean"]),
        ("posterior_predictive", "y", record.draws["y"]),
        ("prior", "f", record.prior["f"]),
        ("prior_predictive", "y", record.prior["y"]),
    ):
        np.testing.assert_allclose(idata[group][name], source * std + mean, rtol=1e-12)
    density = record.draws["log_likelihood"] - np.log(std).sum()
    np.testing.assert_allclose(idata["log_likelihood"]["y"], density, rtol=1e-12)
    noise = idata["posterior"]["noise_scale"]
    np.testing.assert_array_equal(noise, record.draws["noise_scale"])
    assert "standard deviations of y" in noise.attrs["units"]
    assert "standardised" in idata["posterior"].attrs["noise_scale_units"]


def test_attributes():
    record = make_record()
    attributes = Result(record).idata["posterior"].attrs
    assert attributes["inference_library"] == "bnnsample"
    assert attributes["sampling_time"] == 0.5
    assert attributes["tuning_steps"] == 30
    assert "created_at" in attributes
    settings = json.loads(attributes["settings"])
    assert settings["coordinates"] == "collapsed"
    assert settings["kernel_options"] == {"kick_scale": 1}


def test_what_a_run_does_not_have_is_left_out():
    record = make_record(model=fixed_features(), likelihood=Gaussian(np.ones(12)))
    for recorded in (record.draws, record.prior):
        del recorded["y"]
    idata = Result(record).idata
    groups = set(idata.groups()) if FIRST_LINE else set(idata.children)
    assert not {"posterior_predictive", "prior_predictive"} & groups
    assert set(idata["posterior"].data_vars) == {"f", "f_mean", "projection"}


@pytest.mark.parametrize("chains", [1, 3])
def test_arviz_takes_it(chains):
    idata = Result(make_record(chains=chains, m=2)).idata
    assert np.isfinite(arviz.ess(idata)["f_mean"].values).all()
    table = arviz.summary(idata, kind="stats")
    assert len(table) == 4 + 4 + 4 + len(idata["posterior"]["hidden_index"]) + 1


def test_summary_covers_everything_but_single_readout_draws():
    record = make_record(m=2)
    table = Result(record).summary(round_to="none")
    assert {"mean", "sd", "ess_bulk", "ess_tail", "r_hat", "mcse_mean"} <= set(table.columns)
    names = {label.split("[")[0] for label in table.index}
    assert names == {"f_mean", "noise_scale", "projection", "hidden"}
    assert len(table) == 4 + 1 + 4 + len(record.hidden_index)
    mean = record.draws["noise_scale"].mean()
    assert float(table.loc["noise_scale", "mean"]) == pytest.approx(mean, rel=1e-6)


def test_summary_of_chosen_variables():
    result = Result(make_record())
    assert result.summary("noise_scale").index.tolist() == ["noise_scale"]
    assert len(result.summary(["f"])) == 18
    with pytest.raises(ValueError, match="no variable 'weights'; choose from f_mean, noise_scale"):
        result.summary(["weights"])
