"""Where chains start: finite states, drawn from the prior or given by the user."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bnnsample._processes import to_host
from bnnsample._unknowns import Unknown
from bnnsample.chains._breakdown import why_not_finite
from bnnsample.chains._devices import Devices
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
    draw = jax.jit(draw_positions)

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

    fitted = jax.jit(fit)(posterior, jax.random.split(key, NUM_FITTED))
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


def given_positions(posterior: Posterior, init: Any, num_chains: int) -> Any:
    """The user's starts as stacked positions.

    ``init`` is one start for all chains' own axis in front, or a list with one start per chain; a
    start is network parameters ``{"hidden", "readout"}``, with values of the unknowns by name
    beside them if wanted, or a position of the chain's coordinates (with ``"unknowns"``).
    """
    if isinstance(init, (list, tuple)):
        if len(init) != num_chains:
            raise ValueError(f"init has {len(init)} starts, but num_chains is {num_chains}")
        starts = list(init)
    elif isinstance(init, Mapping):
        starts = [
            jax.tree.map(lambda a, c=c: np.asarray(a)[c], dict(init))
            for c in range(_leading_size(init, num_chains))
        ]
    else:
        raise TypeError(f"init must be a mapping or a list of them, got {type(init).__name__}")
    for start in starts:
        if not isinstance(start, Mapping):
            raise TypeError(f"init: a start must be a mapping, got {type(start).__name__}")
    positions = [_position(posterior, dict(start)) for start in starts]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *positions)


def _leading_size(init: Mapping, num_chains: int) -> int:
    sizes = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(init)}
    if sizes != {(num_chains,)}:
        raise ValueError(
            f"init: every array needs a leading axis of num_chains = {num_chains} "
            f"(or give a list of starts), got leading sizes {sorted(sizes)}"
        )
    return num_chains


def _position(posterior: Posterior, start: dict[str, Any]) -> Any:
    template = jax.eval_shape(posterior.prior_draw, jax.random.key(0))
    dtype = posterior.y.dtype
    cast = jax.tree_util.tree_map_with_path(lambda path, a: _as_array(path, a, dtype), start)
    if "unknowns" in cast:
        position = cast
    else:
        unknowns = {
            name: _coordinate(name, unknown, cast.pop(name))
            if name in cast
            else jnp.zeros((), dtype)
            for name, unknown in posterior.unknowns.items()
        }
        missing = {"hidden", "readout"} - set(cast)
        if missing:
            raise ValueError(
                "init: a start needs 'hidden' and 'readout' (network parameters) or the keys of "
                f"a position, {sorted(template)}; got {sorted(start)}"
            )
        surplus = sorted(set(cast) - {"hidden", "readout"}, key=str)
        if surplus:
            names = ", ".join(["hidden", "readout", *posterior.unknowns])
            raise ValueError(f"init: a start has {surplus[0]!r}; its keys may be {names}")
        _check_like(
            jax.eval_shape(posterior.prior_parameters, jax.random.key(0)),
            {"hidden": cast["hidden"], "readout": cast["readout"]},
        )
        cast, unknowns = posterior.to_position(cast), posterior.to_position(unknowns)
        position = posterior.position_of(cast, unknowns)
    _check_like(template, position)
    return position


def _as_array(path: Any, value: Any, dtype: Any) -> Array:
    try:
        return jnp.asarray(value, dtype)
    except (TypeError, ValueError):
        name = jax.tree_util.keystr(path)
        raise TypeError(f"init: {name} must be an array, got {type(value).__name__}") from None


def _coordinate(name: str, unknown: Unknown, value: Array) -> Array:
    """``u`` of a start's value, checked to give that value back."""
    if np.shape(value):
        raise ValueError(f"init: {name} must be a number per chain, got shape {np.shape(value)}")
    u = unknown.coordinate(value)
    # Written so that NaN fails.
    if not abs(float(unknown.value(u)) - float(value)) <= 0.01 * abs(float(value)):
        raise ValueError(f"init: {name} must lie inside its prior's support, got {float(value)}")
    return u


def _check_like(template: Any, given: Any) -> None:
    expected, got_structure = (str(jax.tree.structure(tree)) for tree in (template, given))
    if expected != got_structure:
        raise ValueError(f"init: expected the structure {expected}, got {got_structure}")
    for path, leaf in jax.tree_util.tree_leaves_with_path(template):
        got = dict(jax.tree_util.tree_leaves_with_path(given))[path].shape
        if leaf.shape != got:
            name = jax.tree_util.keystr(path)
            raise ValueError(f"init: {name} must have shape {leaf.shape}, got {got}")


def _where(mask: np.ndarray, a: Array, b: Array) -> Array:
    if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
        return a
    return jnp.where(jnp.asarray(mask).reshape((-1,) + (1,) * (a.ndim - 1)), a, b)
