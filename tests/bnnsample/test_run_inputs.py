"""Bad arguments of ``run``: a clear error that names the argument, before anything is compiled."""

import decimal

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
import scipy.sparse

import bnnsample
from bnnsample import _run
from bnnsample.chains import _keep
from bnnsample.chains._program import Program
from bnnsample.coordinates import COORDINATES
from bnnsample.kernels._registry import KERNELS
from bnnsample.likelihoods import Gaussian
from bnnsample.models import from_functions, mlp

N = 5
X = np.random.default_rng(0).normal(size=(N, 2))
Y = X[:, 0] - 0.5 * X[:, 1]
NAN_X, INF_X = X.copy(), X.copy()
NAN_X[3, 1], INF_X[0, 0] = np.nan, np.inf
NAN_Y = np.where(np.arange(N) == 2, -np.inf, Y)


@pytest.fixture(autouse=True)
def _nothing_compiles(monkeypatch):
    """No program is lowered and the backend is not asked: the error comes before either."""

    def refuse(*_, **__):
        pytest.fail("reached compilation")

    monkeypatch.setattr(Program, "__call__", refuse)
    monkeypatch.setattr(_run, "check_backend", refuse)


def run(model=None, data=(X, Y), **settings):
    settings = {"width": 4, "progress": False, "num_warmup": 0, "num_samples": 2, **settings}
    return bnnsample.run(mlp() if model is None else model, data, **settings)


def refuses(error, *words, **arguments):
    with pytest.raises(error) as caught:
        run(**arguments)
    for word in words:
        assert str(word) in str(caught.value), f"{word!r} is not in: {caught.value}"


# --- data


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (NAN_X, Y, ["x has 1", "not finite", "nan", "(3, 1)"]),
        (INF_X, Y, ["x has 1", "not finite", "inf", "(0, 0)"]),
        (jnp.asarray(NAN_X), Y, ["x has 1", "not finite"]),
        (pd.DataFrame(NAN_X), Y, ["x has 1", "not finite"]),
        (X, NAN_Y, ["y has 1", "not finite", "-inf", "(2,)"]),
        (X, pd.Series(NAN_Y), ["y has 1", "not finite"]),
        (X, Y[:4], ["number of data points", "5 in x", "4 in y"]),
        (X[:4], Y, ["number of data points", "4 in x", "5 in y"]),
        (X, Y[:, None].T, ["number of data points", "1 in y"]),
        (np.zeros((0, 2)), np.zeros(0), ["x is empty", "(0, 2)"]),
        (np.zeros((N, 0)), Y, ["x is empty", "(5, 0)"]),
        ([], [], ["x is empty"]),
        (X, np.zeros((N, 0)), ["y is empty", "(5, 0)"]),
        (X, Y[:, None, None], ["y must have shape", "(5, 1, 1)"]),
        (3.0, Y, ["x must have shape", "single number"]),
        (X, np.float64(3), ["y must have shape", "()"]),
        (np.ma.masked_array(X, X > 0), Y, ["x", "masked"]),
        (X, np.ma.masked_array(Y, Y > 0), ["y", "masked"]),
        (pd.DataFrame({"a": pd.array([1, None, 3, 4, 5], "Int64")}), Y, ["x", "not finite"]),
        (X, pd.Series([1.0, 2.0, None, 4.0, 5.0], dtype=object), ["y", "missing"]),
        ([10**400, 1, 2, 3, 4], Y, ["x", "range of float64"]),
        (X.astype(np.float32), Y * 1e300, ["y", "range of float32"]),
    ],
)
def test_data_of_the_wrong_value_or_shape(x, y, words):
    refuses(ValueError, *words, data=(x, y))


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (X.astype(str), Y, ["x must be real and numeric", "<U"]),
        ([["1.0"], ["2.0"], ["3"], ["4"], ["5"]], Y, ["x must be real and numeric"]),
        (X, np.array(["1", 2, 3, 4, 5], dtype=object), ["y must be numeric", "objects"]),
        (X, pd.Series(list("abcde")), ["y must be numeric"]),
        (X, [object()] * N, ["y must be numeric", "objects"]),
        (X + 0j, Y, ["x must be real and numeric", "complex128"]),
        (X, jnp.asarray(Y + 0j), ["y must be real and numeric", "complex128"]),
        (X, [1j, 2, 3, 4, 5], ["y must be real and numeric"]),
        (X, np.array([1j, 2, 3, 4, 5], dtype=object), ["y must be numeric"]),
        ([[1.0], [1.0, 2.0], [1.0], [1.0], [1.0]], Y, ["x is not an array"]),
        (scipy.sparse.csr_matrix(X), Y, ["x must be numeric"]),
        ((row for row in X), Y, ["x must be numeric"]),
        (X, iter(Y), ["y must be numeric"]),
        (pd.date_range("2026-01-01", periods=N), Y, ["x must be real and numeric", "datetime64"]),
        (jax.random.split(jax.random.key(0), N), Y, ["x"]),
        (X, None, ["y"]),
        (X, {"y": Y}, ["y must be numeric"]),
    ],
)
def test_data_of_the_wrong_type(x, y, words):
    if y is None:
        with pytest.raises((TypeError, ValueError), match="y"):
            run(data=(x, y))
        return
    refuses(TypeError, *words, data=(x, y))


