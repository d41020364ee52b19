"""Where chains start: finite states, drawn from the prior or given by the user."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bnnsample._processes import to_host
from bnnsample.chains._breakdown import why_not_finite
from bnnsample.chains._devices import Devices
from bnnsample.chains._given import given_positions
from bnnsample.chains._mapping import map_chains
from bnnsample.chains._program import Program
from bnnsample.coordinates import Posterior
from bnnsample.kernels._importance import Choice
from bnnsample.kernels._spec import KernelSpec

MAX_STARTS = 10
# Kernels of so many prior draws are averaged; the warm-up takes the chains' own.
NUM_FITTED = 4


def start_chains(
    posterior: Posterior, spec: KernelSpec, keys: Array, init: Any, devices: Devices
) -> tuple[Any, Program]:
    """One finite kernel state per chain, stacked, and the program that makes states.

    Raises:
        FloatingPointError: a chain's potential or gradient is not finite, after
            ``MAX_STARTS`` prior draws or at the position the user gave.
    """

    def make_states(posterior, keys, positions):
        def one(key, position):
            return spec.init(key, spec.view(posterior), position)

        return devices.map_chains(one)(keys, positions)

    def draw_positions(posterior, keys):
        return devices.map_chains(posterior.prior_draw)(keys)

    program = Program(make_states, devices)
    if init is not None:
        states = program(posterior, keys, given_positions(posterior, init, len(keys)))
        bad = np.flatnonzero(~finite_chains(states))
        if bad.size:
            raise FloatingPointError(
                f"init: the potential or its gradient is not finite where chain {bad[0]} starts"
                + why_not_finite(posterior, states.position, int(bad[0]))
            )
        return states, program
    draw = Program(draw_positions)

    def attempt(i):
        position_keys, state_keys = (
            jax.vmap(jax.random.fold_in, (0, None))(keys, 2 * i + j) for j in range(2)
        )
        return program(posterior, state_keys, draw(posterior, position_keys))

    states = attempt(0)
    for i in range(1, MAX_STARTS + 1):
        finite = finite_chains(states)
        if finite.all():
            return states, program
        if i < MAX_STARTS:
            states = jax.tree.map(functools.partial(_where, finite), states, attempt(i))
    first = int(np.flatnonzero(~finite)[0])
    raise FloatingPointError(
        f"chain {first} found no start with a finite potential in "
        f"{MAX_STARTS} draws from the prior: the noise scale may be too small for the data's "
        "scale or for float32, or the model's features or the log-likelihood are not finite; "
        "standardise the data, use float64, or give init="
        + why_not_finite(posterior, states.position, first)
    )


def fitted_to_prior(posterior: Posterior, key: Array, devices: Devices) -> Posterior:
    """The posterior with what it learns before any chain moves, from a few prior draws."""
    if not posterior.is_fitted:
        return posterior

    def fit(posterior, keys):
        return posterior.fitted(map_chains(posterior.prior_draw, devices.platform)(keys))

    fitted = Program(fit)(posterior, jax.random.split(key, NUM_FITTED))
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(fitted)):
        raise FloatingPointError(
            "no Gaussian surrogate of the likelihood was found: the model's features or the "
            "log-likelihood's gradient are not finite at prior draws; standardise the data, or "
            "use float64 or coordinates='standard'"
        )
    return fitted


def state_shapes(posterior: Posterior, spec: KernelSpec, keys: Array, num_samples: int) -> Any:
    """Shapes of the chains' states, stacked; nothing is computed."""

    def one(key):
        start: Any = posterior.prior_draw(key)
        if not spec.is_chain:
            start = Choice.zeros(num_samples, posterior.y.dtype)
        return spec.init(key, spec.view(posterior), start)

    return jax.eval_shape(jax.vmap(one), keys)


def finite_chains(states: Any) -> np.ndarray:
    """Which chains' states are finite in every floating leaf, ``[chain]``."""
    checks = [
        to_host(jnp.all(jnp.isfinite(leaf.reshape(leaf.shape[0], -1)), axis=1))
        for leaf in jax.tree.leaves(states)
        if jnp.issubdtype(leaf.dtype, jnp.floating)
    ]
    return np.logical_and.reduce(checks)


def _where(mask: np.ndarray, a: Array, b: Array) -> Array:
    if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
        return a
    return jnp.where(jnp.asarray(mask).reshape((-1,) + (1,) * (a.ndim - 1)), a, b)
