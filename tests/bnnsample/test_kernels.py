"""The four prior-exact kernels on any potential: one protocol, dtypes, traces, bad numbers."""

import itertools

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st
from blackjax.base import SamplingAlgorithm

from bnnsample import kernels
from bnnsample.kernels._metropolis import metropolis

KERNELS = {
    "infinite_hmc": lambda potential: kernels.infinite_hmc(potential, 0.4, 4),
    "infinite_mala": lambda potential: kernels.infinite_mala(potential, 0.4),
    "pcn": lambda potential: kernels.pcn(potential, 0.4),
    "elliptical_slice": kernels.elliptical_slice,
}
GRADIENT_BASED = ["infinite_hmc", "infinite_mala"]
FIELDS = {"acceptance_rate", "is_accepted", "is_divergent", "num_integration_steps"}


def quadratic(position):
    return 0.3 * sum(jnp.sum((leaf - 1) ** 2) for leaf in jax.tree.leaves(position))


def nested(dtype):
    return {
        "layers": [{"w": jnp.ones((2, 3), dtype), "b": jnp.zeros(3, dtype)}, (jnp.ones(2, dtype),)],
        "scale": jnp.zeros((), dtype),
        "nothing": {},
    }


@pytest.fixture(params=KERNELS)
def name(request):
    return request.param


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_protocol(name, dtype):
    algorithm = KERNELS[name](quadratic)
    assert isinstance(algorithm, SamplingAlgorithm)
    state = algorithm.init(nested(dtype))
    new_state, info = jax.jit(algorithm.step)(jax.random.key(0), state)
    assert isinstance(state, tuple)
    assert hasattr(state, "_fields")
    assert isinstance(info, tuple)
    assert set(info._fields) >= FIELDS
    assert type(new_state) is type(state)
    before, after = (jax.tree.map(lambda a: (a.shape, a.dtype), s) for s in (state, new_state))
    assert before == after
    assert {a.dtype for a in jax.tree.leaves(new_state)} == {jnp.dtype(dtype)}
    assert info.acceptance_rate.dtype == dtype
    assert info.acceptance_rate.shape == ()
    assert 0 <= info.acceptance_rate <= 1
    assert jnp.asarray(info.is_accepted).dtype == bool
    assert jnp.asarray(info.is_divergent).dtype == bool
    assert not info.is_divergent
    assert jnp.issubdtype(jnp.asarray(info.num_integration_steps).dtype, jnp.integer)
    np.testing.assert_allclose(new_state.potential, quadratic(new_state.position), rtol=1e-5)


def test_init_and_build_kernel_are_at_hand_as_in_blackjax(name):
    api = getattr(kernels, name)
    state = api.init(nested(jnp.float64), quadratic)
    arguments = {"infinite_hmc": (0.4, 4), "infinite_mala": (0.4,), "pcn": (0.4,)}.get(name, ())
    built, _ = api.build_kernel()(jax.random.key(3), state, quadratic, *arguments)
    algorithm = KERNELS[name](quadratic)
    stepped, _ = algorithm.step(jax.random.key(3), algorithm.init(nested(jnp.float64)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), built, stepped)


def test_blackjax_runs_it(name):
    algorithm = KERNELS[name](quadratic)
    _, (states, info) = blackjax.util.run_inference_algorithm(
        rng_key=jax.random.key(0),
        inference_algorithm=algorithm,
        num_steps=20,
        initial_position=nested(jnp.float64),
    )
    assert states.position["layers"][0]["w"].shape == (20, 2, 3)
    assert info.is_accepted.shape == (20,)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_an_empty_position_stays(name, dtype):
    """Bayesian linear regression in collapsed coordinates has nothing to move."""
    algorithm = KERNELS[name](lambda position: jnp.asarray(1.5, dtype))
    state = algorithm.init({"hidden": []})
    new_state, info = jax.jit(algorithm.step)(jax.random.key(0), state)
    assert new_state.position == {"hidden": []}
    assert new_state.potential == 1.5
    assert new_state.potential.dtype == dtype
    assert info.is_accepted
    assert not info.is_divergent
    assert info.acceptance_rate.dtype == dtype


