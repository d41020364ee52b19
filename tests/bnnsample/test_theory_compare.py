"""A run beside its theory: exact where it must be, and against scikit-learn and dense Jacobians."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Kernel
from test_results_record import fixed_features, make_record

import bnnsample
import ntk
from bnnsample.likelihoods import Gaussian, Laplace
from bnnsample.models import from_functions, mlp
from bnnsample.results import Result
from bnnsample.theory import alignment, centred_alignment, relative_frobenius

SCALES = (1.3, 0.4, 0.8, 0.25)


@pytest.fixture(scope="module")
def result():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(10, 3)), rng.normal(size=(10, 2))
    return bnnsample.run(
        mlp(1, "relu", *SCALES),
        (x, y),
        width=64,
        likelihood=Gaussian(0.5),
        x_eval=rng.normal(size=(7, 3)),
        num_warmup=100,
        num_samples=200,
        num_chains=2,
        progress=False,
    )


@pytest.fixture(scope="module")
def comparison(result):
    return result.compare_to_theory(num_kernel_draws=3)


@pytest.mark.parametrize("scale", [0.5, None, "per point"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fixed_features_are_their_own_limit(scale, dtype):
    scale = np.linspace(0.4, 0.8, 12) if isinstance(scale, str) else scale
    record = make_record(
        model=fixed_features(),
        likelihood=Gaussian(scale),
        standardize=True,
        dtype=dtype,
        keep_every=2,
    )
    found = Result(record).compare_to_theory(num_kernel_draws=2)
    points = found.to_dataframe()
    close = {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(points.sampled_mean, points.theory_mean, **close)
    np.testing.assert_allclose(points.sampled_std, points.theory_std, **close)
    assert (points[["mean_error", "variance_error"]].abs() < 4).all(axis=None)
    # The features span fewer dimensions than there are points.
    assert "singular" in found.kl_function.reason
    if np.ndim(scale):
        assert "not known" in found.kl_observation.reason
    else:
        assert abs(found.kl_observation.value) < 1e-9
    np.testing.assert_allclose(found.kernels.relative_frobenius, 0, atol=1e-12)
    np.testing.assert_allclose(found.kernels.centred_alignment, 1, rtol=1e-12)


def test_what_is_compared_is_in_the_units_of_the_targets():
    record = make_record(standardize=True, width=64, draws=100, keep_every=2)
    result = Result(record)
    points = result.compare_to_theory(num_kernel_draws=0).points
    prediction = result.predict(record.x_eval)
    np.testing.assert_allclose(points.sampled_mean, prediction.mean.ravel(), rtol=1e-9)
    # predict divides by the number of draws, the comparison by one less.
    np.testing.assert_allclose(points.sampled_std, prediction.std.ravel(), rtol=0.01)


class ArcCosine(Kernel):
    """The NNGP of one hidden relu layer (Cho and Saul 2009, eq. 6), for scikit-learn."""

    def __init__(self):
        pass

    def __call__(self, X, Y=None, eval_gradient=False):
        weight, bias, readout, readout_bias = SCALES
        Y = X if Y is None else Y

        def pre(a, b):
            return weight**2 * np.sum(a * b, axis=-1) / X.shape[1] + bias**2

        norms = np.sqrt(pre(X, X)[:, None] * pre(Y, Y)[None, :])
        angle = np.arccos(np.clip(pre(X[:, None], Y[None, :]) / norms, -1, 1))
        hidden = norms * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi)
        return readout**2 * hidden + readout_bias**2

    def diag(self, X):
        return np.diagonal(self(X))

    def is_stationary(self):
        return False


def test_the_theory_is_gaussian_process_regression(result, comparison):
    record = result.record
    regression = GaussianProcessRegressor(ArcCosine(), alpha=0.25, optimizer=None)
    regression.fit(record.x, record.y)
    mean, std = regression.predict(record.x_eval, return_std=True)
    np.testing.assert_allclose(comparison.points.theory_mean, mean.ravel(), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(comparison.points.theory_std, std.ravel(), rtol=1e-6)
    _, covariance = regression.predict(record.x_eval, return_cov=True)
    kl = comparison.kl_function
    assert kl.num_points == len(covariance) == 7
    # A network of width 64 is near its limit, and not in it.
    assert 0 < kl.value < 2
    assert kl.value > comparison.kl_observation.value > 0


def test_a_joint_kl_is_that_of_the_moments(result, comparison):
    """Against moments put together from the definition, draw by draw."""
    record = result.record
    kept, model = record.kept, record.posterior.model
    means, around = [], []
    for chain in range(2):
        for k in range(len(kept.draws)):
            h = jax.tree.map(lambda a, at=(chain, k): a[at], kept.parameters)["hidden"]
            psi, psi_new = (np.asarray(model.features(h, a)) for a in (record.x, record.x_eval))
            gain = psi_new @ psi.T @ np.linalg.inv(psi @ psi.T + 0.25 * np.eye(10))
            means.append(gain @ record.y)
            around.append(psi_new @ psi_new.T - gain @ psi @ psi_new.T)
    regression = GaussianProcessRegressor(ArcCosine(), alpha=0.25, optimizer=None)
    mean, covariance = regression.fit(record.x, record.y).predict(record.x_eval, return_cov=True)
    expected = 0.0
    for output in range(2):
        own = np.asarray(means)[:, :, output]
        total = np.mean(around, axis=0) + np.cov(own, rowvar=False)
        limit = covariance[..., output] if covariance.ndim == 3 else covariance
        expected += bnnsample.theory.gaussian_kl(own.mean(0), total, mean[:, output], limit)
    plug_in = comparison.kl_function.value + comparison.kl_function.noise
    assert plug_in == pytest.approx(expected, rel=1e-5)


def test_kernels_along_the_chain_are_those_of_dense_jacobians(result, comparison):
    record = result.record
    kept, model = record.kept, record.posterior.model
    count = kept.draws.size
    limits = ntk.infinite_kernel(model)(jnp.asarray(record.x_eval))
    found = {"nngp": [], "ntk": []}
    for index in np.linspace(0, 2 * count - 1, 3).round().astype(int):
        at = divmod(int(index), count)
        p = jax.tree.map(lambda a, at=at: jnp.asarray(a[at]), kept.parameters)
        jacobian = jax.jacrev(model.apply)(p, jnp.asarray(record.x_eval))
        flat = np.concatenate([leaf.reshape(7, 2, -1) for leaf in jax.tree.leaves(jacobian)], -1)
        found["ntk"].append(np.einsum("aop,bop->ab", flat, flat) / 2)
        psi = np.asarray(model.features(p["hidden"], jnp.asarray(record.x_eval)))
        found["nngp"].append(psi @ psi.T)
    for name, kernels in found.items():
        limit = np.asarray(getattr(limits, name))
        row = comparison.kernels.loc[(name, "posterior")]
        for distance in (relative_frobenius, alignment, centred_alignment):
            values = [distance(kernel, limit) for kernel in kernels]
            assert row[distance.__name__] == pytest.approx(np.mean(values), rel=1e-8)
            assert row[f"{distance.__name__}_sd"] == pytest.approx(np.std(values, ddof=1), rel=1e-6)


def test_kernels_of_the_prior_close_in_as_the_root_of_the_width():
    logarithms, variances = [], []
    for width in (64, 1024):
        record = make_record(model=mlp(1), width=width, draws=8, keep_every=2, d=1)
        kernels = Result(record).compare_to_theory(num_kernel_draws=16).kernels
        found = kernels.xs("prior", level="at")
        logarithms.append(np.log(found.relative_frobenius))
        variances.append((found.relative_frobenius_sd / found.relative_frobenius) ** 2 / 16)
    slope = (logarithms[1] - logarithms[0]) / np.log(1024 / 64)
    error = np.sqrt(sum(variances)) / np.log(1024 / 64)
    assert (np.abs(slope + 0.5) < 4 * error).all()
    assert (error < 0.06).all()


def test_a_stored_result_compares_alike(result, comparison, tmp_path):
    result.save(tmp_path / "run.zarr")
    again = bnnsample.load(tmp_path / "run.zarr").compare_to_theory(num_kernel_draws=3)
    assert again.to_dict() == comparison.to_dict()


def test_layers_of_a_network_of_ones_own_are_taken():
    def init(key, x, width):
        return jax.random.normal(key, (x.shape[1], width), x.dtype)

    model = from_functions(init, lambda h, x: jax.nn.relu(x @ h / x.shape[1] ** 0.5))
    result = Result(make_record(model=model))
    with pytest.raises(ValueError, match="give network="):
        result.compare_to_theory()
    layers = ntk.layers
    network = layers.Serial(layers.Dense(), layers.Activation("relu"), layers.Dense(1.0, 0.1))
    given = result.compare_to_theory(network=network, num_kernel_draws=1)
    same = Result(make_record(model=mlp(1, "relu", 1.0, 0.0))).compare_to_theory(num_kernel_draws=1)
    np.testing.assert_allclose(given.points.theory_std, same.points.theory_std)
    with pytest.raises(TypeError, match="layer"):
        result.compare_to_theory(network="relu")


@pytest.mark.parametrize("keep_every", [0, 20])
def test_without_parameters_there_is_nothing_to_compare(keep_every):
    with pytest.raises(ValueError, match=r"at least 4 whole parameter draws.*keep="):
        Result(make_record(keep_every=keep_every)).compare_to_theory()


def test_arguments_that_do_not_fit_are_refused():
    result = Result(make_record())
    with pytest.raises(ValueError, match=r"x must have shape \[m, 3\]"):
        result.compare_to_theory(np.zeros((4, 2)))
    with pytest.raises(ValueError, match="num_kernel_draws must be at least 0, got -1"):
        result.compare_to_theory(num_kernel_draws=-1)
    with pytest.raises(TypeError, match="num_kernel_draws must be an int"):
        result.compare_to_theory(num_kernel_draws=2.5)
    with pytest.raises(TypeError, match="num_kernel_draws must be an int, got True"):
        result.compare_to_theory(num_kernel_draws=True)
    with pytest.raises(TypeError, match=r"seed must be an int, got 1\.5"):
        result.compare_to_theory(seed=1.5)
    with pytest.raises(ValueError, match="seed must lie between 0 and"):
        result.compare_to_theory(seed=-1)
    with pytest.raises(ValueError, match=r"bnnsample\.load"):
        Result(make_record(posterior=None)).compare_to_theory()
    with pytest.raises(ValueError, match=r"needs a Gaussian likelihood.*Laplace"):
        Result(make_record(likelihood=Laplace(1.0))).compare_to_theory()


def test_report_and_dict_are_plain(comparison):
    text = comparison.report()
    assert max(map(len, text.splitlines())) <= 88
    for part in ("width 64", "Wasserstein-2", "KL of the function", "NTK at the prior", "Verdict"):
        assert part in text
    assert "nan" not in text
    assert json.loads(json.dumps(comparison.to_dict()))["num_draws"] == comparison.num_draws
    assert comparison.to_dataframe().index.names == ["eval_point", "output"]


@pytest.mark.parametrize("features", [1, 3])
def test_figures_are_drawn(tmp_path, features):
    record = make_record(d=1)
    x, x_eval = record.x[:, :features], record.x_eval[:, :features]
    posterior = type(record.posterior)(mlp(1), Gaussian(0.5), 5, jnp.asarray(x), record.y)
    template = jax.eval_shape(posterior.prior_parameters, jax.random.key(0))
    rng = np.random.default_rng(0)
    parameters = jax.tree.map(lambda leaf: rng.normal(size=(2, 4, *leaf.shape)), template)
    kept = type(record.kept)(record.kept.draws, parameters, {})
    record = make_record(d=1, x=x, x_eval=x_eval, y=record.y, posterior=posterior, kept=kept)
    record.standardizer.__init__(
        np.zeros(features), np.ones(features), record.standardizer.y_mean, record.standardizer.y_std
    )
    found = Result(record).compare_to_theory(num_kernel_draws=1)
    figure = found.plot(tmp_path / "figure.png")
    assert isinstance(figure, Figure)
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    if features == 1:
        line = figure.axes[0].lines[0].get_xdata()
        np.testing.assert_array_equal(line, np.sort(x_eval[:, 0]))
    else:
        assert len(figure.axes) == 4
