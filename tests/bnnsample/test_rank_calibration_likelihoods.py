"""Simulation-based calibration by ranks (Talts et al. 2018) where the readout is not Gaussian.

Networks, unknowns and targets are drawn from the model. A chain that starts at another prior draw,
through a surrogate that is fitted to these targets, samples their posterior: the rank of the truth
among its draws is uniform. Learned Gaussian noise is calibrated likewise, in collapsed coordinates.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats as st

from bnnsample import models
from bnnsample.chains._mapping import quiet_blas
from bnnsample.coordinates import chosen
from bnnsample.kernels._registry import resolve_kernel
from bnnsample.likelihoods import Categorical, Gaussian, StudentT

N, WIDTH = 6, 4
X = np.random.default_rng(1).normal(size=(N, 2))
X_NEW = np.array([[0.7, -0.4], [-1.1, 0.2]])
MODEL = models.mlp(1, "tanh", bias_std=0.5, readout_weight_std=1.5)
CASES = {
    "categorical": (Categorical((0, 1, 2)), MODEL),
    "student_t": (StudentT(3.0, dist.LogNormal(-0.7, 0.5)), MODEL),
    # Never so small that steps of one size stand still.
    "learned_noise": (Gaussian(dist.LogNormal(-0.7, 0.5)), MODEL),
    "learned_scales": (
        Categorical((0, 1, 2)),
        models.mlp(1, "tanh", weight_std=dist.HalfNormal(2.0), readout_weight_std=dist.Gamma(2.0)),
    ),
}
OPTIONS = {
    "alternating": {"step_size": 0.8, "num_integration_steps": 2, "num_readout_steps": 4},
    "infinite_hmc": {"step_size": 0.45, "num_integration_steps": 3},
}
# Ranks among dependent draws pile up at both ends: one weight, whose unit must be swapped or turned
# in sign, shows it at 8 steps between draws and does not at 24.
NUM_DRAWS, BETWEEN, BURN_IN = 15, 24, 200
FEW, MANY = 160, 1200
QUANTITIES = 8
LEVEL = 1e-3 / (2 * QUANTITIES * len(CASES))


def measured(posterior, parameters, values, y):
    """The function, the unknowns, and weights of one unit and of all."""
    model = posterior.model.at(values)
    f, f_new = (model.apply(parameters, jnp.asarray(a)) for a in (X, X_NEW))
    (layer,) = (leaves for leaves in parameters["hidden"] if leaves)
    return {
        "f_0": f_new[0, 0],
        "f_1": f_new[1, -1],
        "bias": layer["bias"][0],
        "weight": layer["weight"][0, 0],
        "squares": sum(jnp.sum(leaf**2) for leaf in layer.values()),
        "log_likelihood": jnp.sum(posterior.likelihood.log_prob(y, f, values)),
        **values,
    }


def ranks_of(name, replicates, stretch=1.0):
    """Ranks of the truth among each chain's draws, by quantity, one per data set."""
    likelihood, model = CASES[name]
    kind = chosen("auto", likelihood)[1]
    kernel = "infinite_hmc" if likelihood.is_gaussian else "alternating"
    spec, parameters, _ = resolve_kernel(kernel, OPTIONS[kernel])
    targets = jnp.zeros((N, 1))

    def one(key):
        truth_key, start_key, noise_key, chain_key = jax.random.split(key, 4)
        blank = kind(model, likelihood, WIDTH, jnp.asarray(X), targets)
        network_key, unknown_key = jax.random.split(truth_key)
        network, u = blank.prior_parameters(network_key), blank.prior_unknowns(unknown_key)
        for i, (k, unknown) in enumerate(blank.unknowns.items()):
            if not unknown.has_quantile_map:
                draw = unknown.prior_draw(jax.random.fold_in(unknown_key, i), u[k])
                u[k] = unknown.coordinate(draw)
        values = blank.unknown_values({"unknowns": u})
        f = model.at(values).apply(network, blank.x)
        y = likelihood.sample(noise_key, stretch * f, values, True).astype(f.dtype)
        posterior = kind(model, likelihood, WIDTH, blank.x, y)
        start = posterior.prior_draw(start_key)
        if posterior.is_fitted:
            posterior = posterior.fitted(jax.tree.map(lambda a: a[None], start))
        target = spec.view(posterior)

        def moved(state, key, count):
            def step(state, key):
                return spec.step(key, target, state, parameters)[0], None

            return jax.lax.scan(step, state, jax.random.split(key, count))[0]

        def draw(state, key):
            move_key, readout_key = jax.random.split(key)
            state = moved(state, move_key, BETWEEN)
            position = state.position
            if likelihood.is_gaussian:
                given = posterior.condition(position)
                readout = posterior.readout(readout_key, position, *given)
                found = {"hidden": position["hidden"], "readout": readout}
            else:
                found = posterior.network_parameters(position)
            return state, measured(posterior, found, posterior.unknown_values(position), y)

        init_key, burn_key, *keys = jax.random.split(chain_key, 2 + NUM_DRAWS)
        state = moved(spec.init(init_key, target, start), burn_key, BURN_IN)
        drawn = jax.lax.scan(draw, state, jnp.stack(keys))[1]
        true = measured(posterior, network, values, y)
        return {q: jnp.sum(drawn[q] < true[q]) for q in true}

    with quiet_blas("cpu"):
        keys = jax.random.split(jax.random.key(17), replicates)
        found = jax.jit(lambda k: jax.lax.map(one, k))(keys)
    return {q: np.asarray(ranks) for q, ranks in found.items()}


def uniformity(ranks):
    """P-value of a chi-square test on ranks between 0 and ``NUM_DRAWS``, eight bins."""
    counts = np.bincount(ranks * 8 // (NUM_DRAWS + 1), minlength=8)
    return st.chisquare(counts).pvalue


SIZES = [
    # The others take too long to compile for the default suite.
    pytest.param("learned_noise", FEW),
    *(pytest.param(name, MANY, marks=pytest.mark.slow) for name in CASES),
]


@pytest.mark.parametrize(("name", "replicates"), SIZES)
def test_ranks_are_uniform(name, replicates):
    ranks = ranks_of(name, replicates)
    assert len(ranks) <= QUANTITIES
    p = {quantity: uniformity(r) for quantity, r in ranks.items()}
    assert min(p.values()) > LEVEL, p


@pytest.mark.slow
def test_ranks_see_a_wrong_posterior():
    p = [uniformity(r) for r in ranks_of("student_t", MANY, stretch=1.5).values()]
    assert min(p) < LEVEL