@pytest.mark.parametrize(
    "data",
    [X, (X,), (X, Y, Y), {"x": X, "y": Y}, "xy", None, iter((X, Y)), pd.DataFrame(X), 3, b"xy"],
)
def test_data_that_are_no_pair(data):
    with pytest.raises(
        (TypeError, ValueError), match=r"data must be a pair \(x, y\)|single number"
    ):
        run(data=data)


@pytest.mark.parametrize(
    ("x_eval", "words"),
    [
        (NAN_X, ["x_eval has 1", "(3, 1)"]),
        (X[:, :1], ["x_eval must have the trailing shape of x", "(2,)", "(1,)"]),
        (X[0], ["x_eval must have the trailing shape", "(1,)"]),
        (X[None], ["x_eval must have the trailing shape", "(5, 2)"]),
        (np.zeros((0, 2)), ["x_eval is empty"]),
        (1.0, ["x_eval must have shape", "single number"]),
        (np.ma.masked_array(X, X > 0), ["x_eval", "masked"]),
    ],
)
def test_evaluation_points(x_eval, words):
    refuses(ValueError, *words, x_eval=x_eval)
    refuses(TypeError, "x_eval must be real and numeric", x_eval=X.astype(str))


def test_float64_data_beyond_float32_with_64_bit_mode_off():
    for data, extra in (((X * 1e300, Y), {}), ((X, Y), {"x_eval": X * 1e300})):
        with jax.enable_x64(False), pytest.warns(UserWarning, match="64-bit mode is off"):
            refuses(ValueError, "range of float32", data=data, **extra)


# --- the model


@pytest.mark.parametrize(
    ("width", "error", "words"),
    [
        (0, ValueError, ["width must be at least 1", "0"]),
        (-3, ValueError, ["width must be at least 1", "-3"]),
        ([4, 0], ValueError, ["width must be at least 1"]),
        (2**31, ValueError, ["width must be below 2**31"]),
        ([4], ValueError, ["width has 1 entries", "2 layers"]),
        ([4, 4, 4], ValueError, ["width has 3 entries", "2 layers"]),
        ([], ValueError, ["width has 0 entries"]),
        (4.0, TypeError, ["width must be an int", "4.0"]),
        ([4, 4.5], TypeError, ["width must be an int"]),
        ("44", TypeError, ["width must be an int", "44"]),
        (None, TypeError, ["width must be an int", "None"]),
        (True, TypeError, ["width must be an int", "True"]),
        (np.nan, TypeError, ["width must be an int"]),
    ],
)
def test_width(width, error, words):
    refuses(error, *words, model=mlp(depth=2), width=width)


