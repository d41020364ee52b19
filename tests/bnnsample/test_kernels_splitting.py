"""The ends of a trajectory: they add up, mirror one another, and take back the energy error."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from bnnsample.kernels._infinite_hmc import init, integrate
from bnnsample.kernels._splitting import (
    END_INNER,
    END_OUTER,
    LEAST_PROCESSED,
    inner_part,
    outer_part,
)

COUNTS = [1, 2, 3, 4, 5, 6, 9, 40]
WIDEST = 1.4  # radians per interior step, of an oscillator


def parts(n, dtype=jnp.float64):
    count = jnp.asarray(n, jnp.int32)
    inner = [inner_part(i, count, dtype) for i in range(n)]
    return np.asarray(inner), np.asarray([outer_part(i, count, dtype) for i in range(n + 1)])


@pytest.mark.parametrize("n", COUNTS)
def test_parts_add_up_and_mirror_one_another(n):
    inner, outer = parts(n)
    np.testing.assert_allclose([inner.sum(), outer.sum()], n, rtol=1e-12)
    np.testing.assert_array_equal(inner, inner[::-1])
    np.testing.assert_array_equal(outer, outer[::-1])
    assert inner.min() > 0
    assert outer.min() > 0
    assert (n < LEAST_PROCESSED) == (len(set(inner)) == 1)
    assert {a.dtype for a in parts(n, jnp.float32)} == {np.dtype("float32")}


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_parts_are_those_of_strang(n):
    inner, outer = parts(n)
    np.testing.assert_array_equal(inner, np.ones(n))
    np.testing.assert_array_equal(outer, [0.5, *np.ones(n - 1), 0.5])


def end_error(ends, z):
    """``|G|^2 - 2`` of an end ``G`` that should take circles to leapfrog's own ellipses.

    The oscillator ``q'' = -q`` in interior steps ``z``; a step of leapfrog keeps
    ``(1 - z^2 / 4) q^2 + p^2``. ``G`` is orthogonal, and the error zero, where an end does it.
    """
    inner, outer = ends

    def kick(weight):
        return np.array([[1, 0], [-weight * z, 1]])

    first = kick(inner - outer) @ np.array([[1, inner * z], [0, 1]]) @ kick(outer)
    root = np.sqrt(1 - z**2 / 4)
    return np.sum((np.diag([root**0.5, root**-0.5]) @ first) ** 2) - 2


def test_ends_have_the_least_error_of_all():
    """Of the first two parts, by an unrelated search over oscillators of up to 1.4 radians."""
    steps = np.linspace(0.02, WIDEST, 300)

    def worst(ends):
        return np.log(max(end_error(ends, z) for z in steps))

    found = scipy.optimize.minimize(
        worst, (0.8, 0.4), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-9}
    )
    np.testing.assert_allclose(found.x, [END_INNER, END_OUTER], atol=2e-4)


def mean_share_gained(n, z, frequency):
    """Of the energy of ``q'' = -frequency^2 q``, over phases, at ``z`` radians per interior step.

    So fast that the rotation, which brings the Gaussian's part of it, is a drift.
    """

    def potential(q):
        return 0.5 * (frequency**2 - 1) * jnp.sum(q * q)

    interior = n / (n - 2 + 2 * END_INNER) if n >= LEAST_PROCESSED else 1.0

    def one(phase):
        q, p = jnp.cos(phase) / frequency, jnp.sin(phase)
        state = init(q, potential)
        return integrate(potential, state, p, z / frequency / interior, n)[2] / 0.5

    return jnp.mean(jax.vmap(one)(jnp.linspace(0, 2 * jnp.pi, 65)[:-1]))


@pytest.mark.parametrize("n", [4, 5, 6, 9, 17, 40])
def test_oscillators_keep_their_energy(n):
    """A share of 8.6e-4 at most, where leapfrog's is up to 0.24."""
    steps = jnp.linspace(0.3, WIDEST, 24)
    shares = jax.jit(jax.vmap(lambda z: mean_share_gained(n, z, 1000.0)))(steps)
    assert np.max(shares) < 9e-4, shares


@pytest.mark.parametrize("n", [2, 3])
def test_equal_parts_have_the_error_of_leapfrog(n):
    """In closed form: the mean share gained is ``(r^2 + r^-2 - 2) sin(n a)^2 / 2``."""
    z = 1.3
    root, turn = np.sqrt(1 - z**2 / 4), np.arccos(1 - z**2 / 2)
    expected = 0.5 * (root**2 + root**-2 - 2) * np.sin(n * turn) ** 2
    np.testing.assert_allclose(mean_share_gained(n, z, 1000.0), expected, rtol=1e-4)


@pytest.mark.parametrize("n", [2, 5])
def test_trajectories_have_a_reverse_mode(n):
    """Of a Python int of steps, inside a compiled program: against finite differences."""

    def potential(q):
        return 0.1 * jnp.sum(q**4)

    def end(step_size):
        q, p = jnp.array([1.0, -0.5]), jnp.array([0.3, 0.8])
        return jnp.sum(integrate(potential, init(q, potential), p, step_size, n)[0].position)

    got = jax.jit(jax.grad(end))(0.3)
    np.testing.assert_allclose(got, (end(0.3 + 1e-6) - end(0.3 - 1e-6)) / 2e-6, rtol=1e-7)
