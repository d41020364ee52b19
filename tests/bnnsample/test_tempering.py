"""Cold and warm posteriors: densities against SciPy, and closed forms of linear models."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats as st

import bnnsample
from bnnsample import models, repriorisation
from bnnsample._check_cold import check_cold
from bnnsample.coordinates import COORDINATES, Standard, SurrogateRepriorised, Tempering
from bnnsample.likelihoods import Gaussian, StudentT
from bnnsample.results._ess import mean_ess
from bnnsample.surrogates import Surrogate

N, D = 6, 2
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(N, 3)), RNG.normal(size=(N, D))
MODEL = models.mlp(1, "tanh", readout_weight_std=dist.LogNormal(0.0, 0.5))
LIKELIHOODS = {
    "known": Gaussian(0.4),
    "unknown": Gaussian(),
    "no_quantile": Gaussian(dist.Gamma(2.0)),
}
TEMPERS = ["likelihood", "posterior"]
TEMPERATURE = 0.3
CASES = [(name, tempers, width) for name in LIKELIHOODS for tempers in TEMPERS for width in (3, 11)]


def build(coordinates, name, tempers, width):
    return COORDINATES[coordinates](
        MODEL,
        LIKELIHOODS[name],
        width,
        jnp.asarray(X),
        jnp.asarray(Y),
        tempering=Tempering(TEMPERATURE, tempers),
    )


def parts(name, tempers, position):
    """Features, noise and the unknowns' correction of a position, by NumPy and SciPy.

    A position of a tempered posterior is ``q / sqrt(T)``.
    """
    root = np.sqrt(TEMPERATURE) if tempers == "posterior" else 1.0
    layer = position["hidden"][0]
    weight, bias = root * np.asarray(layer["weight"]), root * np.asarray(layer["bias"])
    z = np.sqrt(2 / 3) * X @ weight + 0.1 * bias
    u = {k: root * float(v) for k, v in position["unknowns"].items()}
    scale = np.exp(0.5 * u["readout_weight_std"])
    psi = np.hstack([scale * np.tanh(z) / np.sqrt(weight.shape[1]), np.full((N, 1), 0.1)])
    sigma, correction = 0.4, 0.0
    if name == "unknown":
        sigma = st.halfnorm.ppf(st.norm.cdf(u["noise_scale"]))
    if name == "no_quantile":
        sigma = np.exp(u["noise_scale"])
        correction = st.gamma(2.0).logpdf(sigma) + u["noise_scale"] + u["noise_scale"] ** 2 / 2
    return root, psi, sigma, correction / root**2


@pytest.mark.parametrize(("name", "tempers", "width"), CASES)
def test_standard_potential(name, tempers, width):
    """``-log p(y | q) / T``, and nothing of the prior but what makes up its N(0, T)."""
    posterior = build("standard", name, tempers, width)
    for seed in range(2):
        position = posterior.prior_draw(jax.random.key(seed))
        root, psi, sigma, correction = parts(name, tempers, position)
        f = psi @ (root * np.asarray(position["readout"]))
        expected = -st.norm(f, sigma).logpdf(Y).sum() / TEMPERATURE - correction
        np.testing.assert_allclose(posterior.potential(position), expected, rtol=1e-10)


@pytest.mark.parametrize(("name", "tempers", "width"), CASES)
@pytest.mark.parametrize("coordinates", ["collapsed", "repriorised"])
def test_collapsed_is_the_standard_density_over_the_readouts_posterior(
    coordinates, name, tempers, width
):
    """``p(h) = p(h, W) / p(W | h)`` at any W, constants included."""
    standard, collapsed = (build(c, name, tempers, width) for c in ("standard", coordinates))
    for seed in range(2):
        position = standard.prior_draw(jax.random.key(seed))
        root, psi, sigma, _ = parts(name, tempers, position)
        psi = root * psi
        tempered = TEMPERATURE * sigma**2
        precision = np.eye(psi.shape[1]) + psi.T @ psi / tempered
        W = np.asarray(position["readout"])
        residual = W - np.linalg.solve(precision, psi.T @ Y / tempered)
        of_readout = D / 2 * (np.linalg.slogdet(precision)[1] - len(W) * np.log(2 * np.pi))
        of_readout -= 0.5 * np.sum(residual * (precision @ residual))
        prior = st.norm.logpdf(W).sum()
        expected = -float(standard.potential(position)) + prior - of_readout
        np.testing.assert_allclose(-float(collapsed.potential(position)), expected, rtol=1e-9)


@pytest.mark.parametrize("tempers", TEMPERS)
def test_units_see_the_temperature(tempers):
    posterior = build("collapsed", "unknown", tempers, 11)
    target = posterior.unit_target()
    position = posterior.prior_draw(jax.random.key(1))
    units, rest = target.split(position)
    M0, z, c = target.base(rest)
    P = target.columns(units, rest)
    M = np.asarray(M0 + P @ P.T)
    value = 0.5 * np.trace(z.T @ np.linalg.solve(M, z)) + D / 2 * np.linalg.slogdet(M)[1]
    np.testing.assert_allclose(value + float(c), posterior.potential(position), rtol=1e-9)


@pytest.mark.parametrize("tempers", TEMPERS)
@pytest.mark.parametrize("width", [3, 11])
def test_through_a_surrogate(tempers, width):
    tempering = Tempering(TEMPERATURE, tempers)
    rng = np.random.default_rng(7)
    surrogate = Surrogate(jnp.asarray(rng.uniform(0.3, 2, N)), jnp.asarray(rng.normal(size=(N, D))))
    fields = MODEL, StudentT(3.0), width, jnp.asarray(X), jnp.asarray(Y)
    standard = Standard(*fields, tempering=tempering)
    posterior = SurrogateRepriorised(*fields, tempering=tempering, surrogate=surrogate)

    def log_density(posterior, position):
        squares = sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(position))
        return -float(posterior.potential(position)) - 0.5 * squares

    for seed in range(2):
        position = posterior.prior_draw(jax.random.key(seed))
        root, psi, _, _ = parts("unknown", tempers, position)
        psi, scale = jnp.asarray(root * psi), 1 / surrogate.root
        W = repriorisation.forward(position["readout"], psi, surrogate.target, scale)
        np.testing.assert_allclose(
            log_density(standard, {**position, "readout": W})
            + float(repriorisation.log_det(psi, scale, D)),
            log_density(posterior, position),
            rtol=1e-10,
        )


LINEAR = models.from_functions(lambda key, x, width: {}, lambda h, x: x, readout_bias_std=0.0)
X_NEW = RNG.normal(size=(3, 3))


@functools.cache
def linear_run(tempers, coordinates="collapsed"):
    return bnnsample.run(
        LINEAR,
        (X, Y),
        width=None,
        likelihood=Gaussian(0.5),
        coordinates=coordinates,
        num_warmup=100,
        num_samples=500,
        x_eval=X_NEW,
        keep="all",
        progress=False,
        temperature=TEMPERATURE,
        tempering=tempers,
    )


def closed_form(tempers):
    """Mean and standard deviation of f at the new points: ridge regression at temperature T."""
    psi, new = X / np.sqrt(3), X_NEW / np.sqrt(3)
    tempered_prior = TEMPERATURE if tempers == "posterior" else 1.0
    precision = np.eye(3) / tempered_prior + psi.T @ psi / (TEMPERATURE * 0.25)
    covariance = np.linalg.inv(precision)
    mean = new @ covariance @ psi.T @ Y / (TEMPERATURE * 0.25)
    return mean, np.sqrt(np.diag(new @ covariance @ new.T))


@pytest.mark.parametrize("coordinates", ["collapsed", "standard"])
@pytest.mark.parametrize("tempers", TEMPERS)
def test_linear_regression_in_closed_form(tempers, coordinates):
    """Predictions exactly, draws within Monte-Carlo error, and the network's own parameters."""
    result = linear_run(tempers, coordinates)
    mean, std = closed_form(tempers)
    prediction = result.predict(X_NEW)
    np.testing.assert_allclose(prediction.mean, mean, rtol=1e-8)
    np.testing.assert_allclose(prediction.std, std[:, None] * np.ones(D), rtol=1e-8)
    noisy = np.sqrt(std**2 + 0.25)
    np.testing.assert_allclose(prediction.predictive_std, noisy[:, None] * np.ones(D), rtol=1e-8)
    f = result.record.draws["f"]
    z = (f.mean(axis=(0, 1)) - mean) / (f.std(axis=(0, 1)) / np.sqrt(mean_ess(f)))
    assert np.abs(z).max() < 4
    squares = (f - mean) ** 2
    error = squares.std(axis=(0, 1)) / np.sqrt(mean_ess(squares))
    assert np.abs((squares.mean(axis=(0, 1)) - std[:, None] ** 2) / error).max() < 4
    parameters = result.parameters(1, 7)
    np.testing.assert_allclose(LINEAR.apply(parameters, jnp.asarray(X_NEW)), f[1, 7], rtol=1e-9)
    # New observations are drawn at temperature 1.
    y = result.record.draws["y"] - f
    assert abs(np.mean(y**2) / 0.25 - 1) < 4 * np.sqrt(2 / y.size)