@pytest.mark.parametrize("width", [0, [3, -1], 2**31, [], 4.0, "44", b"4", True, {}], ids=str)
def test_width_of_functions_that_take_none_of_it(width):
    model = from_functions(lambda key, x, width: {}, lambda h, x: x)
    refuses((TypeError, ValueError), "width", model=model, width=width)


def test_width_must_be_given():
    with pytest.raises(TypeError, match="width"):
        bnnsample.run(mlp(), (X, Y))


@pytest.mark.parametrize("model", ["mlp", None, mlp, lambda h, x: x, 3])
def test_not_a_model(model):
    with pytest.raises(TypeError, match=r"model must be a bnnsample\.models\.Model.*got "):
        bnnsample.run(model, (X, Y), width=4)


def test_unknown_activation_lists_the_valid_ones():
    with pytest.raises(ValueError, match=r"'swish'.*erf, gelu, leaky_relu, relu, sin, tanh"):
        mlp(activation="swish")
    with pytest.raises(TypeError):
        mlp(activation=3)


def dense(key, x, width):
    return {"w": jax.random.normal(key, (x.shape[1], width), x.dtype)}


def identity(h, x):
    return x @ h["w"]


@pytest.mark.parametrize(
    ("features", "error", "words"),
    [
        (lambda h, x: x[:, 0], ValueError, ["features", "[n, p]", "(5,)"]),
        (lambda h, x: (x @ h["w"]).T, ValueError, ["features", "[5, p]", "(4, 5)"]),
        (lambda h, x: (x @ h["w"])[:-1], ValueError, ["features", "(4, 4)"]),
        (lambda h, x: (x @ h["w"])[..., None], ValueError, ["features", "(5, 4, 1)"]),
        (lambda h, x: (x @ h["w"])[:, :0], ValueError, ["features", "(5, 0)"]),
        (lambda h, x: jnp.sum(x), ValueError, ["features", "()"]),
        (lambda h, x: (x, x), ValueError, ["features", "tuple"]),
        (lambda h, x: None, ValueError, ["features", "NoneType"]),
        (lambda h, x: (x @ h["w"]).astype(jnp.float32), TypeError, ["features", "float32"]),
        (lambda h, x: (x @ h["w"]).astype(int), TypeError, ["features", "int64", "float64"]),
        (lambda h, x: (x @ h["w"]).astype(complex), TypeError, ["features", "complex128"]),
    ],
)
def test_features_of_the_wrong_shape_or_dtype(features, error, words):
    refuses(error, *words, model=from_functions(dense, features))


@pytest.mark.parametrize(
    ("init", "error", "words"),
    [
        (lambda k, x, w: {"w": jnp.ones((2, w), int)}, TypeError, ["init", "['w']", "int64"]),
        (lambda k, x, w: {"w": jnp.ones((2, w), bool)}, TypeError, ["init", "['w']", "bool"]),
        (lambda k, x, w: {"w": jnp.ones((2, w), jnp.float32)}, TypeError, ["init", "float32"]),
        (lambda k, x, w: {"w": jnp.ones((2, w), complex)}, TypeError, ["init", "complex128"]),
        (lambda k, x, w: {"w": jnp.ones((2, 0), x.dtype)}, ValueError, ["init", "(2, 0)", "empty"]),
    ],
)
def test_hidden_parameters_of_the_wrong_dtype(init, error, words):
    refuses(error, *words, model=from_functions(init, identity))


def test_float32_data_with_float64_hidden_parameters():
    model = from_functions(lambda k, x, w: {"w": jnp.ones((2, w), jnp.float16)}, identity)
    refuses(TypeError, "float16", "float32", model=model, data=(X.astype(np.float32), Y))


