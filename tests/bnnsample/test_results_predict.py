"""Predictions against dense closed forms, and the checks of their arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from test_results_record import fixed_features, make_record

from bnnsample.likelihoods import Gaussian, Laplace
from bnnsample.models import from_functions, mlp
from bnnsample.results import Result
from bnnsample.results._per_draw import BLOCK

TOLERANCE = {np.float32: 2e-4, np.float64: 1e-9}


def dense(psi_new, psi, y, scale):
    """Gaussian-process regression with the kernel ``Psi Psi^T``: mean and variance."""
    noise = np.diag(np.broadcast_to(np.asarray(scale, float) ** 2, len(psi)))
    gain = np.linalg.solve(psi @ psi.T + noise, psi @ psi_new.T).T
    variance = np.sum(psi_new**2, axis=1) - np.sum(gain * (psi_new @ psi.T), axis=1)
    return gain @ y, variance


def new_inputs(m, dtype=np.float64):
    return np.random.default_rng(5).normal(2, 3, (m, 3)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("n", [3, 30])
def test_fixed_features_give_bayesian_linear_regression(n, standardize, dtype):
    record = make_record(
        model=fixed_features(),
        likelihood=Gaussian(0.5),
        n=n,
        dtype=dtype,
        standardize=standardize,
    )
    x = new_inputs(BLOCK + 7, dtype)
    prediction = Result(record).predict(x)
    undo = record.standardizer
    inputs, targets = (
        np.asarray(a, float) for a in (undo.inputs(record.x), undo.targets(record.y))
    )
    psi, psi_new = (
        np.hstack([a / np.sqrt(3), np.full((len(a), 1), 0.1)])
        for a in (inputs, np.asarray(undo.inputs(x), float))
    )
    mean, variance = dense(psi_new, psi, targets, 0.5)
    close = {"rtol": TOLERANCE[dtype] * 10, "atol": TOLERANCE[dtype] * 10}
    np.testing.assert_allclose(prediction.mean, mean * undo.y_std + undo.y_mean, **close)
    std = np.sqrt(variance)[:, None] * undo.y_std
    np.testing.assert_allclose(prediction.std, std, **close)
    predictive = np.sqrt(variance + 0.25)[:, None] * undo.y_std
    np.testing.assert_allclose(prediction.predictive_std, predictive, **close)
    assert {a.dtype for a in prediction[:3]} == {np.dtype(dtype)}
    assert prediction.draws is None


@pytest.mark.parametrize("coordinates", ["standard", "repriorised", "collapsed"])
def test_hidden_layers_and_noise_are_averaged_by_total_variance(coordinates):
    record = make_record(coordinates=coordinates)
    x = new_inputs(6)
    kept, model = record.kept, record.posterior.model
    means, variances, noises, draws = [], [], [], []
    for chain in range(2):
        for k in range(len(kept.draws)):
            p = jax.tree.map(lambda a, at=(chain, k): a[at], kept.parameters)
            psi, psi_new = (np.asarray(model.features(p["hidden"], a)) for a in (record.x, x))
            scale = kept.unknowns["noise_scale"][chain, k]
            mean, variance = dense(psi_new, psi, record.y, scale)
            means.append(mean), variances.append(variance), noises.append(scale**2)
            draws.append(psi_new @ p["readout"])
    prediction = Result(record).predict(x, return_draws=True)
    spread = np.var(means, axis=0) + np.mean(variances, axis=0)[:, None]
    np.testing.assert_allclose(prediction.mean, np.mean(means, axis=0), rtol=1e-9)
    np.testing.assert_allclose(prediction.std, np.sqrt(spread), rtol=1e-9)
    predictive = np.sqrt(spread + np.mean(noises))
    np.testing.assert_allclose(prediction.predictive_std, predictive, rtol=1e-9)
    np.testing.assert_allclose(prediction.draws, draws, rtol=1e-9)


def test_a_vector_of_targets_gets_vectors_back():
    prediction = Result(make_record(vector=True)).predict(new_inputs(5), return_draws=True)
    assert [a.shape for a in prediction] == [(5,), (5,), (5,), (8, 5)]
    matrix = Result(make_record(d=1)).predict(new_inputs(5), return_draws=True)
    assert [a.shape for a in matrix] == [(5, 1), (5, 1), (5, 1), (8, 5, 1)]


def test_draws_are_in_the_units_of_the_targets():
    record = make_record(standardize=True)
    x = new_inputs(4)
    draws = Result(record).predict(x, return_draws=True).draws
    first = jax.tree.map(lambda a: a[0, 0], record.kept.parameters)
    f = record.posterior.model.apply(first, record.standardizer.inputs(x))
    np.testing.assert_allclose(draws[0], record.standardizer.undo_values(np.asarray(f)), rtol=1e-9)


def test_blocks_do_not_show():
    result = Result(make_record())
    x = new_inputs(2 * BLOCK + 3)
    whole = result.predict(x, return_draws=True)
    parts = [result.predict(x[i : i + 50], return_draws=True) for i in range(0, len(x), 50)]
    for field in ("mean", "std", "predictive_std"):
        joined = np.concatenate([getattr(part, field) for part in parts])
        np.testing.assert_allclose(getattr(whole, field), joined, rtol=1e-9)
    np.testing.assert_allclose(
        whole.draws, np.concatenate([part.draws for part in parts], axis=1), rtol=1e-9
    )


def test_the_network_is_compiled_once_for_every_input():
    traces = []

    def features(hidden, x):
        traces.append(x.shape)
        return jnp.tanh(x @ hidden)

    model = from_functions(
        lambda key, x, width: jax.random.normal(key, (x.shape[1], width), x.dtype), features
    )
    result = Result(make_record(model=model))
    traces.clear()
    result.predict(new_inputs(3))
    result.predict(new_inputs(40))
    result.predict(new_inputs(BLOCK + 1))
    assert len(traces) == 2  # the training inputs, and one block


def test_integers_lists_and_frames_are_taken():
    result = Result(make_record())
    x = np.arange(12).reshape(4, 3)
    expected = result.predict(x.astype(float)).mean
    for given in (x, x.tolist(), pd.DataFrame(x), jnp.asarray(x)):
        np.testing.assert_array_equal(result.predict(given).mean, expected)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((4, 2)), r"x must have shape \[m, 3\].*got \(4, 2\)"),
        (np.zeros(3), r"x must have shape \[m, 3\].*got \(3,\)"),
        (np.zeros((0, 3)), "x is empty"),
        (np.full((2, 3), np.nan), "x has 6 values that are not finite"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(x, message):
    with pytest.raises(ValueError, match=message):
        Result(make_record()).predict(x)


def test_inputs_beyond_float32_are_refused():
    with pytest.raises(ValueError, match="beyond the range of float32"):
        Result(make_record(dtype=np.float32)).predict(np.full((2, 3), 1e300))


@pytest.mark.parametrize(
    "call", [lambda r: r.predict(np.zeros((2, 3))), lambda r: r.parameters(0, 9)]
)
def test_nothing_kept_names_the_argument(call):
    with pytest.raises(ValueError, match="keep="):
        call(Result(make_record(keep_every=0)))


def test_noise_per_point_is_known_at_the_training_points_alone():
    scales = np.linspace(0.5, 1.5, 12)
    record = make_record(likelihood=Gaussian(scales))
    result = Result(record)
    at_training = result.predict(record.x)
    np.testing.assert_allclose(
        at_training.predictive_std**2 - at_training.std**2,
        np.broadcast_to(scales[:, None] ** 2, (12, 2)),
        rtol=1e-6,
    )
    # As many points, but others.
    assert result.predict(record.x + 1).predictive_std is None


def test_without_a_closed_form_the_draws_are_averaged():
    prediction = Result(make_record(likelihood=Laplace(1.0))).predict(new_inputs(4), True)
    np.testing.assert_allclose(prediction.mean, prediction.draws.mean(0), rtol=1e-9)
    np.testing.assert_allclose(prediction.std, prediction.draws.std(0), rtol=1e-9)
    np.testing.assert_allclose(prediction.predictive_std**2 - prediction.std**2, 2, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters_of_a_kept_draw(dtype):
    record = make_record(dtype=dtype)
    parameters = Result(record).parameters(1, 19)
    weight = parameters["hidden"][0]["weight"]
    assert isinstance(weight, jax.Array)
    assert weight.dtype == dtype
    np.testing.assert_array_equal(weight, record.kept.parameters["hidden"][0]["weight"][1, 1])
    assert mlp(1).apply(parameters, record.x).shape == (12, 2)


def test_parameters_lists_the_kept_draws():
    result = Result(make_record(draws=200))
    with pytest.raises(ValueError, match=r"draw 3 was not kept.* 9, 19, 29, 39, \.\.\., 189, 199"):
        result.parameters(0, 3)
    with pytest.raises(ValueError, match="chain must lie between 0 and 1, got 2"):
        result.parameters(2, 9)
