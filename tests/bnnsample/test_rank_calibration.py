"""Simulation-based calibration by ranks (Talts et al. 2018): long chains, and whole runs.

Parameters and data are drawn from the model; a chain that knows nothing of the parameters samples
the posterior of the data; the rank of the truth among its draws is uniform. Unlike the joint-
distribution tests next door, these chains must also find the posterior from elsewhere.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st
from test_calibration import EXACT, OPTIONS, problem

import bnnsample
from bnnsample.chains._mapping import quiet_blas
from bnnsample.kernels._registry import resolve_kernel

RANKED = ("first_weight", "squares", "readout", "log_likelihood", "f_new", "noise_scale")
NUM_DRAWS, REPLICATES, NUM_RUNS = 15, 400, 40
# Stretches of the steps that test_calibration gives each kernel to move far, between two draws.
BETWEEN, BURN_IN = 20, 60
NUM_COMPARISONS = (2 * len(EXACT) + 2) * len(RANKED)
LEVEL = 1e-3 / NUM_COMPARISONS


def uniformity(ranks, num_draws):
    """P-value of a chi-square test on ranks between 0 and ``num_draws``, eight bins."""
    share = (ranks + 0.5) / (num_draws + 1)
    counts = np.bincount((8 * share).astype(int), minlength=8)
    return st.chisquare(counts).pvalue


def ranks_of(kernel, name, stretch=1.0):
    """Ranks of the true quantities among a chain's draws, by quantity, one per replicate."""
    options, steps = OPTIONS[kernel]
    spec, parameters, _ = resolve_kernel(kernel, options)
    p = problem("collapsed", name, seed=2)
    positions, ys, truth = p.start(REPLICATES)
    elsewhere = jax.tree.map(lambda a: jnp.roll(a, 1, axis=0), positions)
    if spec.has_metric:
        size = sum(leaf[0].size for leaf in jax.tree.leaves(positions))
        parameters["inverse_mass_matrix"] = np.linspace(0.5, 1.0, size)

    def chain(key, position, y):
        posterior = p.posterior(y)
        target = spec.view(posterior)
        first, *rest = jax.random.split(key, 2 + NUM_DRAWS)

        def stretch_of(state, key, count):
            def step(state, key):
                return spec.step(key, target, state, parameters)[0], None

            return jax.lax.scan(step, state, jax.random.split(key, count))[0]

        def draw(state, key):
            move_key, readout_key = jax.random.split(key)
            state = stretch_of(state, move_key, BETWEEN * steps)
            readout = posterior.readout(
                readout_key, state.position, *posterior.condition(state.position)
            )
            drawn = {"hidden": state.position["hidden"], "readout": readout}
            return state, p.measure(posterior, state.position, drawn)

        init_key, burn_key = jax.random.split(first)
        state = stretch_of(spec.init(init_key, target, position), burn_key, BURN_IN * steps)
        return jax.lax.scan(draw, state, jnp.stack(rest))[1]

    program = jax.jit(lambda *args: jax.lax.map(lambda packed: chain(*packed), args))
    with quiet_blas("cpu"):
        drawn = program(p.keys(REPLICATES, 3), elsewhere, stretch * ys)
    return {q: np.asarray((drawn[q] < truth[q][:, None]).sum(axis=1)) for q in RANKED if q in truth}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["known", "unknown"])
@pytest.mark.parametrize("kernel", EXACT)
def test_ranks_are_uniform(kernel, name):
    for quantity, ranks in ranks_of(kernel, name).items():
        assert uniformity(ranks, NUM_DRAWS) > LEVEL, quantity


@pytest.mark.slow
def test_ranks_see_a_wrong_posterior():
    ranks = ranks_of("infinite_hmc", "known", stretch=1.5)
    assert min(uniformity(r, NUM_DRAWS) for r in ranks.values()) < LEVEL


@functools.cache
def simulated(noise):
    """Inputs, and ``NUM_RUNS`` functions, noise scales and targets from the model."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(9, 2))
    model = bnnsample.models.mlp(1, "tanh", bias_std=0.5)
    keys = jax.random.split(jax.random.key(5), NUM_RUNS)
    draw = jax.jit(jax.vmap(lambda k: model.apply(model.init(k, x, 5, 1), x)))
    f = np.asarray(draw(keys))[..., 0]
    scale = np.full(NUM_RUNS, 0.2) if noise == "known" else np.abs(rng.normal(size=NUM_RUNS))
    return model, x, f, scale, f + scale[:, None] * rng.normal(size=f.shape)


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["known", "unknown"])
def test_ranks_of_whole_runs_are_uniform(noise):
    """The default call, its start and warm-up included, on data sets from its own model."""
    model, x, f, scale, y = simulated(noise)
    likelihood = bnnsample.likelihoods.Gaussian(0.2 if noise == "known" else None)
    shares = {"f": [], "noise_scale": []}
    for i in range(NUM_RUNS):
        result = bnnsample.run(
            model,
            (x[1:], y[i, 1:]),
            width=5,
            likelihood=likelihood,
            x_eval=x[:1],
            num_chains=2,
            num_samples=240,
            thin=2,
            seed=i,
            keep="none",
            progress=False,
        )
        draws, truth = result.record.draws, {"f": f[i, 0], "noise_scale": scale[i]}
        for name, share in shares.items():
            if name in draws:
                thinned = draws[name].reshape(2, 240, -1)[:, ::16].ravel()
                share.append((np.sum(thinned < truth[name]) + 0.5) / (thinned.size + 1))
    for name, share in shares.items():
        if share:
            assert st.kstest(share, "uniform").pvalue > LEVEL, name
