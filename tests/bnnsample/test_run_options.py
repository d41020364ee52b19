"""What ``run`` accepts, and what its options mean, on networks of a few units."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import bnnsample
from bnnsample import _data
from bnnsample._arguments import key_of
from bnnsample._standardize import Standardizer
from bnnsample.chains import _keep
from bnnsample.chains._quantities import make_watch, project, take
from bnnsample.chains._start import given_positions
from bnnsample.coordinates import COORDINATES
from bnnsample.kernels._registry import KERNELS
from bnnsample.likelihoods import Gaussian, StudentT
from bnnsample.models import from_functions, mlp
from bnnsample.repriorisation import predict as condition_on

N = 6
X_INT = np.array([[0, 3], [2, -1], [-1, 1], [1, 1], [3, 0], [-2, -2]])
Y_INT = np.array([1, 0, -1, 2, 1, -3])
X, Y = X_INT.astype(float), Y_INT.astype(float)
SETTINGS = {
    "width": 4,
    "likelihood": Gaussian(0.5),
    "kernel_options": {"step_size": 0.5, "num_integration_steps": 2},
    "num_chains": 2,
    "num_warmup": 0,
    "num_samples": 8,
    "progress": False,
}


def run(data=(X, Y), model=None, **settings):
    settings = {**SETTINGS, **settings}
    if settings.get("kernel", "infinite_hmc") != "infinite_hmc" and "kernel_options" in settings:
        settings.setdefault("kernel_options", None)
        if settings["kernel_options"] is SETTINGS["kernel_options"]:
            settings["kernel_options"] = None
    return bnnsample.run(mlp(activation="tanh") if model is None else model, data, **settings)


def same_draws(a, b):
    a, b = a.record.draws, b.record.draws
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def at(tree, *index):
    return jax.tree.map(lambda a: jnp.asarray(a[index]), tree)


@pytest.fixture(scope="module")
def base():
    return run()


# --- data


def test_integers_in_pandas_are_the_same_run(base):
    result = run((pd.DataFrame(X_INT, columns=["a", "b"]), pd.Series(Y_INT, name="y")))
    same_draws(base, result)
    assert result.record.draws["f"].dtype == np.float64
    assert result.record.x.dtype == result.record.y.dtype == np.float64


@pytest.mark.parametrize(
    "x",
    [
        jnp.asarray(X_INT),
        jnp.asarray(X),
        X_INT.tolist(),
        X_INT.astype(np.int8),
        np.asfortranarray(X),
        X[::-1][::-1],
        pd.DataFrame(X_INT).astype("Int64"),
        pd.DataFrame({"a": X_INT[:, 0], "b": X[:, 1]}).astype(object),
        np.ma.masked_array(X),
        X.astype(np.longdouble),
    ],
)
def test_inputs_of_any_container(x):
    array = _data.as_inputs(x)
    assert type(array) is np.ndarray
    assert array.dtype == np.float64
    np.testing.assert_array_equal(array, X)


def test_dtypes_of_inputs():
    assert _data.as_inputs(X.astype(np.float32)).dtype == np.float32
    assert _data.as_inputs(X.astype(np.float16)).dtype == np.float32
    assert _data.as_inputs(jnp.asarray(X, jnp.bfloat16)).dtype == np.float32
    assert _data.as_inputs(X > 0).dtype == np.float64
    with jax.enable_x64(False):
        assert _data.as_inputs(X_INT).dtype == np.float32
    assert _data.as_inputs(Y).shape == (N, 1)


def test_a_vector_y_gives_vectors_back(base):
    column = run((jnp.asarray(X), jnp.asarray(Y)[:, None]))
    same_draws(base, column)
    x_new = X[:3] + 0.5
    flat, full = base.predict(x_new, return_draws=True), column.predict(x_new, return_draws=True)
    for one, other in zip(flat, full, strict=True):
        np.testing.assert_array_equal(one, other[..., 0])
    assert flat.mean.shape == (3,)
    assert full.draws.shape == (16, 3, 1)


# Compiling the others takes most of these tests' time.
CHAINS = [
    pytest.param(name, marks=() if name == "infinite_hmc" else pytest.mark.slow)
    for name, spec in KERNELS.items()
    if spec.is_chain
]


@pytest.mark.parametrize("kernel", CHAINS)
def test_float32_data_give_float32_results(kernel):
    """y in float64, under 64-bit JAX; a warm-up of one step."""
    likelihood = StudentT() if KERNELS[kernel].needs_surrogate else Gaussian()
    data = X.astype(np.float32), Y
    result = run(data, kernel=kernel, likelihood=likelihood, num_warmup=1, num_samples=3)
    record = result.record
    floats = [record.x, record.y, record.x_eval, *record.draws.values(), *record.prior.values()]
    floats += jax.tree.leaves((record.kept.parameters, record.moments))
    floats += [
        v for k, v in record.sample_stats.items() if k not in ("diverging", "non_finite", "n_steps")
    ]
    assert {a.dtype for a in floats} == {np.dtype(np.float32)}
    assert all(np.isfinite(a).all() for a in record.draws.values())
    assert np.isfinite(record.sample_stats["lp"]).all()
    assert (record.sample_stats["n_steps"] > 0).all()
    assert record.settings["dtype"] == "float32"
    assert record.draws["f"].shape == (2, 3, N, 1)
    assert jax.config.jax_enable_x64


def test_float64_data_with_64_bit_mode_off_run_in_float32_with_a_warning():
    with jax.enable_x64(False):
        with pytest.warns(UserWarning, match=r"float64.*64-bit mode is off.*float32") as caught:
            result = run(likelihood=None)
        prediction = result.predict(X[:2])
    assert caught[0].filename == bnnsample._run.__file__ or caught[0].filename == __file__
    assert {a.dtype for a in result.record.draws.values()} == {np.dtype(np.float32)}
    assert prediction.mean.dtype == np.float32


def test_one_of_everything():
    result = run(([2.0], [1.0]), likelihood=None, width=1, num_chains=1, num_samples=1)
    assert result.record.draws["f"].shape == (1, 1, 1, 1)
    assert result.record.draws["noise_scale"].shape == (1, 1)
    assert result.record.draws["hidden"].shape == (1, 1, 2)
    assert result.predict([[3.0]]).mean.shape == (1,)
    assert isinstance(result.report(), str)
    assert result.idata is not None
    assert all(np.isfinite(v).all() for v in jax.tree.leaves(result.moments))


def test_images_two_layers_three_outputs_and_evaluation_points():
    rng = np.random.default_rng(1)
    images, y = rng.normal(size=(5, 8, 8)), rng.normal(size=(5, 3))
    result = run(
        (images, y), mlp(depth=2), width=(3, 5), x_eval=images[:2] + 1, keep="all", num_samples=3
    )
    parameters = result.parameters(1, 2)
    shapes = [layer["weight"].shape for layer in parameters["hidden"]]
    assert shapes == [(64, 3), (3, 5)]
    assert parameters["readout"].shape == (6, 3)
    draws = result.record.draws
    assert draws["f"].shape == draws["f_mean"].shape == draws["y"].shape == (2, 3, 2, 3)
    assert draws["log_likelihood"].shape == (2, 3, 5)
    expected = mlp(depth=2).apply(parameters, jnp.asarray(images[:2] + 1))
    np.testing.assert_allclose(draws["f"][1, 2], expected, atol=1e-10)
    f = mlp(depth=2).apply(parameters, jnp.asarray(images))
    log_prob = Gaussian(0.5).log_prob(jnp.asarray(y), f, {})
    np.testing.assert_allclose(draws["log_likelihood"][1, 2], log_prob, atol=1e-9)
    assert result.predict(images[0:1]).mean.shape == (1, 3)


def test_no_hidden_parameters_and_known_noise_is_exact():
    model = from_functions(lambda key, x, width: {}, lambda h, x: x)
    result = run(model=model, num_samples=400, keep="all")
    psi = model.features({}, jnp.asarray(X))
    mean, variance = condition_on(psi, psi, jnp.asarray(Y)[:, None], 0.5)
    draws = result.record.draws
    assert "hidden" not in draws
    assert draws["f_mean"].shape == (2, 400, N, 1)
    expected = np.broadcast_to(mean, (2, 400, N, 1))
    np.testing.assert_allclose(draws["f_mean"], expected, atol=1e-10)
    # The readout is drawn afresh for each draw: 800 independent ones, N outputs.
    z = (draws["f"][..., 0] - np.asarray(mean[:, 0])) / np.sqrt(np.asarray(variance))
    np.testing.assert_allclose(z.mean((0, 1)), 0, atol=5 / 800**0.5)
    np.testing.assert_allclose((z**2).mean((0, 1)), 1, atol=5 * (2 / 800) ** 0.5)
    assert (result.record.sample_stats["acceptance_rate"] == 1).all()
    assert result.predict(X).mean == pytest.approx(np.asarray(mean[:, 0]))


@pytest.mark.parametrize("coordinates", ["standard", "collapsed"])
def test_no_hidden_parameters_and_unknown_noise(coordinates):
    model = from_functions(lambda key, x, width: {}, lambda h, x: x)
    result = run(model=model, likelihood=None, coordinates=coordinates)
    assert np.unique(result.record.draws["noise_scale"]).size > 2
    assert (result.record.draws["noise_scale"] > 0).all()
    assert result.parameters(0, 0)["hidden"] == {}


def test_noise_per_data_point():
    scale = np.linspace(0.2, 1, N)
    result = run(likelihood=Gaussian(scale), x_eval=X[:3], keep="all")
    draws = result.record.draws
    assert "y" not in draws
    f = mlp(activation="tanh").apply(result.parameters(0, 7), jnp.asarray(X))
    expected = -0.5 * ((Y - f[:, 0]) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(draws["log_likelihood"][0, 7], expected, atol=1e-9)
    assert result.predict(X[:3]).predictive_std is None
    assert result.predict(X).predictive_std.shape == (N,)


def test_noise_per_data_point_says_nothing_of_as_many_other_points():
    result = run(likelihood=Gaussian(np.linspace(0.2, 1, N)), x_eval=X + 10, num_samples=1)
    assert "y" not in result.record.draws
    assert "y" not in result.record.prior


# --- seeds


def test_seeds(base):
    same_draws(base, run())
    other = run(seed=1)
    for name in ("f", "projection", "hidden"):
        assert not np.isin(base.record.draws[name], other.record.draws[name]).any()


def test_all_bits_of_a_seed_count():
    seeds = (0, 1, 2**31, 2**32, 2**32 + 1, 2**33, 2**63 - 1)
    for x64 in (False, True):
        with jax.enable_x64(x64):
            keys = {tuple(np.asarray(jax.random.key_data(key_of(seed)))) for seed in seeds}
        assert len(keys) == len(seeds)


def test_chains_are_different(base):
    for name, values in base.record.draws.items():
        assert not np.isin(values[0], values[1]).any(), name


# --- starts


@pytest.mark.parametrize(
    "coordinates",
    ["collapsed", *(pytest.param(c, marks=pytest.mark.slow) for c in ("standard", "repriorised"))],
)
def test_init_as_parameters_is_where_chains_start(base, coordinates):
    starts = [base.parameters(0, 3), base.parameters(1, 5)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *starts)
    result = run(
        init={**stacked, "noise_scale": np.array([0.3, 0.7])},
        likelihood=None,
        coordinates=coordinates,
        kernel="pcn",
        kernel_options={"step_size": 1e-7},
        num_samples=1,
        keep="all",
    )
    np.testing.assert_allclose(result.record.draws["noise_scale"][:, 0], [0.3, 0.7], rtol=1e-5)
    for chain, start in enumerate(starts):
        got = result.parameters(chain, 0)
        for a, b in zip(
            jax.tree.leaves(got["hidden"]), jax.tree.leaves(start["hidden"]), strict=True
        ):
            np.testing.assert_allclose(a, b, atol=1e-5)
        if coordinates != "collapsed":
            np.testing.assert_allclose(got["readout"], start["readout"], atol=1e-4)


@pytest.mark.parametrize("coordinates", COORDINATES)
def test_init_as_list_as_stack_and_as_positions_agree(base, coordinates):
    starts = [base.parameters(0, 3), base.parameters(1, 5)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *starts)
    posterior = COORDINATES[coordinates](
        mlp(activation="tanh"), Gaussian(), 4, jnp.asarray(X), jnp.asarray(Y)[:, None]
    )
    expected = given_positions(posterior, stacked, 2)
    as_list = given_positions(posterior, starts, 2)
    as_position = given_positions(posterior, expected, 2)
    as_tuple = given_positions(posterior, (at(expected, 0), at(expected, 1)), 2)
    integers = jax.tree.map(lambda a: np.zeros(a.shape, int), stacked)
    assert expected.keys() == posterior.prior_draw(jax.random.key(0)).keys()
    for other in (as_list, as_position, as_tuple):
        jax.tree.map(np.testing.assert_array_equal, other, expected)
    zeros = given_positions(
        posterior, {"hidden": integers["hidden"], "readout": stacked["readout"]}, 2
    )
    assert not np.any(zeros["hidden"][0]["weight"])
    assert zeros["hidden"][0]["weight"].dtype == np.float64


def test_a_start_that_is_not_finite_names_its_chain(base):
    starts = [base.parameters(0, 0), base.parameters(1, 1)]
    bias = starts[1]["hidden"][0]["bias"]
    starts[1]["hidden"][0]["bias"] = bias.at[2].set(np.nan)
    with pytest.raises(ValueError, match=r"init of chain 1: .*'bias'.* not finite.*nan"):
        run(init=starts)
    # Finite itself, but not what the network makes of it.
    starts[1]["hidden"][0]["bias"] = bias.at[2].set(np.finfo(bias.dtype).max / 10)
    with pytest.raises(FloatingPointError, match=r"init: .*not finite where chain 1 starts"):
        run(model=mlp(activation="relu"), init=starts)


def nan_above(threshold):
    """A network whose features are NaN where its first weight is above a threshold."""

    def init(key, x, width):
        return {"w": jax.random.normal(key, (x.shape[1], width), x.dtype)}

    def features(h, x):
        return jnp.where(h["w"][0, 0] > threshold, jnp.nan, jnp.tanh(x @ h["w"]))

    return from_functions(init, features)


def test_starts_that_are_not_finite_are_drawn_again():
    result = run(model=nan_above(0.0), num_chains=8, num_samples=6, kernel="pcn", keep="all")
    weights = result.record.kept.parameters["hidden"]["w"][..., 0, 0]
    assert weights.shape == (8, 6)
    assert (weights <= 0).all()
    assert all(np.isfinite(v).all() for k, v in result.record.draws.items())
    assert np.unique(weights).size > 8


def test_no_finite_start_is_a_clear_error():
    with pytest.raises(FloatingPointError, match=r"chain 0 found no start.*10 draws.*init="):
        run(model=nan_above(-np.inf), kernel="pcn")


# --- thinning, keeping, standardisation


def test_thin_adds_up_gradients_and_averages_acceptance():
    options = {"step_size": 1e-4, "num_integration_steps": 2, "jitter": 0.0}
    once, thinned = (run(thin=t, kernel_options=options, num_samples=4) for t in (1, 5))
    assert (once.record.sample_stats["n_steps"] == 2).all()
    assert (thinned.record.sample_stats["n_steps"] == 10).all()
    assert thinned.num_gradients == 5 * once.num_gradients == 5 * 2 * 2 * 4
    np.testing.assert_allclose(thinned.record.sample_stats["acceptance_rate"], 1, atol=1e-5)
    np.testing.assert_allclose(thinned.record.sample_stats["step_size"], 1e-4)
    assert thinned.record.settings["thin"] == 5
    # Nearly free flights of the same length in random directions: variances are 5 times as large.
    moved = [np.square(np.diff(r.record.draws["hidden"], axis=1)).sum() for r in (once, thinned)]
    assert 3 < moved[1] / moved[0] < 8


@pytest.fixture(scope="module")
def kept_all():
    return run((X, 100 * Y + 7), standardize=True, keep="all", num_samples=12, likelihood=None)


@pytest.fixture(scope="module")
def kept_auto():
    template = jax.eval_shape(lambda key: mlp().init(key, jnp.asarray(X), 4), jax.random.key(0))
    with pytest.MonkeyPatch.context() as patch:
        # Room for 5 draws of 2 chains and a little more: every third of 12 is kept.
        patch.setattr(_keep, "AUTO_BUDGET_BYTES", 11 * _keep.tree_bytes(template))
        return run((X, 100 * Y + 7), standardize=True, num_samples=12, likelihood=None)


def test_kept_parameters_give_the_recorded_function(kept_all):
    record = kept_all.record
    assert list(record.kept.draws) == list(range(12))
    idata = kept_all.idata
    for chain, draw in ((0, 0), (0, 5), (1, 11)):
        parameters = kept_all.parameters(chain, draw)
        x = jnp.asarray(record.standardizer.inputs(X))
        f = mlp(activation="tanh").apply(parameters, x)
        np.testing.assert_allclose(record.draws["f"][chain, draw], f, atol=1e-10)
        values = record.draws["noise_scale"][chain, draw]
        assert record.kept.unknowns["noise_scale"][chain, draw] == values
        psi = mlp(activation="tanh").features(parameters["hidden"], x)
        z = jnp.asarray(record.standardizer.targets(record.y))
        mean, _ = condition_on(psi, psi, z, jnp.asarray(values))
        np.testing.assert_allclose(record.draws["f_mean"][chain, draw], mean, atol=1e-8)
        y_std, y_mean = (100 * Y + 7).std(), (100 * Y + 7).mean()
        in_idata = idata.posterior["f"].values[chain, draw]
        np.testing.assert_allclose(in_idata, f * y_std + y_mean, atol=1e-8)


def test_projections_and_hidden_entries_are_those_of_the_parameters(kept_all):
    record = kept_all.record
    signs = make_watch(record.posterior, None, jax.random.split(key_of(0), 5)[0]).signs
    for chain, draw in ((0, 2), (1, 9)):
        parameters = kept_all.parameters(chain, draw)
        expected = project(signs, parameters)
        np.testing.assert_allclose(record.draws["projection"][chain, draw], expected, atol=1e-10)
        flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(parameters["hidden"])])
        hidden = record.draws["hidden"][chain, draw]
        np.testing.assert_array_equal(hidden, flat[record.hidden_index])
        by_take = take(parameters["hidden"], jnp.asarray(record.hidden_index))
        np.testing.assert_array_equal(hidden, by_take)
    assert len(set(record.hidden_index.tolist())) == 12


def test_projections_are_onto_orthonormal_directions():
    sizes = {"a": (7, 5), "b": (3,), "c": (11,)}
    tree = {k: jax.random.normal(jax.random.key(i), s) for i, (k, s) in enumerate(sizes.items())}
    rng = np.random.default_rng(0)
    signs = [jnp.asarray(rng.choice([-1, 1], leaf.size), jnp.int8) for leaf in tree.values()]
    flat = np.concatenate([np.ravel(leaf) for leaf in tree.values()])
    member = np.arange(49)[None] % 20 == np.arange(20)[:, None]
    directions = member * np.concatenate(signs) / np.sqrt(member.sum(1, keepdims=True))
    np.testing.assert_allclose(directions @ directions.T, np.eye(20), atol=1e-12)
    np.testing.assert_allclose(project(signs, tree), directions @ flat, atol=1e-12)


def test_running_moments_are_those_of_all_draws(kept_all):
    """Over the draws of each chain, ``[chain, ...]``."""
    kept, moments = kept_all.record.kept.parameters, kept_all.moments
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)  # noqa: E731
    jax.tree.map(close, moments["mean"], jax.tree.map(lambda a: a.mean(1), kept))
    jax.tree.map(close, moments["variance"], jax.tree.map(lambda a: a.var(1, ddof=1), kept))


def test_auto_keeps_evenly_thinned_draws_within_its_budget(kept_all, kept_auto):
    same_draws(kept_all, kept_auto)
    kept = kept_auto.record.kept
    assert list(kept.draws) == [2, 5, 8, 11]
    jax.tree.map(
        lambda some, every: np.testing.assert_array_equal(some, every[:, kept.draws]),
        (kept.parameters, kept.unknowns),
        (kept_all.record.kept.parameters, kept_all.record.kept.unknowns),
    )
    jax.tree.map(np.testing.assert_array_equal, kept_auto.moments, kept_all.moments)
    with pytest.raises(ValueError, match="2, 5, 8, 11"):
        kept_auto.parameters(0, 0)


@pytest.mark.parametrize("num_samples", [1, 2, 7, 10, 1000])
@pytest.mark.parametrize("affordable", [0, 1, 3, 10, 999, 10**6])
def test_plan_of_auto(monkeypatch, num_samples, affordable):
    template = {"w": jax.ShapeDtypeStruct((10,), np.float32)}
    monkeypatch.setattr(_keep, "AUTO_BUDGET_BYTES", affordable * 40 * 4)
    plan = _keep.plan_keep("auto", template, 4, num_samples)
    kept = [d for d in range(num_samples) if plan.is_kept(d)]
    assert 1 <= len(kept) <= max(affordable, 1)
    assert len(kept) >= min(affordable, num_samples) // 2
    assert np.unique(np.diff(kept)).size <= 1


def test_keep_none(kept_all):
    data = (X, 100 * Y + 7)
    result = run(data, standardize=True, keep="none", num_samples=12, likelihood=None)
    same_draws(kept_all, result)
    assert result.record.kept is None
    jax.tree.map(np.testing.assert_array_equal, result.moments, kept_all.moments)
    with pytest.raises(ValueError, match="keep"):
        result.predict(X)


def test_standardisation_by_hand_is_the_same_run(kept_all):
    y = 100 * Y + 7
    x_mean, x_std, y_mean, y_std = X.mean(0), X.std(0), y.mean(), y.std()
    manual = run(
        ((X - x_mean) / x_std, (y - y_mean) / y_std), keep="all", num_samples=12, likelihood=None
    )
    close = {"rtol": 1e-6, "atol": 1e-6}
    ours, theirs = kept_all.idata, manual.record.draws
    for name in ("f", "f_mean"):
        undone = theirs[name] * y_std + y_mean
        np.testing.assert_allclose(ours.posterior[name].values, undone, **close)
    predictive = ours.posterior_predictive["y"].values
    np.testing.assert_allclose(predictive, theirs["y"] * y_std + y_mean, **close)
    prior = ours.prior_predictive["y"].values
    np.testing.assert_allclose(prior, manual.record.prior["y"] * y_std + y_mean, **close)
    log_likelihood = ours.log_likelihood["y"].values
    np.testing.assert_allclose(log_likelihood, theirs["log_likelihood"] - np.log(y_std), **close)
    np.testing.assert_allclose(kept_all.record.draws["noise_scale"], theirs["noise_scale"], **close)
    x_new = X[:4] * 2 - 1
    one, other = kept_all.predict(x_new), manual.predict((x_new - x_mean) / x_std)
    np.testing.assert_allclose(one.mean, other.mean * y_std + y_mean, **close)
    np.testing.assert_allclose(one.std, other.std * y_std, **close)
    np.testing.assert_allclose(one.predictive_std, other.predictive_std * y_std, **close)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_feature_is_centred_and_left_unscaled(dtype):
    x = np.column_stack([np.full(10, 0.1), np.arange(10)]).astype(dtype)
    y = np.full((10, 1), 0.7, dtype)
    standardizer = Standardizer.fit(x, y)
    assert (standardizer.inputs(x)[:, 0] == 0).all()
    assert (standardizer.targets(y) == 0).all()
    assert standardizer.x_std[0] == standardizer.y_std[0] == 1
    moved = standardizer.inputs(x + 1)[0, 0]
    np.testing.assert_allclose(moved, 1, rtol=1e-5)
    assert {a.dtype for a in vars(standardizer).values()} == {np.dtype(dtype)}


def test_standardisation_of_large_float32_values():
    x = np.random.default_rng(0).normal(1, 1, (1000, 1)).astype(np.float32) * np.float32(1e25)
    standard = Standardizer.fit(x, x).inputs(x)
    np.testing.assert_allclose([standard.mean(), standard.std()], [0, 1], atol=1e-4)


# --- warm-up and options


@pytest.mark.parametrize(
    ("kernel", "num_warmup"),
    [
        ("infinite_hmc", 0),
        ("infinite_hmc", 19),
        ("nuts", 0),
        ("mclmc", 0),
        pytest.param("nuts", 19, marks=pytest.mark.slow),
        pytest.param("mclmc", 19, marks=pytest.mark.slow),
    ],
)
def test_short_warm_ups(kernel, num_warmup):
    result = run(num_warmup=num_warmup, kernel=kernel, kernel_options=None, num_samples=3)
    assert np.isfinite(result.record.draws["f"]).all()
    assert result.adapted["step_size"] > 0
    assert np.isfinite(result.adapted["step_size"])
    assert (result.warmup_gradients > 0) == (num_warmup > 0)
    assert result.record.draws["f"].shape[:2] == (2, 3)


@pytest.mark.parametrize(
    ("kernel", "options", "adapted"),
    [
        ("infinite_hmc", {"step_size": 0.3}, {"step_size": 0.3, "num_integration_steps": 5}),
        ("infinite_hmc", {"kick_scale": 0.5}, {"kick_scale": 0.5}),
        (
            "infinite_hmc",
            {"num_integration_steps": 3, "target_acceptance": 0.9},
            {"step_size": np.pi / 6, "num_integration_steps": 3},
        ),
        ("nuts", {"inverse_mass_matrix": np.arange(1.0, 13)}, {}),
        ("ghmc", {"step_size": 0.05, "damping": 2.0}, {"step_size": 0.05, "damping": 2.0}),
        ("mclmc", {"L": 1.5}, {"L": 1.5}),
        ("mclmc", {"step_size": 0.2}, {"step_size": 0.2}),
    ],
)
def test_options_given_are_not_adapted(kernel, options, adapted):
    result = run(kernel=kernel, kernel_options=options, num_warmup=25, num_samples=3)
    for name, value in adapted.items():
        assert result.adapted[name] == pytest.approx(value, rel=1e-6), name
    if "inverse_mass_matrix" in options:
        assert result.adapted["inverse_mass_matrix"] == options["inverse_mass_matrix"].tolist()
    assert np.isfinite(result.record.draws["f"]).all()
    assert np.unique(result.record.draws["f"]).size > N
