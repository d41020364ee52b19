"""Three coordinate systems, one posterior: their densities against SciPy and each other."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats as st

from bnnsample import models, repriorisation
from bnnsample.coordinates import COORDINATES, Collapsed, Repriorised, Standard
from bnnsample.likelihoods import Gaussian

N, D = 6, 2
X = np.random.default_rng(0).normal(size=(N, 3))
Y = np.random.default_rng(1).normal(size=(N, D))
PER_POINT = np.linspace(0.2, 0.7, N)
MODEL = models.mlp(1, "tanh")
# Both sides of the linear algebra: p = 4 < n and p = 12 > n.
WIDTHS = [3, 11]
LIKELIHOODS = {
    "known": Gaussian(0.3),
    "per_point": Gaussian(PER_POINT),
    "unknown": Gaussian(),
    "no_quantile": Gaussian(dist.Weibull(0.5, 2.0)),
}
CASES = [(name, width) for name in LIKELIHOODS for width in WIDTHS]


def build(coordinates, name, width, **reference):
    return COORDINATES[coordinates](
        MODEL, LIKELIHOODS[name], width, jnp.asarray(X), jnp.asarray(Y), **reference
    )


def half_square(tree):
    return 0.5 * sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(tree))


def log_density(posterior, position):
    """``log N(position; 0, I)`` less its constant, minus the potential."""
    return -float(posterior.potential(position)) - half_square(position)


def noise(name, position):
    """The noise scale of each point, from SciPy's quantile function where there is one."""
    if name == "known":
        return np.full(N, 0.3)
    if name == "per_point":
        return PER_POINT
    u = float(position["unknowns"]["noise_scale"])
    sigma = st.halfnorm.ppf(st.norm.cdf(u)) if name == "unknown" else np.exp(u)
    return np.full(N, sigma)


def unknown_log_density(name, position):
    """Log density of the unknown's own u, less that of the N(0, 1) part, up to a constant."""
    if name != "no_quantile":
        return 0.0
    u = float(position["unknowns"]["noise_scale"])
    return st.weibull_min(2.0, scale=0.5).logpdf(np.exp(u)) + u + u**2 / 2


def features(position, width):
    layer = position["hidden"][0]
    z = np.sqrt(2 / 3) * X @ np.asarray(layer["weight"]) + 0.1 * np.asarray(layer["bias"])
    return np.hstack([np.tanh(z) / np.sqrt(width), np.full((N, 1), 0.1)])


@pytest.mark.parametrize(("name", "width"), CASES)
def test_standard_potential_is_minus_the_log_likelihood(name, width):
    posterior = build("standard", name, width)
    for seed in range(3):
        position = posterior.prior_draw(jax.random.key(seed))
        f = features(position, width) @ np.asarray(position["readout"])
        sigma = noise(name, position)[:, None]
        expected = -st.norm(f, sigma).logpdf(Y).sum() - unknown_log_density(name, position)
        np.testing.assert_allclose(posterior.potential(position), expected, rtol=1e-11)


@pytest.mark.parametrize(("name", "width"), CASES)
@pytest.mark.parametrize("coordinates", ["collapsed", "repriorised"])
def test_collapsed_potential_integrates_the_readout_out(coordinates, name, width):
    """``p(y | h) = N(y; 0, Psi Psi^T + sigma^2)``: the closed-form integral of the standard one."""
    posterior = build(coordinates, name, width)
    for seed in range(3):
        position = posterior.prior_draw(jax.random.key(seed))
        psi = features(position, width)
        marginal = st.multivariate_normal(cov=psi @ psi.T + np.diag(noise(name, position) ** 2))
        expected = -marginal.logpdf(Y.T).sum() - unknown_log_density(name, position)
        np.testing.assert_allclose(posterior.potential(position), expected, rtol=1e-10)


@pytest.mark.parametrize(("name", "width"), CASES)
def test_repriorised_density_is_the_standard_one_times_the_jacobian(name, width):
    """``log p_std(h, W(phi)) + log |dW / dphi| = log p_repr(h, phi)``, constants included."""
    standard, repriorised = build("standard", name, width), build("repriorised", name, width)
    for seed in range(3):
        position = repriorised.prior_draw(jax.random.key(seed))
        psi = MODEL.features(position["hidden"], X)
        sigma = repriorised.gaussian_scale(position)
        W = repriorisation.forward(position["readout"], psi, Y, sigma)
        mapped = {**position, "readout": W}
        jacobian = float(repriorisation.log_det(psi, sigma, D))
        np.testing.assert_allclose(
            log_density(standard, mapped) + jacobian,
            log_density(repriorised, position),
            rtol=1e-11,
        )
        # The position's own readout is that W.
        factor, z = repriorised.condition(position)
        readout = repriorised.readout(jax.random.key(0), position, factor, z)
        np.testing.assert_allclose(readout, W, atol=1e-12)


