"""The trajectory of infinite-dimensional HMC: reversible, volume preserving, energies exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from bnnsample import kernels, models
from bnnsample.kernels._infinite_hmc import init, integrate
from bnnsample.kernels._infinite_mala import semi_implicit
from bnnsample.repriorisation import log_marginal_likelihood

DIMENSION = 4
STEPS = [1, 2, 3, 4, 7]


def random_potential(seed):
    """A smooth, non-Gaussian, non-separable potential with weights of size one."""
    rng = np.random.default_rng(seed)
    A, b, c = rng.normal(size=(5, DIMENSION)), rng.normal(size=5), rng.normal(size=DIMENSION)
    return lambda q: jnp.sum(jnp.logaddexp(0, A @ q + b)) + 0.3 * jnp.sum(jnp.cos(c * q)) * q[0]


def pair(seed):
    rng = np.random.default_rng([seed, 1])
    return jnp.asarray(rng.normal(size=DIMENSION)), jnp.asarray(rng.normal(size=DIMENSION))


def trajectory(potential, step_size, num_steps, kick_scale=1.0):
    """``(q, p) -> (q', p', energy difference)``."""

    def run(q, p):
        state = init(q, potential)
        end, momentum, difference = integrate(potential, state, p, step_size, num_steps, kick_scale)
        return end.position, momentum, difference

    return run


def hamiltonian(potential, q, p):
    return float(potential(q)) + 0.5 * float(jnp.sum(q**2)) + 0.5 * float(jnp.sum(p**2))


# All kicks of the Hamiltonian flow, scaled ones, and those of the semi-implicit splitting.
CASES = [(n, "full") for n in STEPS] + [
    (1, "gentle"), (3, "gentle"), (5, "gentle"), (1, "semi_implicit"),
]  # fmt: skip


@pytest.fixture(params=CASES, ids=str)
def case(request):
    num_steps, kicks = request.param
    potential = random_potential(num_steps)
    step_size = min(0.6, 1.8 / num_steps)
    kick_scale = {"full": 1.0, "gentle": 0.3, "semi_implicit": semi_implicit(step_size)}[kicks]
    run = jax.jit(trajectory(potential, step_size, num_steps, kick_scale))
    return potential, run, *pair(num_steps)


def test_flipping_the_momentum_returns(case):
    _, run, q, p = case
    q_end, p_end, difference = run(q, p)
    assert float(jnp.linalg.norm(q_end - q)) > 0.1
    q_back, p_back, back_difference = run(q_end, -p_end)
    np.testing.assert_allclose(q_back, q, atol=1e-12)
    np.testing.assert_allclose(-p_back, p, atol=1e-12)
    np.testing.assert_allclose(back_difference, -difference, atol=1e-12)


def test_volume_is_preserved(case):
    _, run, q, p = case

    def flat(z):
        q_end, p_end, _ = run(z[:DIMENSION], z[DIMENSION:])
        return jnp.concatenate([q_end, p_end])

    jacobian = jax.jacfwd(flat)(jnp.concatenate([q, p]))
    np.testing.assert_allclose(jnp.linalg.det(jacobian), 1, rtol=1e-10)
    # Symplectic, not volume preserving by chance.
    zero, one = np.zeros((DIMENSION, DIMENSION)), np.eye(DIMENSION)
    J = np.block([[zero, one], [-one, zero]])
    np.testing.assert_allclose(jacobian.T @ J @ jacobian, J, atol=1e-10)


def test_energy_difference_is_that_of_the_hamiltonian(case):
    potential, run, q, p = case
    q_end, p_end, difference = run(q, p)
    expected = hamiltonian(potential, q_end, p_end) - hamiltonian(potential, q, p)
    assert abs(expected) > 1e-4
    np.testing.assert_allclose(difference, expected, rtol=1e-10, atol=1e-12)


def test_end_state_holds_its_own_potential_and_gradient():
    potential, (q, p) = random_potential(1), pair(1)
    end, _, _ = integrate(potential, init(q, potential), p, 0.3, 3)
    value, gradient = jax.value_and_grad(potential)(end.position)
    np.testing.assert_allclose(end.potential, value, rtol=1e-13)
    np.testing.assert_allclose(end.potential_grad, gradient, rtol=1e-12)


@pytest.mark.parametrize("num_steps", STEPS)
def test_a_flat_potential_is_an_exact_rotation(num_steps):
    q, p = pair(0)
    angle = 0.4 * num_steps
    q_end, p_end, difference = trajectory(lambda q: 0.0 * jnp.sum(q), 0.4, num_steps)(q, p)
    np.testing.assert_allclose(q_end, np.cos(angle) * q + np.sin(angle) * p, rtol=1e-12)
    np.testing.assert_allclose(p_end, np.cos(angle) * p - np.sin(angle) * q, rtol=1e-12)
    assert difference == 0


def test_converges_to_hamiltons_equations_at_second_order():
    """Position and energy errors against SciPy's solver; the fitted order is at least 2."""
    potential, (q, p) = random_potential(3), pair(3)
    gradient = jax.jit(jax.grad(potential))

    def field(t, z):
        return np.concatenate([z[DIMENSION:], -z[:DIMENSION] - gradient(z[:DIMENSION])])

    total = 1.0
    start = np.concatenate([q, p])
    exact = scipy.integrate.solve_ivp(field, (0, total), start, rtol=1e-12, atol=1e-12).y[:, -1]
    errors = []
    counts = [16, 32, 64, 128]
    for count in counts:
        q_end, p_end, _ = jax.jit(trajectory(potential, total / count, count))(q, p)
        errors.append(np.linalg.norm(np.concatenate([q_end, p_end]) - exact))
    order = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert order > 1.9, (order, errors)


