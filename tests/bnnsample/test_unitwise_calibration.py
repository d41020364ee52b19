"""The unit-wise kernel alone: its sweep keeps the joint law of parameters and data.

As in ``test_calibration.py``: exact posterior draws by drawing parameters and data together, some
steps, and the same distributions after as before, for every way to cut a layer into blocks.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_calibration import MANY, REPLICATES, assert_calibrated, problem

from bnnsample.kernels import unitwise

TINY = {"n": 4, "inputs": 1}
# Shape of the problem, blocks, noise. With 7 units, 2, 3 and 5 blocks make a last block that
# reaches back over units already visited; more blocks than units are as many as units.
CASES = {
    "one_block": ({**TINY, "width": 3}, 1, "large"),
    "two_blocks": ({**TINY, "width": 3}, 2, "large"),
    "more_blocks_than_units": ({**TINY, "width": 3}, 5, "large"),
    "seven_units_one_block": ({**TINY, "width": 7}, 1, "large"),
    "seven_units_two_blocks": ({**TINY, "width": 7}, 2, "large"),
    "seven_units_five_blocks": ({**TINY, "width": 7}, 5, "large"),
    "one_unit": ({**TINY, "width": 1}, 2, "large"),
    "outputs": ({**TINY, "width": 7, "outputs": 3}, 3, "large"),
    "unknown_noise": ({**TINY, "width": 7}, 3, "half_normal"),
    "unknown_noise_one_block": ({**TINY, "width": 3}, 1, "unknown"),
    "no_quantile": ({**TINY, "width": 7, "outputs": 2}, 2, "no_quantile"),
    "two_layers": ({**TINY, "width": (4, 7), "depth": 2}, 3, "large"),
    "two_layers_one_block": ({**TINY, "width": (2, 3), "depth": 2}, 1, "large"),
    "two_layers_unknown_noise": ({**TINY, "width": (3, 5), "depth": 2}, 2, "unknown"),
    "width_as_n": ({"n": 16, "width": 16}, 4, "large"),
    "width_as_n_unknown_noise": ({"n": 16, "width": 16, "outputs": 2}, 16, "unknown"),
}

QUICK = ["seven_units_five_blocks", "outputs"]


def check(name, replicates, seed):
    shape, num_blocks, noise = CASES[name]
    options = {"step_size": 0.5, "num_integration_steps": 2, "num_blocks": num_blocks}
    cut = problem("collapsed", noise, seed=seed, **shape)
    assert_calibrated(*cut.run("unitwise", replicates, options, 6))


@pytest.mark.parametrize("name", QUICK)
def test_sweeps_keep_the_joint_law(name):
    check(name, REPLICATES, 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_sweeps_keep_the_joint_law_over_many_more_replicates(name):
    check(name, MANY, 3)


@pytest.mark.slow
@pytest.mark.parametrize(("noise", "num_blocks"), [("large", 16), ("large", 5), ("unknown", 16)])
def test_sixty_four_units_on_sixty_four_data(noise, num_blocks):
    """The size of a real problem, where the linearised potential is far from the true one."""
    options = {"step_size": 0.3, "num_integration_steps": 2, "num_blocks": num_blocks}
    large = problem("collapsed", noise, n=64, width=64, inputs=10, seed=4)
    assert_calibrated(*large.run("unitwise", REPLICATES // 5, options, 3))


@pytest.mark.parametrize("noise", ["known", "unknown"])
def test_the_state_is_that_of_its_position(noise):
    """The potential and the columns that a sweep updates block by block are the position's own."""
    cut = problem("collapsed", noise, n=16, width=16, outputs=2)
    posterior = cut.posterior(jnp.asarray(np.random.default_rng(0).normal(size=(16, 2))))
    target = posterior.unit_target()
    algorithm = unitwise(target, 0.4, 2, num_blocks=5)
    state = algorithm.init(posterior.prior_draw(jax.random.key(0)))
    step = jax.jit(algorithm.step)
    for i in range(10):
        before = state
        state, info = step(jax.random.key(i), state)
        fresh = algorithm.init(state.position)
        np.testing.assert_allclose(state.potential, fresh.potential, rtol=1e-11)
        np.testing.assert_allclose(state.columns, fresh.columns, rtol=1e-11)
        moved = jnp.any(
            before.position["hidden"][0]["weight"] != state.position["hidden"][0]["weight"]
        )
        assert bool(moved) or info.block_acceptance_rate < 1