def test_stored_and_loaded(tmp_path):
    result = linear_run("likelihood")
    assert "likelihood at temperature 0.3" in result.report()
    result.save(tmp_path / "run.zarr")
    loaded = bnnsample.load(tmp_path / "run.zarr", model=LINEAR)
    np.testing.assert_allclose(loaded.predict(X_NEW).std, result.predict(X_NEW).std, rtol=1e-12)
    with pytest.raises(ValueError, match=r"temperature 0\.3"):
        result.kl_to_prior()


def test_a_start_is_in_the_networks_parameters():
    """A chain that does not move stays where ``init`` put it."""
    parameters = MODEL.init(jax.random.key(0), jnp.asarray(X), 3, D)
    start = {**parameters, "readout_weight_std": 0.8}
    result = bnnsample.run(
        MODEL,
        (X, Y),
        width=3,
        likelihood=Gaussian(0.4),
        coordinates="standard",
        kernel="pcn",
        kernel_options={"step_size": 1e-9},
        num_chains=1,
        num_warmup=0,
        num_samples=1,
        init=[start],
        progress=False,
        temperature=TEMPERATURE,
    )
    f = MODEL.at({"readout_weight_std": 0.8}).apply(parameters, jnp.asarray(X))
    np.testing.assert_allclose(result.record.draws["f"][0, 0], f, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"temperature": 0.0}, ValueError, "temperature must be positive"),
        ({"temperature": np.nan}, ValueError, "temperature must be positive"),
        ({"temperature": "cold"}, TypeError, "temperature must be a number"),
        ({"temperature": 0.5, "tempering": "prior"}, ValueError, "tempering must be one of"),
    ],
)
def test_temperatures_that_cannot_be_meant(options, error, words):
    with pytest.raises(error, match=words):
        bnnsample.run(MODEL, (X, Y), width=3, **options)


