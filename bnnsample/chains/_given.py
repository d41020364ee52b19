"""Starts of chains that the user gave: checked before anything is compiled, then positions."""

from collections.abc import Mapping
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bnnsample import _data
from bnnsample._arguments import shown
from bnnsample._lenient import lenient
from bnnsample._unknowns import Unknown
from bnnsample.coordinates import Posterior

Start = dict[str, Any]


def given_positions(posterior: Posterior, init: Any, num_chains: int) -> Any:
    """The user's starts as stacked positions; errors are those of ``checked_starts``."""
    positions = [
        _position(posterior, start) for start in checked_starts(posterior, init, num_chains)
    ]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *positions)


def checked_starts(posterior: Posterior, init: Any, num_chains: int) -> list[Start]:
    """One start per chain, its arrays in the dtype of the run.

    ``init`` is one start for all chains' own axis in front, or a list with one start per chain; a
    start is network parameters ``{"hidden", "readout"}``, with values of the unknowns by name
    beside them if wanted, or a position of the chain's coordinates (with ``"unknowns"``).

    Raises:
        TypeError, ValueError: anything else, and numbers that are not finite.
    """
    dtype = posterior.y.dtype
    if isinstance(init, (list, tuple)):
        if len(init) != num_chains:
            raise ValueError(f"init has {len(init)} starts, but num_chains is {num_chains}")
        starts = [_arrays(start, dtype, f"init of chain {c}") for c, start in enumerate(init)]
    elif isinstance(init, Mapping):
        stacked = _arrays(init, dtype, "init")
        _check_leading_size(stacked, num_chains)
        starts = [jax.tree.map(lambda a, c=c: a[c], stacked) for c in range(num_chains)]
    else:
        raise TypeError(f"init must be a mapping or a list of them, got {type(init).__name__}")
    for start in starts:
        _check(posterior, start)
    return starts


def _arrays(start: Any, dtype: Any, label: str) -> Start:
    """A start with NumPy arrays of real and finite numbers for leaves."""
    if not isinstance(start, Mapping):
        raise TypeError(f"init: a start must be a mapping, got {type(start).__name__}")
    strange = [key for key in start if not isinstance(key, str)]
    if strange:
        raise ValueError(f"init: a start has {shown(strange[0])}; its keys are names")
    try:
        leaves, structure = jax.tree_util.tree_flatten_with_path(dict(start))
    except Exception as error:
        raise TypeError(f"init: a start must be a pytree of arrays: {error}") from None
    named = [(f"{label}: {jax.tree_util.keystr(path)}", leaf) for path, leaf in leaves]
    return jax.tree.unflatten(structure, [_array(name, leaf, dtype) for name, leaf in named])


def _array(name: str, value: Any, dtype: Any) -> np.ndarray:
    try:
        array = _data.as_float(value, name)
    except TypeError as error:
        raise TypeError(f"{error}; it must be an array, got {type(value).__name__}") from None
    _data.require_finite(array, name)
    return _data.cast(array, np.dtype(dtype), name)


def _check_leading_size(init: Start, num_chains: int) -> None:
    sizes = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(init)}
    if sizes != {(num_chains,)}:
        raise ValueError(
            f"init: every array needs a leading axis of num_chains = {num_chains} "
            f"(or give a list of starts), got leading sizes {sorted(sizes)}"
        )


def _check(posterior: Posterior, start: Start) -> None:
    """Raise ``ValueError`` unless a start has the structure, the shapes and the values it needs."""
    template = jax.eval_shape(posterior.prior_draw, jax.random.key(0))
    if "unknowns" in start:
        _check_like(template, start)
        return
    missing = {"hidden", "readout"} - set(start)
    if missing:
        raise ValueError(
            "init: a start needs 'hidden' and 'readout' (network parameters) or the keys of "
            f"a position, {sorted(template)}; got {sorted(start)}"
        )
    surplus = sorted(set(start) - {"hidden", "readout", *posterior.unknowns})
    if surplus:
        names = ", ".join(["hidden", "readout", *posterior.unknowns])
        raise ValueError(f"init: a start has {surplus[0]!r}; its keys may be {names}")
    _check_like(jax.eval_shape(posterior.prior_parameters, jax.random.key(0)), _network(start))
    for name, unknown in posterior.unknowns.items():
        if name in start:
            _check_value(name, unknown, start[name])


def _check_value(name: str, unknown: Unknown, value: Any) -> None:
    if value is None or np.shape(value):
        raise ValueError(f"init: {name} must be a number per chain, got shape {np.shape(value)}")
    if not (value > 0 and bool(lenient(unknown.prior.support)(value))):
        _refuse_value(name, value)


def _refuse_value(name: str, value: Any) -> NoReturn:
    raise ValueError(f"init: {name} must lie inside its prior's support, got {float(value)}")


def _network(start: Start) -> Start:
    return {"hidden": start["hidden"], "readout": start["readout"]}


def _position(posterior: Posterior, start: Start) -> Any:
    start = jax.tree.map(jnp.asarray, start)
    if "unknowns" in start:
        return start
    unknowns = {
        name: _coordinate(name, unknown, start[name])
        if name in start
        else jnp.zeros((), posterior.y.dtype)
        for name, unknown in posterior.unknowns.items()
    }
    network, unknowns = posterior.to_position(_network(start)), posterior.to_position(unknowns)
    return posterior.position_of(network, unknowns)


def _coordinate(name: str, unknown: Unknown, value: Array) -> Array:
    """``u`` of a start's value, checked to give that value back."""
    u = unknown.coordinate(value)
    # Written so that NaN fails.
    if not abs(float(unknown.value(u)) - float(value)) <= 0.01 * abs(float(value)):
        _refuse_value(name, value)
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