def test_the_users_functions_are_never_run_on_numbers():
    """A late refusal has only traced the model."""
    seen = []

    def features(h, x):
        seen.append(isinstance(x, jax.core.Tracer))
        return x @ h["w"]

    model = from_functions(dense, features)
    refuses(ValueError, "the run needs", model=model, num_samples=10**9)
    assert seen
    assert all(seen)


# --- the likelihood


@pytest.mark.parametrize("scale", [0, 0.0, -0.1, np.nan, np.inf, [0.1, -0.1], [], np.zeros(N)])
def test_noise_scale_must_be_positive(scale):
    with pytest.raises(ValueError, match="scale must be positive and finite"):
        Gaussian(scale)


def test_noise_scale_per_output_or_of_another_type():
    with pytest.raises(ValueError, match=r"per output.*not supported"):
        Gaussian(np.ones((1, 2)))
    with pytest.raises(TypeError, match=r"scale must be a positive number.*got 'small'"):
        Gaussian("small")
    with pytest.raises(ValueError, match="positive support"):
        Gaussian(dist.Normal(0.0, 1.0))
    with pytest.raises(ValueError, match="scalar"):
        Gaussian(dist.HalfNormal(np.ones(2)))
    with pytest.raises(ValueError, match="continuous"):
        Gaussian(dist.Poisson(1.0))


def test_noise_scale_per_point_of_the_wrong_length():
    refuses(ValueError, "3 entries", "5 data points", likelihood=Gaussian([0.1, 0.2, 0.3]))


@pytest.mark.parametrize("likelihood", [0.1, "gaussian", Gaussian, dist.HalfNormal(1.0)])
def test_not_a_likelihood(likelihood):
    refuses(TypeError, "likelihood must be a Likelihood", likelihood=likelihood)


# --- kernels and coordinates


@pytest.mark.parametrize("kernel", ["hcm", "", None, 3, ["nuts"], "HMC"])
def test_unknown_kernel_lists_the_valid_ones(kernel):
    refuses(ValueError, "unknown kernel", repr(kernel), *KERNELS, kernel=kernel)


@pytest.mark.parametrize("coordinates", ["polar", None, 0, ["collapsed"]])
def test_unknown_coordinates_list_the_valid_ones(coordinates):
    words = ["unknown coordinates", repr(coordinates), *COORDINATES]
    refuses(ValueError, *words, coordinates=coordinates)


@pytest.mark.parametrize("kernel", KERNELS)
def test_unknown_option_lists_the_valid_ones(kernel):
    valid = KERNELS[kernel].defaults
    refuses(
        ValueError,
        kernel,
        "no option 'epsilon'",
        *valid,
        kernel=kernel,
        kernel_options={"epsilon": 1},
    )


def test_an_option_of_another_kernel():
    refuses(ValueError, "no option 'damping'", kernel="pcn", kernel_options={"damping": 1.0})
    options = {"target_acceptance": 0.5}
    refuses(ValueError, "target_acceptance", kernel="elliptical_slice", kernel_options=options)
    refuses(ValueError, "no option 3", kernel_options={3: 1, "q": 2})