def test_a_flat_potential_is_always_accepted_and_draws_the_reference(name):
    algorithm = KERNELS[name](lambda q: 0.0 * (jnp.sum(q["a"]) + q["b"]))

    def chain(key):
        start_key, other_key, key = jax.random.split(key, 3)
        start = {"a": jax.random.normal(start_key, (2,)), "b": jax.random.normal(other_key)}
        state, info = algorithm.step(key, algorithm.init(start))
        return state.position, info

    keys = jax.random.split(jax.random.key(0), 4000)
    position, info = jax.jit(jax.vmap(chain))(keys)
    assert jnp.all(info.is_accepted)
    assert jnp.all(info.acceptance_rate == 1)
    columns = np.column_stack([position["a"], position["b"]])
    for column in columns.T:
        assert st.kstest(column, "norm").pvalue > 1e-3 / 12
    # The noise of different leaves is independent.
    assert np.abs(np.corrcoef(columns.T) - np.eye(3)).max() < 4.5 / np.sqrt(4000)


def test_the_potential_is_traced_once_per_program(name):
    """A program is compiled once, whatever the keys and states; each place evaluates it once."""
    traces = []

    def potential(position):
        traces.append(1)
        return quadratic(position)

    algorithm = KERNELS[name](potential)
    state = algorithm.init(nested(jnp.float64))
    traces.clear()
    step = jax.jit(algorithm.step)
    for i in range(4):
        state, _ = step(jax.random.key(i), state)
    # The slice sampler evaluates before and inside its loop; the others at one place.
    assert len(traces) <= (2 if name == "elliptical_slice" else 1)
    assert step._cache_size() == 1


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
def test_proposals_that_are_not_finite_are_rejected_and_counted(name, bad):
    """Finite at the start alone: the chain stays there, for ever, and says so."""
    start = jnp.full(3, 0.5)

    def potential(q):
        return jnp.where(jnp.all(q == start), 0.7, bad + 0.0 * jnp.sum(q))

    algorithm = KERNELS[name](potential)
    state = algorithm.init(start)
    for i in range(3):
        state, info = jax.jit(algorithm.step)(jax.random.key(i), state)
        np.testing.assert_array_equal(state.position, start)
        assert state.potential == 0.7
        assert info.is_divergent
        # All evaluations but the one that finds the start again.
        shrinking = int(info.num_integration_steps) - int(info.is_accepted)
        assert info.num_non_finite == (shrinking if name == "elliptical_slice" else 1)
        assert jnp.isfinite(info.acceptance_rate)
        # The slice shrinks until it finds its start again, which is a point of it.
        assert name == "elliptical_slice" or not info.is_accepted


def test_nan_in_half_of_the_space_is_never_entered(name):
    """The chain samples the finite half, as if the potential were infinite beyond."""

    def potential(q):
        return jnp.where(q[0] > 0, 0.0, jnp.nan) + 0.0 * jnp.sum(q)

    algorithm = KERNELS[name](potential)

    def chain(key):
        start_key, key = jax.random.split(key)
        start = jnp.abs(jax.random.normal(start_key, (2,)))

        def step(state, key):
            state, info = algorithm.step(key, state)
            return state, (state.position[0], state.potential, info.is_divergent)

        return jax.lax.scan(step, algorithm.init(start), jax.random.split(key, 4))[1]

    position, value, divergent = jax.jit(jax.vmap(chain))(jax.random.split(jax.random.key(0), 3000))
    assert jnp.all(position > 0)
    assert jnp.all(jnp.isfinite(value))
    assert 0.02 < float(divergent.mean()) < 0.98
    assert st.kstest(np.asarray(position[:, -1]), "halfnorm").pvalue > 1e-3 / 4


@pytest.mark.parametrize("name", GRADIENT_BASED)
def test_a_nan_gradient_is_never_returned(name):
    """``sqrt`` of a square has a NaN gradient at points where its value is finite."""

    def potential(q):
        safe = jnp.where(q > 0, q, 0.0)
        return jnp.sum(jnp.sqrt(safe) * 0.1)

    algorithm = getattr(kernels, name)(potential, *((0.4, 4) if name == "infinite_hmc" else (0.4,)))
    state = algorithm.init(jnp.full(2, 0.3))
    step = jax.jit(algorithm.step)
    for i in range(50):
        state, _ = step(jax.random.key(i), state)
        assert jnp.all(jnp.isfinite(state.potential_grad))
        assert jnp.all(jnp.isfinite(state.position))