COLD = {
    "half_normal": (dist.HalfNormal(1.0), False),
    "exponential": (dist.Exponential(1.0), False),
    "gamma": (dist.Gamma(2.0, 1.0), False),
    "wide_log_normal": (dist.LogNormal(0.0, 2.0), False),
    "narrow_log_normal": (dist.LogNormal(0.0, 0.3), True),
    "inverse_gamma": (dist.InverseGamma(2.0, 1.0), True),
}


@pytest.mark.parametrize("tempers", TEMPERS)
@pytest.mark.parametrize(("prior", "exists"), COLD.values(), ids=COLD)
def test_cold_posteriors_that_do_not_exist_are_refused(prior, exists, tempers):
    """Those whose density, the readout integrated out, grows along ever smaller noise scales."""
    likelihood, width = Gaussian(prior), 11
    posterior = COORDINATES["collapsed"](
        MODEL, likelihood, width, jnp.asarray(X), jnp.asarray(Y), tempering=Tempering(0.5, tempers)
    )
    position = posterior.prior_draw(jax.random.key(0))

    def log_density(u):
        unknowns = {**position["unknowns"], "noise_scale": jnp.asarray(u)}
        return -posterior.potential({**position, "unknowns": unknowns}) - u * u / 2

    far, farther = log_density(-10.0), log_density(-11.0)
    assert (farther < far) == exists
    if exists:
        check_cold(posterior)
    else:
        with pytest.raises(ValueError, match=r"temperature=0.5.*noise scale.*prior have no"):
            check_cold(posterior)


def test_cold_posteriors_exist_without_interpolation():
    """Fewer features than points, a noise scale that is known, or a temperature above 1."""
    for likelihood, width, temperature in (
        (Gaussian(), 2, 0.5),
        (Gaussian(0.3), 11, 0.5),
        (Gaussian(), 11, 2.0),
    ):
        check_cold(
            COORDINATES["collapsed"](
                MODEL,
                likelihood,
                width,
                jnp.asarray(X),
                jnp.asarray(Y),
                tempering=Tempering(temperature),
            )
        )


def test_run_refuses_them_at_once():
    with pytest.raises(ValueError, match=r"temperature=0\.5"):
        bnnsample.run(MODEL, (X, Y), width=11, temperature=0.5)