@pytest.mark.parametrize(("name", "width"), CASES)
def test_standard_is_collapsed_times_the_readouts_posterior(name, width):
    """Bayes: ``p(h, W | D) = p(h | D) N(W; mu, Sigma)`` at any W."""
    standard, collapsed = build("standard", name, width), build("collapsed", name, width)
    for seed in range(3):
        position = standard.prior_draw(jax.random.key(seed))
        psi, sigma = features(position, width), noise(name, position)
        weighted = psi / sigma[:, None] ** 2
        Sigma = np.linalg.inv(np.eye(psi.shape[1]) + psi.T @ weighted)
        mu = Sigma @ weighted.T @ Y
        residual = np.asarray(position["readout"]).T - mu.T
        log_posterior = st.multivariate_normal(cov=Sigma).logpdf(residual).sum()
        marginal = {k: v for k, v in position.items() if k != "readout"}
        prior_constant = 0.5 * position["readout"].size * np.log(2 * np.pi)
        np.testing.assert_allclose(
            log_density(standard, position) - prior_constant,
            log_density(collapsed, marginal) + log_posterior,
            rtol=1e-10,
        )


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["per_point", "unknown"])
def test_position_of_and_readout_round_trip(name, width):
    key = jax.random.key(3)
    for coordinates in ("standard", "repriorised"):
        posterior = build(coordinates, name, width)
        parameters = posterior.prior_parameters(key)
        unknowns = posterior.prior_unknowns(key)
        position = posterior.position_of(parameters, unknowns)
        assert jax.tree.structure(position) == jax.tree.structure(posterior.prior_draw(key))
        W = posterior.readout(key, position, *posterior.condition(position))
        np.testing.assert_allclose(W, parameters["readout"], atol=1e-11)
    collapsed = build("collapsed", name, width)
    position = collapsed.position_of(parameters, unknowns)
    assert set(position) == {"hidden", "unknowns"}


@pytest.mark.parametrize("width", WIDTHS)
def test_collapsed_readout_is_an_exact_draw(width):
    """Mean and variance over keys within their Monte-Carlo error."""
    posterior = build("collapsed", "known", width)
    position = posterior.prior_draw(jax.random.key(0))
    factor, z = posterior.condition(position)
    keys = jax.random.split(jax.random.key(1), 8000)
    draws = jax.jit(jax.vmap(lambda k: posterior.readout(k, position, factor, z)))(keys)
    psi = features(position, width)
    Sigma = np.linalg.inv(np.eye(width + 1) + psi.T @ psi / 0.09)
    mu = Sigma @ psi.T @ Y / 0.09
    variance = np.diag(Sigma)[:, None]
    threshold = st.norm.isf(1e-3 / (8 * mu.size))
    assert np.abs(draws.mean(axis=0) - mu).max() < threshold * np.sqrt(variance.max() / 8000)
    error = np.abs(draws.var(axis=0) - variance) / (variance * np.sqrt(2 / 8000))
    assert error.max() < threshold


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("name", ["unknown", "no_quantile"])
def test_another_reference_is_the_same_posterior(coordinates, name):
    """The density in v under two references differs by the constant ``log spread`` alone."""
    old = build(coordinates, name, 3)
    location, spread = {"noise_scale": jnp.asarray(-0.7)}, {"noise_scale": jnp.asarray(0.3)}
    new = old.with_reference(location, spread)
    assert type(new) is type(old)
    differences = []
    for seed in range(4):
        position = old.prior_draw(jax.random.key(seed))
        moved = new.rebase(position, old)
        v = (float(position["unknowns"]["noise_scale"]) + 0.7) / 0.3
        np.testing.assert_allclose(moved["unknowns"]["noise_scale"], v, rtol=1e-12)
        np.testing.assert_allclose(
            new.unknown_values(moved)["noise_scale"],
            old.unknown_values(position)["noise_scale"],
            rtol=1e-12,
        )
        back = old.rebase(moved, new)["unknowns"]["noise_scale"]
        np.testing.assert_allclose(back, position["unknowns"]["noise_scale"], atol=1e-14)
        differences.append(log_density(new, moved) - log_density(old, position))
    np.testing.assert_allclose(differences, differences[0], atol=1e-9)


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_float32_stays_float32_under_jit(coordinates, name):
    posterior = COORDINATES[coordinates](
        MODEL, LIKELIHOODS[name], 3, jnp.asarray(X, jnp.float32), jnp.asarray(Y, jnp.float32)
    )
    position = posterior.prior_draw(jax.random.key(0))
    value, gradient = jax.jit(lambda p, q: jax.value_and_grad(p.potential)(q))(posterior, position)
    leaves = jax.tree.leaves((position, value, gradient))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype(jnp.float32)}
    exact = build(coordinates, name, 3)
    double = jax.tree.map(lambda a: a.astype(jnp.float64), position)
    np.testing.assert_allclose(value, exact.potential(double), rtol=1e-3)
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in leaves)


def test_data_are_leaves_so_that_a_program_takes_them_as_arguments():
    traces = []

    @jax.jit
    def potential(posterior, position):
        traces.append(1)
        return posterior.potential(position)

    first = build("collapsed", "known", 3)
    second = Collapsed(MODEL, LIKELIHOODS["known"], 3, first.x, first.y + 1)
    position = first.prior_draw(jax.random.key(0))
    assert potential(first, position) != potential(second, position)
    assert len(traces) == 1


def test_prior_draws_are_standard_normal():
    posterior = build("repriorised", "unknown", 3)
    draws = jax.jit(jax.vmap(posterior.prior_draw))(jax.random.split(jax.random.key(2), 3000))
    columns = np.concatenate([np.reshape(a, (3000, -1)) for a in jax.tree.leaves(draws)], axis=1)
    assert columns.shape[1] == 3 * 3 + 3 + 4 * D + 1
    pvalues = [st.kstest(c, "norm").pvalue for c in columns.T]
    assert min(pvalues) > 1e-3 / columns.shape[1]
    correlation = np.corrcoef(columns.T) - np.eye(columns.shape[1])
    assert np.abs(correlation).max() < 4.5 / np.sqrt(3000)


def test_names():
    expected = {"standard": Standard, "repriorised": Repriorised, "collapsed": Collapsed}
    assert expected == COORDINATES