@pytest.mark.parametrize("name", GRADIENT_BASED)
def test_a_large_energy_difference_is_divergent(name):
    api = getattr(kernels, name)
    arguments = (0.7, 3) if name == "infinite_hmc" else (0.7,)

    def steep(q):
        return 1e4 * jnp.sum((q - 1.0) ** 2)

    for threshold, expected in ((1000.0, True), (1e30, False)):
        algorithm = api(steep, *arguments, divergence_threshold=threshold)
        state = algorithm.init(jnp.ones(2))
        new_state, info = algorithm.step(jax.random.key(0), state)
        assert bool(info.is_divergent) == expected
        assert info.num_non_finite == 0
        assert not info.is_accepted
        np.testing.assert_array_equal(new_state.position, state.position)


def test_elliptical_slice_cap_keeps_the_position():
    """A slice so thin that two evaluations do not find it."""
    start = jnp.asarray([2.0, -1.0, 0.5])

    def thin(q):
        return 1e12 * jnp.sum((q - start) ** 2)

    for cap in (1, 2, 7):
        algorithm = kernels.elliptical_slice(thin, max_evaluations=cap)
        state, info = algorithm.step(jax.random.key(0), algorithm.init(start))
        np.testing.assert_array_equal(state.position, start)
        assert state.potential == 0
        assert info.num_integration_steps == cap
        assert not info.is_accepted
        assert not info.is_divergent
        np.testing.assert_allclose(info.acceptance_rate, 1 / cap)


def test_elliptical_slice_counts_evaluations():
    """The count over a chain equals the calls of the potential, made on the host."""
    calls = []

    def potential(q):
        jax.debug.callback(lambda _: calls.append(1), q[0])
        return 30 * jnp.sum((q - 1.0) ** 2)

    algorithm = kernels.elliptical_slice(potential)
    state = algorithm.init(jnp.ones(2))
    jax.effects_barrier()
    calls.clear()
    total = 0
    for i in range(5):
        state, info = algorithm.step(jax.random.key(i), state)
        total += int(info.num_integration_steps)
    jax.effects_barrier()
    assert len(calls) == total > 5


def test_elliptical_slice_starting_at_nan_stays():
    algorithm = kernels.elliptical_slice(lambda q: jnp.nan * jnp.sum(q), max_evaluations=5)
    state, info = algorithm.step(jax.random.key(0), algorithm.init(jnp.ones(2)))
    np.testing.assert_array_equal(state.position, np.ones(2))
    assert info.is_divergent
    assert not info.is_accepted


def test_metropolis_accepts_with_probability_exp_minus_the_difference():
    keys = jax.random.split(jax.random.key(0), 20_000)
    for difference, probability in (
        (-0.5, 1.0),
        (0.0, 1.0),
        (0.7, np.exp(-0.7)),
        (3.0, np.exp(-3)),
    ):
        verdict = jax.vmap(lambda k, d=difference: metropolis(k, jnp.asarray(d)))(keys)
        np.testing.assert_allclose(verdict.acceptance_rate, probability, rtol=1e-12)
        error = abs(float(verdict.is_accepted.mean()) - probability)
        assert error <= 4 * np.sqrt(probability * (1 - probability) / len(keys))
        assert not jnp.any(verdict.is_divergent)


def test_keys_decide_everything(name):
    algorithm = KERNELS[name](quadratic)
    state = algorithm.init(nested(jnp.float64))
    step = jax.jit(algorithm.step)
    ends = [step(jax.random.key(i), state)[0].position["layers"][0]["w"] for i in (0, 0, 1, 2, 3)]
    np.testing.assert_array_equal(ends[0], ends[1])
    moved = [e for e in ends if not np.allclose(e, 1)]
    assert all(not np.allclose(a, b) for a, b in itertools.combinations(moved[1:], 2))
    # Noise is independent over leaves and entries.
    assert all(len(np.unique(e)) == e.size for e in moved)