@pytest.mark.parametrize(
    ("kernel", "options", "error"),
    [
        ("infinite_hmc", {"step_size": 0}, ValueError),
        ("infinite_hmc", {"step_size": -0.1}, ValueError),
        ("infinite_hmc", {"step_size": np.nan}, ValueError),
        ("infinite_hmc", {"step_size": np.inf}, ValueError),
        ("infinite_hmc", {"step_size": 2.0}, ValueError),
        ("infinite_hmc", {"step_size": "0.1"}, TypeError),
        ("infinite_hmc", {"step_size": True}, TypeError),
        ("infinite_hmc", {"step_size": [0.1, 0.2]}, TypeError),
        ("infinite_hmc", {"step_size": 10**400}, TypeError),
        ("infinite_hmc", {"num_integration_steps": 0}, ValueError),
        ("infinite_hmc", {"num_integration_steps": 2.0}, TypeError),
        ("infinite_hmc", {"num_integration_steps": True}, TypeError),
        ("infinite_hmc", {"num_integration_steps": 2**31}, ValueError),
        ("infinite_hmc", {"trajectory_angle": 0}, ValueError),
        ("infinite_hmc", {"jitter": 1.0}, ValueError),
        ("infinite_hmc", {"jitter": -0.1}, ValueError),
        ("infinite_hmc", {"kick_scale": 0}, ValueError),
        ("infinite_hmc", {"target_acceptance": 0}, ValueError),
        ("infinite_hmc", {"target_acceptance": 1}, ValueError),
        ("infinite_hmc", {"target_acceptance": np.nan}, ValueError),
        ("infinite_hmc", {"target_acceptance": "high"}, TypeError),
        ("pcn", {"step_size": 1.6}, ValueError),
        ("unitwise", {"num_blocks": 0}, ValueError),
        ("elliptical_slice", {"max_evaluations": 0}, ValueError),
        ("nuts", {"max_num_doublings": -1}, ValueError),
        ("nuts", {"inverse_mass_matrix": -np.ones(12)}, ValueError),
        ("nuts", {"inverse_mass_matrix": np.eye(12)}, ValueError),
        ("hmc", {"inverse_mass_matrix": 1.0}, ValueError),
        ("hmc", {"inverse_mass_matrix": "unit"}, TypeError),
        ("hmc", {"inverse_mass_matrix": np.ones(3)}, ValueError),
        ("ghmc", {"damping": -1}, ValueError),
        ("mclmc", {"L": 0}, ValueError),
    ],
)
def test_impossible_option_values(kernel, options, error):
    (name,) = options
    refuses(error, name, kernel=kernel, kernel_options=options, likelihood=Gaussian(0.1))


@pytest.mark.parametrize("options", [3, "step_size", [("step_size", 1)]])
def test_options_that_are_no_mapping(options):
    refuses(TypeError, "kernel_options must be a dict", kernel_options=options)


@pytest.mark.parametrize("kernel", [name for name in KERNELS if KERNELS[name].needs_dimensions])
def test_nothing_to_move(kernel):
    model = from_functions(lambda k, x, w: {}, lambda h, x: x)
    refuses(
        ValueError, kernel, "nothing to move", model=model, likelihood=Gaussian(0.1), kernel=kernel
    )


@pytest.mark.parametrize("coordinates", ["standard", "repriorised"])
def test_unitwise_needs_collapsed_coordinates(coordinates):
    refuses(ValueError, "unitwise", "collapsed", kernel="unitwise", coordinates=coordinates)


def test_unitwise_needs_a_model_with_units():
    model = from_functions(dense, identity)
    refuses(ValueError, "unitwise", "units", "mlp", model=model, kernel="unitwise")


# --- counts, seeds and the rest


@pytest.mark.parametrize("name", ["num_samples", "num_chains", "thin", "num_warmup"])
def test_counts(name):
    least = 0 if name == "num_warmup" else 1
    for value in (least - 1, -5, np.int64(least - 1)):
        refuses(ValueError, name, f"at least {least}", value, **{name: value})
    for value in (2.0, "2", None, [2], np.float64(3), True, np.bool_(True), np.ones(2, int)):
        refuses(TypeError, name, "must be an int", **{name: value})
    refuses(ValueError, name, 10**30, **{name: 10**30})


@pytest.mark.parametrize("seed", [1.0, "0", None, True, [1, 2], jax.random.key(0)])
def test_seed_of_the_wrong_type(seed):
    refuses(TypeError, "seed must be an int", seed=seed)


@pytest.mark.parametrize("seed", [-1, 2**63, 10**30])
def test_seed_out_of_range(seed):
    refuses(ValueError, "seed must lie between 0 and 2**63 - 1", seed, seed=seed)


