"""What a run is: enough to tell whether a folder holds the same one."""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from bnnsample._unknowns import log_correction_of, values_of
from bnnsample.coordinates import Posterior

Identity = dict[str, Any]


class CheckpointMismatchError(ValueError):
    """A checkpoint directory holds another run than the one that was asked for."""


def identity_of(
    settings: Mapping[str, Any], arrays: Mapping[str, Any], posterior: Posterior, keep_stride: int
) -> Identity:
    """Settings, digests of data, and one of the model and the likelihood as a program.

    The program is the jaxpr of what is asked of the likelihood at a prior draw, which tells two
    functions of the user's apart that have one name, and the arrays that it closes over.
    """
    return {
        **settings,
        **{name: digest(array) for name, array in arrays.items()},
        "program": _program_digest(posterior),
        "keep_stride": keep_stride,
    }


def digest(tree: Any) -> str:
    """Of shapes, dtypes and values of a pytree of arrays."""
    found = hashlib.sha256(str(jax.tree.structure(tree)).encode())
    for leaf in jax.tree.leaves(tree):
        array = np.ascontiguousarray(leaf)
        found.update(f"{array.dtype.str}{array.shape}".encode())
        found.update(array.tobytes())
    return found.hexdigest()[:16]


def _program_digest(posterior: Posterior) -> str:
    def program(key, u):
        parameters, values = posterior.prior_parameters(key), values_of(posterior.unknowns, u)
        f = posterior.model.at(values).apply(parameters, posterior.x)
        likelihood = posterior.likelihood
        return (
            likelihood.log_prob(posterior.y, f, values),
            likelihood.surrogate(posterior.y),
            likelihood.mean(f, values),
            likelihood.variance(f, values, True),
            likelihood.sample(key, f, values, True),
            log_correction_of(posterior.unknowns, u),
        )

    key = jax.random.key(0)
    closed = jax.make_jaxpr(program)(key, jax.eval_shape(posterior.prior_unknowns, key))
    # Functions are printed with where they lie in memory.
    text = re.sub(r"0x[0-9a-f]+", "", str(closed.jaxpr))
    return hashlib.sha256((text + digest(closed.consts)).encode()).hexdigest()[:16]


def claim(path: Path, identity: Identity, can_grow: bool) -> Identity:
    """Write the identity to a file, or compare it with the one there; returns what is there now.

    Where it ``can_grow``, more draws than there are asked for make it the same run, to be gone on
    with: how it keeps parameters stays what it was.

    Raises:
        CheckpointMismatchError: another run's; the message lists what differs.
        ValueError: the file cannot be read.
    """
    if not path.exists():
        _write(path, identity)
        return identity
    try:
        stored = json.loads(path.read_text())
        identity = {**identity, "keep_stride": stored["keep_stride"]}
        grows = can_grow and identity["num_samples"] > stored["num_samples"]
        known = {**stored, "num_samples": identity["num_samples"]} if grows else stored
        differing = differences(known, json.loads(json.dumps(identity)))
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} does not describe a run: {error}") from None
    if differing:
        raise CheckpointMismatchError(
            f"checkpoint_dir={str(path.parent)!r} holds another run: {'; '.join(differing)}. Give "
            "another folder, or the settings of the run that is there"
        )
    if grows:
        _write(path, identity)
    return identity


def differences(stored: Identity, given: Identity) -> list[str]:
    """``name: there .., here ..`` of entries that differ, nested ones by dotted names."""
    found = []
    for name in sorted({*stored, *given}):
        a, b = stored.get(name), given.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            found += [f"{name}.{line}" for line in differences(a, b)]
        elif a != b:
            found.append(f"{name}: {_short(a)} there, {_short(b)} here")
    return found


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _write(path: Path, identity: Identity) -> None:
    """In one stroke: a file that is there is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w") as file:
        json.dump(identity, file, indent=2)
    os.replace(name, path)
