"""The p x p and the n x n side of the linear algebra give the same chain, noise terms included."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from bnnsample import models
from bnnsample.coordinates import Collapsed
from bnnsample.kernels._registry import resolve_kernel
from bnnsample.likelihoods import Gaussian
from bnnsample.repriorisation import _marginal

N = 9
LIKELIHOODS = {
    "unknown": Gaussian(dist.LogNormal(0.0, 0.5)),
    "no_quantile": Gaussian(dist.Weibull(0.8, 2.0)),
    "per_point": Gaussian(np.linspace(0.2, 0.8, N)),
}


def on_side(monkeypatch, on_parameter_side):
    monkeypatch.setattr(_marginal, "choose_side", lambda *shape_and_side: on_parameter_side)


@pytest.mark.parametrize(("name", "width"), [*((name, 4) for name in LIKELIHOODS), ("unknown", 15)])
def test_chains_are_the_same(monkeypatch, name, width):
    rng = np.random.default_rng(0)
    x, y = jnp.asarray(rng.normal(size=(N, 2))), jnp.asarray(rng.normal(size=(N, 2)))
    posterior = Collapsed(models.mlp(1, "erf"), LIKELIHOODS[name], width, x, y)
    options = {"step_size": 0.2, "num_integration_steps": 3}
    spec, parameters, _ = resolve_kernel("infinite_hmc", options)

    def chain(key):
        state = spec.init(key, posterior.potential, posterior.prior_draw(key))

        def step(state, key):
            state, statistics = spec.step(key, posterior.potential, state, parameters)
            return state, (state, statistics.acceptance_rate)

        return jax.lax.scan(step, state, jax.random.split(key, 20))[1]

    chains = []
    for side in (True, False):
        on_side(monkeypatch, side)
        # A new function each time: jit would reuse the other side's program.
        chains.append(jax.jit(lambda key: chain(key))(jax.random.key(1)))  # noqa: PLW0108
    # Positions, potentials and gradients, that of the noise scale's coordinate among them.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), *chains)
    rate = chains[0][1]
    assert 0.2 < float(rate.mean()) < 1