@pytest.mark.parametrize("keep", ["some", None, True, 5, "", ["all"]])
def test_unknown_keep(keep):
    refuses(ValueError, "keep must be 'auto', 'all' or 'none'", repr(keep), keep=keep)


def test_keep_all_beyond_memory_says_the_size():
    # 4 chains * 10^8 draws * (2 * 4 + 4 + 5) float64 numbers.
    size = 4 * 10**8 * 17 * 8 / 2**30
    words = ["keep='all' needs", f"{size:.2f} GiB", "available", "keep='auto'"]
    refuses(ValueError, *words, keep="all", num_samples=10**8)


def test_keep_all_is_measured_against_the_available_memory(monkeypatch):
    kept = 4 * 10**5 * 17 * 8
    monkeypatch.setattr(_keep, "available_bytes", lambda: kept)
    words = ["the run needs", f"keep='all' needs {kept / 2**20:.1f} MiB", "keep='auto'"]
    refuses(ValueError, *words, keep="all", num_samples=10**5)
    template = {"w": jax.ShapeDtypeStruct((17,), np.float64)}
    assert _keep.plan_keep("all", template, 4, 10) == (1, 17 * 8)
    assert _keep.available_bytes() == kept


@pytest.mark.parametrize("progress", ["bar", 1.5, object(), print, [True]])
def test_bad_progress(progress):
    refuses(TypeError, "progress must be True, False or an object", progress=progress)


@pytest.mark.parametrize("standardize", ["no", 1, None, "False"])
def test_standardize_is_a_boolean(standardize):
    refuses(TypeError, "standardize must be True or False", standardize=standardize)


def start(**changes):
    one = {
        "hidden": [{"weight": np.zeros((2, 4)), "bias": np.zeros(4)}],
        "readout": np.zeros((5, 1)),
    }
    return {**one, **changes}


@pytest.mark.parametrize(
    ("init", "error", "words"),
    [
        (3, TypeError, ["init must be a mapping or a list", "int"]),
        ([start()], ValueError, ["1 starts", "num_chains is 2"]),
        ([start(), 3], TypeError, ["a start must be a mapping", "int"]),
        ([start(), {"hidden": start()["hidden"]}], ValueError, ["init", "'readout'"]),
        ([start(), start(readout=np.zeros((4, 1)))], ValueError, ["readout", "(5, 1)", "(4, 1)"]),
        ([start(), start(hidden=[])], ValueError, ["init", "structure"]),
        ([start(), start(noise=0.1)], ValueError, ["init", "'noise'", "noise_scale"]),
        ([start(), start(noise_scale=-1.0)], ValueError, ["noise_scale", "-1.0"]),
        ([start(), start(noise_scale=np.nan)], ValueError, ["noise_scale", "nan"]),
        ([start(), start(noise_scale=[0.1, 0.2])], ValueError, ["noise_scale", "(2,)"]),
        ([start(), start(readout="zero")], TypeError, ["init", "'readout'", "str"]),
        (start(), ValueError, ["leading axis of num_chains = 2"]),
        ({"hidden": start()["hidden"], "unknowns": {}}, ValueError, ["leading axis"]),
        ([{"hidden": start()["hidden"], "unknowns": {}}] * 2, ValueError, ["init", "structure"]),
    ],
)
def test_bad_starts(monkeypatch, init, error, words):
    monkeypatch.setattr(_run, "check_backend", lambda platform: None)
    refuses(error, *words, init=init, num_chains=2)


@pytest.mark.parametrize("number", [decimal.Decimal("0.5"), np.float16(0.5)])
def test_numbers_of_other_kinds_reach_the_program(number):
    """The counterpart: unusual but meaningful data get as far as compilation."""
    with pytest.raises(pytest.fail.Exception, match="reached compilation"):
        run(data=([number] * N, Y))