def test_traced_step_size_and_number_of_steps():
    """Warm-up adapts both inside one program."""
    potential, (q, p) = random_potential(2), pair(2)
    traced = jax.jit(lambda e, n: trajectory(potential, e, n)(q, p))
    for num_steps in (1, 3):
        fixed = trajectory(potential, 0.3, num_steps)(q, p)
        got = traced(jnp.asarray(0.3), jnp.asarray(num_steps, jnp.int32))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), got, fixed)
    assert traced._cache_size() == 1


def test_infinite_mala_proposes_as_in_the_paper():
    """Cotter et al. 2013, (4.9): ``(2 + d) v = (2 - d) u - 2 d grad U + sqrt(8 d) xi``."""
    angle, (q, _) = 0.5, pair(1)
    delta = 2 * (1 - np.cos(angle)) / (1 + np.cos(angle))
    # A weak potential, so that the proposal is accepted and seen; two keys, one noise.
    potential = random_potential(1)
    weak = [lambda q, w=w: w * potential(q) for w in (0.0, 1e-3)]
    key = jax.random.key(0)
    (free, _), (moved, info) = (
        a.step(key, a.init(q)) for a in (kernels.infinite_mala(u, angle) for u in weak)
    )
    assert info.is_accepted
    expected = -2 * delta / (2 + delta) * 1e-3 * jax.grad(potential)(q)
    np.testing.assert_allclose(moved.position - free.position, expected, rtol=1e-9)
    noise = (free.position - (2 - delta) / (2 + delta) * q) * (2 + delta) / np.sqrt(8 * delta)
    q_end, _, _ = trajectory(weak[1], angle, 1, semi_implicit(angle))(q, noise)
    np.testing.assert_allclose(q_end, moved.position, rtol=1e-11)


@pytest.mark.parametrize("num_steps", [1, 2, 3])
def test_semi_implicit_kicks_solve_a_linear_potential_exactly(num_steps):
    """The flow of ``|q|^2/2 + <g, q>`` is the rotation about ``-g``: no energy error at all."""
    g, (q, p) = np.array([1.0, -2.0, 0.5, 3.0]), pair(0)
    angle = 0.4 * num_steps
    q_end, _, difference = trajectory(lambda q: g @ q, 0.4, num_steps, semi_implicit(0.4))(q, p)
    expected = np.cos(angle) * (q + g) + np.sin(angle) * p - g
    np.testing.assert_allclose(q_end, expected, rtol=1e-11)
    np.testing.assert_allclose(difference, 0, atol=1e-12)


def test_a_million_float32_parameters_are_accepted_on_a_flat_potential():
    position = {
        "a": jax.random.normal(jax.random.key(0), (1000, 900), jnp.float32),
        "b": jax.random.normal(jax.random.key(1), (100_000,), jnp.float32),
    }
    algorithm = kernels.infinite_hmc(lambda q: jnp.zeros((), jnp.float32), 0.4, 4)
    step = jax.jit(algorithm.step)
    state = algorithm.init(position)
    rates = []
    for seed in range(5):
        state, info = step(jax.random.key(seed), state)
        assert info.is_accepted
        rates.append(float(info.acceptance_rate))
    assert min(rates) > 0.999


def wide_network_potential(dtype):
    """Collapsed potential of one hidden layer, 10 inputs, 90 910 units: a million parameters."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, 10)), rng.normal(size=(32, 1))
    x, y = jnp.asarray(x, dtype), jnp.asarray(y, dtype)
    model = models.mlp(1, "gelu")

    def potential(hidden):
        return -log_marginal_likelihood(model.features(hidden, x), y, 0.1)

    return model, x, potential


def energy_differences(num_pairs):
    """float32 and float64 differences over equal (position, momentum) pairs."""
    model, x, _ = wide_network_potential(jnp.float32)
    programs = {}
    for dtype in (jnp.float32, jnp.float64):
        potential = wide_network_potential(dtype)[2]

        def run(q, p, potential=potential):
            return trajectory(potential, 0.5, 3)(q, p)[2]

        programs[dtype] = jax.jit(run)
    differences = []
    for seed in range(num_pairs):
        q, p = (model.init_hidden(key, x, 90_910) for key in jax.random.split(jax.random.key(seed)))
        assert sum(leaf.size for leaf in jax.tree.leaves(q)) > 1_000_000
        row = []
        for dtype, program in programs.items():
            row.append(float(program(*jax.tree.map(lambda a, t=dtype: a.astype(t), (q, p)))))
        differences.append(row)
    return np.asarray(differences).T


def check_energy_differences(num_pairs):
    single, double = energy_differences(num_pairs)
    assert np.abs(double).max() > 0.02, "the trajectories should change the energy at all"
    assert np.mean(np.abs(single - double) < 0.01) >= 0.99


@pytest.mark.optimized
def test_float32_energy_differences_at_a_million_parameters():
    check_energy_differences(20)


@pytest.mark.slow
def test_float32_energy_differences_over_many_pairs():
    check_energy_differences(200)
