"""Gaussian surrogates and the coordinates made of them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.optimize
import scipy.stats as st

from bnnsample import likelihoods, models, repriorisation
from bnnsample.coordinates import Standard, SurrogateRepriorised, chosen
from bnnsample.coordinates._tempering import Tempering
from bnnsample.repriorisation._factor import condition
from bnnsample.repriorisation._image import image_of
from bnnsample.surrogates import FeaturePrior, KernelPrior, Surrogate, fit
from bnnsample.surrogates._fit import MOST, TOLERANCE

N = 6
X = np.random.default_rng(0).normal(size=(N, 3))
MODEL = models.mlp(1, "tanh")
# Both sides of the linear algebra: p = 4 < n and p = 12 > n.
WIDTHS = [3, 11]
REAL = np.random.default_rng(1).normal(size=(N, 2))
LIKELIHOODS = {
    "categorical": (likelihoods.Categorical(), np.array([0, 2, 1, 1, 0, 2])),
    "bernoulli": (likelihoods.Bernoulli(), np.array([0, 1, 1, 0, 0, 1])),
    "poisson": (likelihoods.Poisson(), np.array([0, 3, 1, 0, 6, 2])),
    "student_t": (likelihoods.StudentT(3.0), REAL),
    "laplace": (likelihoods.Laplace(0.4), REAL),
    "heteroscedastic": (likelihoods.HeteroscedasticGaussian(), REAL[:, 0]),
    "numpyro": (likelihoods.from_numpyro(lambda f: dist.Normal(f, 0.3)), REAL),
    "numpyro_classes": (
        likelihoods.from_numpyro(lambda f: dist.Categorical(logits=f), num_outputs=3),
        np.array([0, 2, 1, 1, 0, 2]),
    ),
    "log_prob": (
        likelihoods.from_log_prob(
            lambda y, f, width: -jnp.sum(jnp.logaddexp(y - f, f - y), axis=1) * width,
            unknowns={"width": dist.Gamma(2.0, 1.0)},
        ),
        REAL,
    ),
}
CASES = [(name, width) for name in LIKELIHOODS for width in WIDTHS]


def build(kind, name, width, dtype=np.float64):
    likelihood, y = LIKELIHOODS[name]
    likelihood, y, _ = likelihood.prepared(y, N)
    return kind(MODEL, likelihood, width, jnp.asarray(X, dtype), jnp.asarray(y, dtype))


def with_surrogate(posterior, seed=7):
    """Any surrogate at all: exactness must not need a good one."""
    rng = np.random.default_rng(seed)
    dtype = posterior.y.dtype
    root = jnp.asarray(rng.uniform(0.3, 2, N), dtype)
    target = jnp.asarray(rng.normal(size=(N, posterior.num_outputs)), dtype)
    return SurrogateRepriorised(
        posterior.model,
        posterior.likelihood,
        posterior.width,
        posterior.x,
        posterior.y,
        surrogate=Surrogate(root, target),
    )


def log_density(posterior, position):
    squares = sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(position))
    return -float(posterior.potential(position)) - 0.5 * squares


@pytest.mark.parametrize(("name", "width"), CASES)
def test_density_is_the_standard_one_times_the_jacobian(name, width):
    standard = build(Standard, name, width)
    posterior = with_surrogate(standard)
    surrogate = posterior.surrogate
    for seed in range(3):
        position = posterior.prior_draw(jax.random.key(seed))
        psi = MODEL.features(position["hidden"], posterior.x)
        scale = 1 / surrogate.root
        W = repriorisation.forward(position["readout"], psi, surrogate.target, scale)
        jacobian = float(repriorisation.log_det(psi, scale, posterior.num_outputs))
        np.testing.assert_allclose(
            log_density(standard, {**position, "readout": W}) + jacobian,
            log_density(posterior, position),
            rtol=1e-10,
        )
        parameters = posterior.network_parameters(position)
        np.testing.assert_allclose(parameters["readout"], W, atol=1e-12)
        back = posterior.position_of(parameters, position["unknowns"])
        np.testing.assert_allclose(back["readout"], position["readout"], atol=1e-11)


@pytest.mark.parametrize("width", WIDTHS)
def test_image_follows_the_readout(width):
    """Outputs, adjoint, Gram matrix and marginal likelihood against the dense map."""
    rng = np.random.default_rng(width)
    psi, z = rng.normal(size=(N, width + 1)), rng.normal(size=(N, 2))
    scale = rng.uniform(0.5, 2, N)
    phi, c = rng.normal(size=(width + 1, 2)), rng.normal(size=(N, 2))
    factor, white = condition(jnp.asarray(psi), jnp.asarray(z), jnp.asarray(scale))
    image = image_of(factor, white)
    W = repriorisation.forward(jnp.asarray(phi), psi, z, scale)
    expected = (psi @ np.asarray(W)) / scale[:, None]
    np.testing.assert_allclose(image.outputs(image.of(phi)), expected, rtol=1e-10)
    direction = phi if factor.on_parameter_side else c
    product = float(jnp.sum(image.of(phi) * direction))
    np.testing.assert_allclose(float(jnp.sum(phi * image.back(direction))), product, rtol=1e-10)
    np.testing.assert_allclose(image.gram(direction), image.of(image.back(direction)), rtol=1e-10)
    marginal = st.multivariate_normal(cov=np.eye(N) + psi @ psi.T / np.outer(scale, scale))
    constant = N * 2 * 0.5 * np.log(2 * np.pi)
    expected = marginal.logpdf((z / scale[:, None]).T).sum() + constant
    np.testing.assert_allclose(image.log_marginal, expected, rtol=1e-10)


@pytest.mark.parametrize(("name", "width"), CASES)
def test_conditioned_potential_is_the_potential(name, width):
    posterior = with_surrogate(build(Standard, name, width))
    target = posterior.alternating_target()
    position = posterior.prior_draw(jax.random.key(3))
    phi, unknowns, rest = target.split(position)
    jax.tree.map(np.testing.assert_array_equal, target.join(phi, unknowns, rest), position)
    given = target.conditioned(rest)
    value = given.potential(given.of(phi), unknowns)
    np.testing.assert_allclose(value, posterior.potential(position), rtol=1e-12)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_rebase_keeps_the_network(name):
    old = with_surrogate(build(Standard, name, 11))
    new = with_surrogate(old, seed=8)
    position = old.prior_draw(jax.random.key(0))
    moved = new.rebase(position, old)
    parameters, expected = new.network_parameters(moved), old.network_parameters(position)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-11), parameters, expected)
    # And with it the density of the network, as the Jacobians change.
    assert float(new.potential(moved)) != pytest.approx(float(old.potential(position)))


def test_a_surrogate_of_the_users_own():
    """It is kept, and as cold as the likelihood it stands for."""
    own = likelihoods.from_log_prob(
        lambda y, f: -jnp.sum(jnp.abs(y - f), axis=1),
        surrogate=lambda y: (2 * y, 0.5 + jnp.arange(len(y))),
    )
    posterior = dataclasses.replace(
        build(SurrogateRepriorised, "laplace", 11),
        likelihood=own,
        tempering=Tempering(0.25, "likelihood"),
    )
    positions = jax.vmap(posterior.prior_draw)(jax.random.split(jax.random.key(0), 2))
    found = jax.jit(posterior.fitted)(positions).surrogate
    np.testing.assert_allclose(found.target, 2 * REAL, rtol=1e-12)
    np.testing.assert_allclose(1 / found.root, 0.5 * (0.5 + np.arange(N)), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_fit_is_finite_and_keeps_the_dtype(name, dtype):
    posterior = build(SurrogateRepriorised, name, 11, dtype)
    positions = jax.lax.map(posterior.prior_draw, jax.random.split(jax.random.key(0), 3))
    fitted = posterior.fitted(positions)
    for leaf in jax.tree.leaves(fitted.surrogate):
        assert leaf.dtype == dtype
        assert np.isfinite(leaf).all()
    assert (np.asarray(fitted.surrogate.root) > 0).all()
    value, gradient = jax.value_and_grad(fitted.potential)(fitted.prior_draw(jax.random.key(1)))
    assert value.dtype == dtype
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def kernel_matrix(n, seed=3):
    factor = np.random.default_rng(seed).normal(size=(n, 2 * n))
    return jnp.asarray(factor @ factor.T / (2 * n) + 0.1 * np.eye(n))


def test_priors_by_features_and_by_kernel_are_one():
    """Against dense conditioning of the outputs on Gaussian factors."""
    rng = np.random.default_rng(8)
    n, r, d = 7, 4, 2
    phi, precision = rng.normal(size=(n, r)), rng.uniform(0.1, 5, n)
    natural = rng.normal(size=(n, d))
    K = phi @ phi.T
    gain = K @ np.linalg.inv(K + np.diag(1 / precision))
    for prior in (FeaturePrior(jnp.asarray(phi)), KernelPrior(jnp.asarray(K))):
        np.testing.assert_allclose(prior.variance, np.diag(K), rtol=1e-12)
        mean, variance = prior.posterior(jnp.asarray(precision), jnp.asarray(natural))
        np.testing.assert_allclose(mean, gain @ (natural / precision[:, None]), rtol=1e-9)
        np.testing.assert_allclose(variance, np.diag(K - gain @ K), rtol=1e-9)


@pytest.mark.parametrize("width", [1, 11])
def test_the_prior_of_outputs_is_the_mean_kernel_of_chains(width):
    posterior = with_surrogate(build(Standard, "poisson", width))
    positions = jax.lax.map(posterior.prior_draw, jax.random.split(jax.random.key(0), 3))
    psi = [
        MODEL.features(jax.tree.map(lambda a, c=c: a[c], positions["hidden"]), X) for c in range(3)
    ]
    expected = np.mean([p @ p.T for p in psi], axis=0)
    prior = posterior._output_prior(positions)
    assert isinstance(prior, FeaturePrior if width == 1 else KernelPrior)
    got = prior.features @ prior.features.T if width == 1 else prior.kernel
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_fit_of_a_gaussian_is_the_gaussian():
    """Precisions ``1 / scale^2`` and targets y, up to the noise of the draws."""
    n, d = 5, 4
    scale = np.linspace(0.3, 1.2, n)[:, None]
    y = np.random.default_rng(5).normal(size=(n, d))
    density = lambda f: -0.5 * jnp.sum(((y - f) / scale) ** 2, axis=1)  # noqa: E731
    found = fit(density, KernelPrior(kernel_matrix(n)), d)
    # The estimate is the precision times the mean square of so many standard normal draws.
    error = 4.5 * np.sqrt(2 / (MOST * d)) + TOLERANCE / 0.4
    np.testing.assert_allclose(found.root**2 * scale[:, 0] ** 2, 1, atol=error)
    np.testing.assert_allclose(found.target, y, atol=error * np.abs(y).max())


@pytest.mark.parametrize("variance", [0.5, 4.0, 30.0])
@pytest.mark.parametrize("label", [0, 1])
def test_fit_of_one_label_is_the_variational_optimum(variance, label):
    """Against minimising the divergence by quadrature over the mean and the variance."""
    t, w = np.polynomial.hermite_e.hermegauss(200)
    w = w / w.sum()

    def divergence(parameters):
        mean, log_std = parameters
        f = mean + np.exp(log_std) * t
        expected = w @ -np.logaddexp(0, f if label == 0 else -f)
        prior = 0.5 * (np.exp(2 * log_std) + mean**2) / variance - log_std
        return prior - expected

    best = scipy.optimize.minimize(divergence, [0.0, 0.0], method="Nelder-Mead", tol=1e-10).x
    likelihood, y, _ = likelihoods.Bernoulli((0, 1)).prepared(np.array([label]), 1)
    density = lambda f: likelihood.log_prob(jnp.asarray(y), f, {})  # noqa: E731
    found = fit(density, KernelPrior(jnp.full((1, 1), variance)), 1)
    precision = float(found.root[0]) ** 2
    spread = 1 / (1 / variance + precision)
    mean = spread * precision * float(found.target[0, 0])
    # One output, 256 draws: a tenth in the precision, whose share of the posterior's is below 1.
    assert mean == pytest.approx(best[0], abs=0.2 * np.sqrt(spread))
    assert np.sqrt(spread) == pytest.approx(np.exp(best[1]), rel=0.12)


def test_collapsed_coordinates_are_refused_by_name():
    with pytest.raises(ValueError, match=r"collapsed.*Gaussian likelihood.*Poisson.*repriorised"):
        chosen("collapsed", likelihoods.Poisson())
    assert chosen("auto", likelihoods.Poisson()) == ("repriorised", SurrogateRepriorised)
    assert chosen("auto", likelihoods.Gaussian())[0] == "collapsed"
