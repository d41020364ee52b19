"""Every exact kernel leaves its target invariant, far from the limit of small steps.

Chains start from exact draws, so that after any number of steps the positions of independent
chains are again independent draws of the target: their moments and their distribution are
compared with quadrature, no burn-in and no autocorrelation entering. Two targets: a Gaussian
whose mean is off the reference's, and a skewed one, since a sign error hides in symmetry.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats as st

from bnnsample.kernels._registry import KERNELS, resolve_kernel

NUM_CHAINS = 40_000
NUM_STEPS = 6
# Large enough steps that the Metropolis test, the kick and the rotation all matter.
OPTIONS = {
    "infinite_hmc": {"step_size": 1.1, "num_integration_steps": 2, "trajectory_angle": 2.2},
    "infinite_mala": {"step_size": 1.2},
    "pcn": {"step_size": 1.2},
    "elliptical_slice": {},
    "hmc": {"step_size": 0.5, "num_integration_steps": 3},
    "nuts": {"step_size": 0.6, "max_num_doublings": 3},
    "ghmc": {"step_size": 0.5, "damping": 0.7},
    "mala": {"step_size": 0.4},
    "adjusted_mclmc": {"step_size": 1.0, "num_integration_steps": 2},
}
# Kernels that move units, or the readout in turn, take another target than a plain potential.
EXACT = [
    name
    for name, spec in KERNELS.items()
    if spec.is_exact and spec.is_chain and not (spec.needs_units or spec.needs_surrogate)
]


class Skewed:
    """``x ~ N(x; 0, 1) exp(-softplus-like pull to the right)``, ``y | x`` normal about ``x^2 / 2``.

    The potential is ``log(1 + exp(-4 x)) + (y - b x^2)^2 / (2 s^2)``; given x, y is Gaussian
    in closed form, and the rest is a one-dimensional integral. Both marginals are skewed.
    """

    b, s = 0.5, 0.7

    def potential(self, position):
        x, y = position["x"], position["rest"][0]
        return jnp.logaddexp(0.0, -4 * x) + (y - self.b * x**2) ** 2 / (2 * self.s**2)

    @functools.cached_property
    def grid(self):
        x = np.linspace(-7, 7, 20001)
        log_density = -0.5 * x**2 - np.logaddexp(0, -4 * x)
        log_density -= self.b**2 * x**4 / (2 * (1 + self.s**2))
        density = np.exp(log_density)
        return x, density / scipy.integrate.simpson(density, x=x)

    def expectation(self, values):
        x, density = self.grid
        return scipy.integrate.simpson(values(x) * density, x=x)

    def cdf(self, points):
        x, density = self.grid
        return np.interp(points, x, scipy.integrate.cumulative_trapezoid(density, x, initial=0))

    def draw(self, rng, size):
        x, density = self.grid
        cumulative = scipy.integrate.cumulative_trapezoid(density, x, initial=0)
        first = np.interp(rng.uniform(size=size), cumulative, x)
        variance = self.s**2 / (1 + self.s**2)
        second = self.b * first**2 / (1 + self.s**2) + np.sqrt(variance) * rng.normal(size=size)
        return {"x": jnp.asarray(first), "rest": [jnp.asarray(second)]}

    def moments(self, position):
        x, y = (np.asarray(a) for a in (position["x"], position["rest"][0]))
        return {"x": x, "x2": x**2, "x3": x**3, "y": y, "y2": y**2, "y3": y**3, "xy": x * y}

    @functools.cached_property
    def expected(self):
        c, v = self.b / (1 + self.s**2), self.s**2 / (1 + self.s**2)
        return {
            "x": self.expectation(lambda x: x),
            "x2": self.expectation(lambda x: x**2),
            "x3": self.expectation(lambda x: x**3),
            "y": self.expectation(lambda x: c * x**2),
            "y2": self.expectation(lambda x: c**2 * x**4 + v),
            "y3": self.expectation(lambda x: c**3 * x**6 + 3 * c * x**2 * v),
            "xy": self.expectation(lambda x: c * x**3),
        }

    def uniform(self, position):
        return self.cdf(np.asarray(position["x"]))


class Shifted:
    """``1/2 (q - m)^T B (q - m)`` in four dimensions: Gaussian, correlated, off the origin."""

    m = np.array([1.5, -1.0, 0.5, 2.0])
    B = np.array(
        [[2.0, 0.8, 0.0, 0.3], [0.8, 1.0, -0.4, 0.0], [0.0, -0.4, 1.5, 0.2], [0.3, 0.0, 0.2, 0.5]]
    )
    cov = np.linalg.inv(np.eye(4) + B)
    mean = cov @ B @ m

    def potential(self, position):
        q = jnp.concatenate([position["x"][None], position["rest"][0]]) - self.m
        return 0.5 * q @ (self.B @ q)

    def draw(self, rng, size):
        q = rng.multivariate_normal(self.mean, self.cov, size=size)
        return {"x": jnp.asarray(q[:, 0]), "rest": [jnp.asarray(q[:, 1:])]}

    def _flat(self, position):
        return np.column_stack([position["x"], position["rest"][0]])

    def moments(self, position):
        q = self._flat(position)
        pairs = {(i, j): q[:, i] * q[:, j] for i in range(4) for j in range(i + 1)}
        return {**{i: q[:, i] for i in range(4)}, **pairs}

    @functools.cached_property
    def expected(self):
        second = self.cov + np.outer(self.mean, self.mean)
        pairs = {(i, j): second[i, j] for i in range(4) for j in range(i + 1)}
        return {**dict(enumerate(self.mean)), **pairs}

    def uniform(self, position):
        return st.norm(self.mean[0], self.cov[0, 0] ** 0.5).cdf(np.asarray(position["x"]))


TARGETS = {"skewed": Skewed(), "shifted": Shifted()}
NUM_COMPARISONS = len(EXACT) * sum(len(t.expected) + 1 for t in TARGETS.values())
# One false alarm in a thousand runs of the whole file.
THRESHOLD = st.norm.isf(1e-3 / (2 * NUM_COMPARISONS))


def run_chains(name, target, start, num_steps):
    spec, parameters, _ = resolve_kernel(name, OPTIONS[name])
    if spec.has_metric and parameters["inverse_mass_matrix"] is None:
        dimension = sum(leaf[0].size for leaf in jax.tree.leaves(start))
        parameters["inverse_mass_matrix"] = np.linspace(0.5, 1.0, dimension)

    def chain(key, position):
        keys = jax.random.split(key, num_steps + 1)
        state = spec.init(keys[0], target.potential, position)

        def step(state, key):
            state, statistics = spec.step(key, target.potential, state, parameters)
            return state, statistics.acceptance_rate

        state, rate = jax.lax.scan(step, state, keys[1:])
        return state.position, rate

    keys = jax.random.split(jax.random.key(2024), len(jax.tree.leaves(start)[0]))
    return jax.jit(jax.vmap(chain))(keys, start)


def check(name, target_name, num_chains, num_steps):
    target = TARGETS[target_name]
    start = target.draw(np.random.default_rng(7), num_chains)
    end, rate = run_chains(name, target, start, num_steps)
    assert 0.1 < float(rate.mean()) < 0.995, "steps too small or too large to test anything"
    # Most chains have left their start.
    assert float(jnp.mean(end["x"] != start["x"])) > 0.5
    assert_moments(target, end)


def assert_moments(target, position):
    for moment, values in target.moments(position).items():
        error = values.mean() - target.expected[moment]
        deviations = error / (values.std() / np.sqrt(len(values)))
        assert abs(deviations) < THRESHOLD, f"{moment} is off by {deviations:.1f} standard errors"
    pvalue = st.kstest(target.uniform(position), "uniform").pvalue
    assert pvalue > 1e-3 / NUM_COMPARISONS


def test_every_exact_kernel_has_options_here():
    assert set(OPTIONS) == set(EXACT)


@pytest.mark.parametrize("target", TARGETS)
def test_starting_draws_are_exact(target):
    assert_moments(TARGETS[target], TARGETS[target].draw(np.random.default_rng(7), NUM_CHAINS))


def test_the_comparison_sees_a_biased_start():
    """A twentieth of a standard deviation is seen: the tests below could fail."""
    target = TARGETS["skewed"]
    start = target.draw(np.random.default_rng(7), NUM_CHAINS)
    biased = {**start, "x": start["x"] + 0.05 * start["x"].std()}
    with pytest.raises(AssertionError, match="standard errors"):
        assert_moments(target, biased)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", EXACT)
def test_invariance(name, target):
    check(name, target, NUM_CHAINS, NUM_STEPS)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", EXACT)
def test_invariance_over_many_more_chains(name, target):
    check(name, target, 200_000, 8)


def test_a_step_of_mala_has_its_proposal_and_its_acceptance_rate():
    """``N(q + e grad, 2 e)``, weighed by its density there and back (Roberts and Tweedie 1996)."""
    spec, step, target = KERNELS["mala"], 0.3, Skewed()
    start = jnp.asarray([0.4, -1.1])

    def potential(q):
        return target.potential({"x": q[0], "rest": [q[1]]})

    def log_density(q):
        return -potential(q) - jnp.sum(q**2) / 2

    def proposal(q):
        mean = q + step * jax.grad(log_density)(q)
        return st.multivariate_normal(np.asarray(mean), 2 * step * np.eye(2))

    state = spec.init(jax.random.key(0), potential, start)
    keys = jax.random.split(jax.random.key(1), 2000)
    states, statistics = jax.jit(
        jax.vmap(lambda key: spec.step(key, potential, state, {"step_size": step}))
    )(keys)
    ends, rates = np.asarray(states.position), np.asarray(statistics.acceptance_rate)
    moved = (ends != np.asarray(start)).any(1)
    assert (rates[moved][:50] < 1).sum() > 10
    for end, rate in list(zip(ends[moved], rates[moved], strict=True))[:50]:
        there, back = proposal(start).logpdf(end), proposal(jnp.asarray(end)).logpdf(start)
        ratio = log_density(jnp.asarray(end)) - log_density(start) + back - there
        assert rate == pytest.approx(min(1, np.exp(ratio)), rel=1e-9)
    # Proposals are accepted as often as their rates say.
    assert abs(moved.mean() - rates.mean()) < 4 * np.sqrt(rates.mean() * (1 - rates.mean()) / 2000)
