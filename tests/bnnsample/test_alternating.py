"""Readout and hidden layers in turn: exact for its target at any step size, on both sides.

Chains start from exact posterior draws: prior draws kept with probability ``p(y | f)``, which is at
most one for labels and counts. After any number of steps they are again independent posterior
draws, whose moments are compared with those of other exact draws.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import bnnsample
from bnnsample import likelihoods, models
from bnnsample.chains._warmup import _Learner, _Segment
from bnnsample.coordinates import Standard, SurrogateRepriorised
from bnnsample.kernels._registry import resolve_kernel
from bnnsample.surrogates import Surrogate

N, STEPS = 3, 3
X = np.random.default_rng(0).normal(size=(N, 2))
MODEL = models.mlp(1, "tanh", readout_weight_std=1.5)
SCALES = models.mlp(
    1, "tanh", weight_std=dist.HalfNormal(1.5), readout_weight_std=dist.LogNormal(0.0, 0.7)
)
LIKELIHOODS = {
    "labels": (likelihoods.Categorical(), np.array([0, 2, 1])),
    "scales": (likelihoods.Categorical(), np.array([0, 2, 1])),
    "counts": (
        likelihoods.from_numpyro(
            lambda f, gain: dist.Poisson(gain * jnp.exp(f)),
            unknowns={"gain": dist.Exponential(1.0)},
        ),
        np.array([1, 0, 1]),
    ),
}
OPTIONS = {
    "alternating": {
        "step_size": 1.0, "num_integration_steps": 2, "num_readout_steps": 2, "kick_scale": 0.7,
    },
    "infinite_hmc": {"step_size": 0.8, "num_integration_steps": 2},
}  # fmt: skip


def exact_draws(posterior, key, count):
    """Network parameters and unknowns of ``count`` draws from the posterior, by rejection."""

    def propose(key):
        network_key, unknown_key, accept_key = jax.random.split(key, 3)
        parameters = posterior.prior_parameters(network_key)
        unknowns = posterior.prior_unknowns(unknown_key)
        values = posterior.unknown_values({"unknowns": unknowns})
        f = posterior.model.at(values).apply(parameters, posterior.x)
        log_prob = jnp.sum(posterior.likelihood.log_prob(posterior.y, f, values))
        accepted = jnp.log(jax.random.uniform(accept_key, dtype=f.dtype)) < log_prob
        return {**parameters, "unknowns": unknowns}, accepted

    proposals, accepted = jax.jit(jax.vmap(propose))(jax.random.split(key, 60 * count))
    kept = np.flatnonzero(accepted)[:count]
    assert len(kept) == count
    return jax.tree.map(lambda a: a[kept], proposals)


def moments(posterior, draws):
    """First and second moments of weights, unknowns and functions, ``[count, k]``."""

    def outputs(draw):
        return posterior.model.at(posterior.unknown_values(draw)).apply(draw, posterior.x)

    f = jax.vmap(outputs)(draws)
    flat = [np.asarray(leaf).reshape(len(f), -1)[:, :4] for leaf in jax.tree.leaves(draws)]
    q = np.hstack([*flat, np.asarray(f).reshape(len(f), -1)])
    return np.hstack([q, q**2, q[:, :1] * q])


@pytest.mark.parametrize("width", [pytest.param(1, marks=pytest.mark.slow), 5])
@pytest.mark.parametrize("name", LIKELIHOODS)
@pytest.mark.parametrize(
    "kernel", ["alternating", pytest.param("infinite_hmc", marks=pytest.mark.slow)]
)
def test_exact_draws_stay_exact_draws(kernel, name, width):
    likelihood, y = LIKELIHOODS[name]
    likelihood, y, _ = likelihood.prepared(y, N)
    model = SCALES if name == "scales" else MODEL
    standard = Standard(model, likelihood, width, jnp.asarray(X), jnp.asarray(y))
    rng = np.random.default_rng(4)
    surrogate = Surrogate(
        jnp.asarray(rng.uniform(0.4, 1.2, N)),
        jnp.asarray(rng.normal(size=(N, standard.num_outputs))),
    )
    posterior = SurrogateRepriorised(
        model, likelihood, width, standard.x, standard.y, surrogate=surrogate
    )
    spec, parameters, _ = resolve_kernel(kernel, OPTIONS[kernel])
    count = 2500
    start, other = (exact_draws(standard, jax.random.key(k), count) for k in (1, 2))

    def chain(args):
        key, draw = args
        unknowns = draw.pop("unknowns")
        state = spec.init(key, spec.view(posterior), posterior.position_of(draw, unknowns))

        def step(i, carry):
            state, moved = carry
            keys = jax.random.fold_in(key, i)
            state, statistics = spec.step(keys, spec.view(posterior), state, parameters)
            return state, moved + statistics.acceptance_rate

        state, moved = jax.lax.fori_loop(0, STEPS, step, (state, 0.0))
        end = posterior.network_parameters(state.position)
        return {**end, "unknowns": state.position["unknowns"]}, moved / STEPS

    keys = jax.random.split(jax.random.key(3), count)
    ends, acceptance = jax.jit(lambda a: jax.lax.map(chain, a))((keys, start))
    # Steps so long that the Metropolis tests matter, and so good that chains move.
    assert 0.2 < float(acceptance.mean()) < 0.97
    got, expected = moments(standard, ends), moments(standard, other)
    error = np.sqrt((got.var(axis=0) + expected.var(axis=0)) / count)
    z = (got.mean(axis=0) - expected.mean(axis=0)) / error
    assert np.abs(z).max() < 4.5, z


def test_only_the_readout_moves_without_hidden_parameters():
    model = models.from_functions(lambda key, x, width: {}, lambda h, x: jnp.tanh(x))
    result = bnnsample.run(
        model,
        (X, np.array([0, 2, 1])),
        width=1,
        likelihood=likelihoods.Categorical(),
        num_warmup=50,
        num_samples=400,
        progress=False,
    )
    assert result.settings["kernel"] == "alternating"
    table = result.diagnostics()
    assert table.ess_per_gradient["expected_observation"] > 0.3
    assert table.r_hat_max["expected_observation"] < 1.05


@pytest.mark.parametrize("coordinates", ["standard", "repriorised"])
def test_refused_without_a_surrogate(coordinates):
    with pytest.raises(ValueError, match=r"'alternating'.*repriorised.*not Gaussian"):
        bnnsample.run(MODEL, (X, X[:, 0]), width=3, coordinates=coordinates, kernel="alternating")


# Effective samples per gradient of 3,200 draws at width 128, errors of a few percent: by passes
# through the network a draw, the hidden layers' acceptance, then class probabilities' and hidden
# weights'.
MEASURED = {
    "digits_1": {3: (0.558, 0.272, 0.112), 4: (0.846, 0.227, 0.175), 5: (0.961, 0.186, 0.181)},
    "digits_4": {4: (0.216, 0.112, 0.026), 5: (0.616, 0.138, 0.083), 6: (0.856, 0.125, 0.119)},
    "breast_cancer_4": {
        2: (0.410, 0.335, 0.099), 3: (0.567, 0.243, 0.123),
        4: (0.815, 0.209, 0.168), 5: (0.911, 0.165, 0.161),
    },
}  # fmt: skip


@pytest.mark.parametrize("case", MEASURED)
def test_the_warm_up_keeps_what_is_best_for_function_and_weights_together(case):
    measured = MEASURED[case]
    learner = object.__new__(_Learner)
    learner.spec, _, _ = resolve_kernel("alternating", None)
    learner.best, learner.best_score, learner.gradients_before = -1, -1.0, 0
    for passes, (acceptance, _, _) in measured.items():
        trial = _Segment(length=40, trial=passes)
        learner.acceptance, learner.gradients = 40 * acceptance, 4 * 40 * passes
        learner._end(trial)
    worth = {passes: function * weights for passes, (_, function, weights) in measured.items()}
    assert learner.best == max(worth, key=worth.get)
