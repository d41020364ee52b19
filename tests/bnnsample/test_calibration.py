"""Simulation-based calibration by the joint distribution (Geweke 2004), for every exact kernel.

Parameters and data drawn together from the model are an exact draw from the posterior of those
data. A kernel that leaves the posterior invariant keeps the joint law of both: whatever is
measured before and after some of its steps has the same distribution. Replicates are independent,
so every standard error is exact; there is no burn-in and no effective sample size to guess.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats as st

from bnnsample import models
from bnnsample.chains._mapping import quiet_blas
from bnnsample.coordinates import COORDINATES
from bnnsample.kernels._registry import KERNELS, resolve_kernel
from bnnsample.likelihoods import Gaussian

LIKELIHOODS = {
    "known": Gaussian(0.2),
    "large": Gaussian(0.4),
    "unknown": Gaussian(dist.LogNormal(-0.7, 0.6)),
    "half_normal": Gaussian(),
    # NumPyro has no quantile function for it: the density of u is corrected instead.
    "no_quantile": Gaussian(dist.Weibull(0.8, 2.0)),
}
EXACT = [
    name
    for name, spec in KERNELS.items()
    if spec.is_exact and spec.is_chain and not spec.needs_surrogate
]
# Options and steps that move the chain far and reject a good part of the proposals.
OPTIONS = {
    "infinite_hmc": ({"step_size": 0.45, "num_integration_steps": 3}, 5),
    "infinite_mala": ({"step_size": 0.4}, 10),
    "unitwise": ({"step_size": 0.8, "num_integration_steps": 2, "num_blocks": 2}, 6),
    "pcn": ({"step_size": 0.4}, 16),
    "elliptical_slice": ({}, 5),
    "hmc": ({"step_size": 0.35, "num_integration_steps": 3}, 4),
    "nuts": ({"step_size": 0.5, "max_num_doublings": 4}, 2),
    "ghmc": ({"step_size": 0.4}, 8),
    "mala": ({"step_size": 0.25}, 12),
    "adjusted_mclmc": ({"step_size": 2.5, "num_integration_steps": 2}, 3),
}
# Of infinite HMC: the readout of the standard coordinates is stiff, as the noise is small.
IN_COORDINATES = {
    "standard": {"step_size": 0.12, "num_integration_steps": 8},
    "repriorised": OPTIONS["infinite_hmc"][0],
    "collapsed": OPTIONS["infinite_hmc"][0],
}
REPLICATES, MANY = 30_000, 200_000
DEGREE = 4
FAMILY_ERROR = 1e-3
# Cases times measurements times degrees in this file and its neighbour for the unit-wise kernel.
NUM_COMPARISONS = 60 * 12 * DEGREE
THRESHOLD = st.norm.isf(FAMILY_ERROR / (2 * NUM_COMPARISONS))


class Problem:
    """Draws from the joint law of parameters and data; one program each for all kernels."""

    def __init__(self, coordinates, name, *, n=8, width=5, depth=1, outputs=1, inputs=2, seed=0):
        self.seed = seed
        x = np.random.default_rng(n).normal(size=(n, inputs))
        self.template = COORDINATES[coordinates](
            models.mlp(depth, "tanh", bias_std=0.5),
            LIKELIHOODS[name],
            width,
            jnp.asarray(x),
            jnp.zeros((n, outputs)),
        )

    def posterior(self, y):
        """The posterior of ``y``; its unknowns' reference is not the prior, as after a warm-up."""
        t = self.template
        reference = (
            {k: jnp.full_like(v, 0.3) for k, v in t.location.items()},
            {k: jnp.full_like(v, 0.7) for k, v in t.spread.items()},
        )
        return type(t)(t.model, t.likelihood, t.width, t.x, y).with_reference(*reference)

    def joint_draw(self, key):
        """A position, its parameters and data ``y`` from the model."""
        h_key, u_key, noise_key = jax.random.split(key, 3)
        t = self.template
        parameters = t.prior_parameters(h_key)
        u = t.prior_unknowns(u_key)
        for name, unknown in t.likelihood.unknowns.items():
            if not unknown.has_quantile_map:
                u[name] = unknown.coordinate(unknown.prior_draw(u_key, u[name]))
        f = t.model.apply(parameters, t.x)
        y = f + t.gaussian_scale({"unknowns": u}) * jax.random.normal(noise_key, f.shape)
        posterior = self.posterior(y)
        v = {k: (u[k] - posterior.location[k]) / posterior.spread[k] for k in u}
        return posterior.position_of(parameters, v), parameters, y

    def measure(self, posterior, position, parameters):
        """What is compared: of the parameters, and of the parameters and the data together."""
        y, noise = posterior.y, posterior.unknown_values(position)
        x_new = jnp.full_like(posterior.x[:1], 0.7)
        f = posterior.model.apply(parameters, posterior.x)
        f_new = posterior.model.apply(parameters, x_new)[0, 0]
        hidden = jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(parameters["hidden"])])
        last_layer = jax.tree.leaves(parameters["hidden"][-1])[-1][-1]
        measured = {
            "first_weight": last_layer[0],
            "last_weight": hidden[-1],
            "middle_unit": last_layer[last_layer.size // 2],
            "squares": jnp.mean(hidden**2),
            "readout": parameters["readout"][0, 0],
            "potential": posterior.potential(position) + posterior.log_correction(position),
            "log_likelihood": jnp.sum(posterior.likelihood.log_prob(y, f, noise)),
            "f_new": f_new,
            "f_new_times_y": f_new * y[0, 0],
            "fit": jnp.mean(y * f),
            **noise,
        }
        if "readout" in position:
            measured["position"] = position["readout"][0, 0]
        return measured

    @functools.cached_property
    def _draw(self):
        def draw(key):
            position, parameters, y = self.joint_draw(key)
            return position, y, self.measure(self.posterior(y), position, parameters)

        return jax.jit(lambda keys: jax.lax.map(draw, keys))

    @functools.cached_property
    def _measure(self):
        def again(key, position, y):
            posterior = self.posterior(y)
            readout = posterior.readout(key, position, *posterior.condition(position))
            parameters = {"hidden": position["hidden"], "readout": readout}
            return self.measure(posterior, position, parameters)

        return jax.jit(lambda *args: jax.lax.map(lambda packed: again(*packed), args))

    @functools.cache  # noqa: B019
    def start(self, replicates):
        return self._draw(jax.random.split(jax.random.key(self.seed), replicates))

    def keys(self, replicates, stream):
        return jax.random.split(jax.random.key(self.seed + 1000 * stream), replicates)

    def run(self, kernel, replicates, options=None, steps=None, stretch=1.0):
        """``(before, after, acceptance rate)`` of ``steps`` of the kernel from exact draws."""
        default_options, default_steps = OPTIONS[kernel]
        spec, parameters, _ = resolve_kernel(kernel, options or default_options)
        positions, ys, before = self.start(replicates)
        if spec.has_metric:
            size = sum(leaf[0].size for leaf in jax.tree.leaves(positions))
            parameters["inverse_mass_matrix"] = np.linspace(0.5, 1.0, size)

        def chain(key, position, y):
            target = spec.view(self.posterior(y))
            keys = jax.random.split(key, 1 + (steps or default_steps))

            def step(state, key):
                state, statistics = spec.step(key, target, state, parameters)
                return state, statistics.acceptance_rate

            state, rate = jax.lax.scan(step, spec.init(keys[0], target, position), keys[1:])
            return state.position, jnp.mean(rate)

        program = jax.jit(lambda *args: jax.lax.map(lambda packed: chain(*packed), args))
        with quiet_blas("cpu"):
            ends, rate = program(self.keys(replicates, 1), positions, stretch * ys)
            after = jax.block_until_ready(self._measure(self.keys(replicates, 2), ends, ys))
        return _numpy(before), _numpy(after), float(rate.mean())


@functools.cache
def problem(coordinates, name, **shape):
    return Problem(coordinates, name, **shape)


def _numpy(tree):
    return {name: np.asarray(value) for name, value in tree.items()}


def deviations(before, after):
    """Neyman's smooth comparison of paired samples, by name and degree, in standard errors.

    Ranks in the pooled sample, in (-1, 1), through Legendre polynomials: bounded, so that the
    mean over thousands of independent replicates is normal whatever the tails.
    """
    z = {}
    for name in before:
        ranks = st.rankdata(np.concatenate([before[name], after[name]]))
        first, second = np.split(2 * (ranks - 0.5) / len(ranks) - 1, 2)
        for degree in range(1, DEGREE + 1):
            polynomial = np.polynomial.Legendre.basis(degree)
            difference = polynomial(second) - polynomial(first)
            error = difference.std() / np.sqrt(len(difference))
            z[name, degree] = difference.mean() / error
    return z


def assert_calibrated(before, after, rate):
    assert 0.15 < rate < 0.995, "steps too small or too large to test anything"
    # The chain has moved far in its parameters.
    assert np.corrcoef(before["squares"], after["squares"])[0, 1] < 0.9
    assert all(np.isfinite(values).all() for values in after.values())
    z = deviations(before, after)
    worst = max(z, key=lambda k: abs(z[k]))
    assert abs(z[worst]) < THRESHOLD, f"{worst} is off by {z[worst]:.1f} standard errors"


def test_every_exact_kernel_has_options_here():
    assert set(OPTIONS) == set(EXACT)


@pytest.mark.parametrize("name", [pytest.param("known", marks=pytest.mark.slow), "unknown"])
@pytest.mark.parametrize("kernel", EXACT)
def test_every_exact_kernel(kernel, name):
    assert_calibrated(*problem("collapsed", name).run(kernel, REPLICATES))


@pytest.mark.parametrize("name", ["known", pytest.param("no_quantile", marks=pytest.mark.slow)])
@pytest.mark.parametrize("coordinates", ["standard", "repriorised"])
def test_coordinates(coordinates, name):
    options = IN_COORDINATES[coordinates]
    assert_calibrated(*problem(coordinates, name).run("infinite_hmc", REPLICATES, options))


@pytest.mark.parametrize(
    "name", [pytest.param("half_normal", marks=pytest.mark.slow), "no_quantile"]
)
def test_priors_of_the_noise_scale(name):
    assert_calibrated(*problem("collapsed", name).run("infinite_hmc", REPLICATES))


@pytest.mark.parametrize(
    "coordinates",
    ["collapsed", *(pytest.param(c, marks=pytest.mark.slow) for c in ("standard", "repriorised"))],
)
def test_more_features_than_data_and_several_outputs(coordinates):
    wide = problem(coordinates, "unknown", width=12, outputs=2)
    assert_calibrated(*wide.run("infinite_hmc", REPLICATES, IN_COORDINATES[coordinates]))


def test_the_comparison_sees_a_slightly_wrong_posterior():
    """The kernel is told data that are 15% too large: its chains are not those of the data."""
    wrong = problem("collapsed", "known").run("infinite_hmc", REPLICATES, stretch=1.15)
    before, after, rate = wrong
    with pytest.raises(AssertionError, match="standard errors"):
        assert_calibrated(before, after, rate)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["known", "unknown"])
@pytest.mark.parametrize("kernel", EXACT)
def test_every_exact_kernel_with_many_more_replicates(kernel, name):
    assert_calibrated(*problem("collapsed", name, seed=1).run(kernel, MANY))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["half_normal", "no_quantile"])
@pytest.mark.parametrize("coordinates", COORDINATES)
def test_coordinates_with_many_more_replicates(coordinates, name):
    options = IN_COORDINATES[coordinates]
    assert_calibrated(*problem(coordinates, name, seed=1).run("infinite_hmc", MANY, options))
