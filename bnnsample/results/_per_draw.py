"""What one kept parameter draw says at new inputs, the readout integrated out where it can be."""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bnnsample import _data
from bnnsample._precision import precision
from bnnsample._program_of import program_of
from bnnsample._record import KeptParameters, RunRecord
from bnnsample.chains._mapping import quiet_blas
from bnnsample.coordinates import Posterior
from bnnsample.repriorisation._factor import Factor, condition
from bnnsample.repriorisation._readout import predict_from_factor

BLOCK = 128
Pytree = Any


class AtInputs(NamedTuple):
    """Of one kept draw at inputs ``[m, ...]``, in the units of the sampler.

    Attributes:
        mean: E[f | h] ``[m, d]`` for a Gaussian likelihood, E[y | f] ``[m, k]`` for another.
        variance: of f around it given h ``[m, 1]``; zero where there is no closed form.
        noise: variance of an observation, broadcast to ``[m, k]``; None where it is not known.
        f: the draw itself ``[m, d]``.
        unknowns: values of the sampled hyperparameters.
    """

    mean: np.ndarray
    variance: np.ndarray
    noise: np.ndarray | None
    f: np.ndarray
    unknowns: dict[str, Array]


def kept_draws_at(record: RunRecord, x: np.ndarray) -> Iterator[AtInputs]:
    """Every kept draw at checked inputs in the user's units, one at a time, chain by chain.

    To be taken under ``as_sampled(record)``.
    """
    posterior, kept = require_kept(record)
    inputs = record.standardizer.inputs(x)
    at_training = np.array_equal(x, record.x)
    for parameters, values in _kept_draws(kept):
        yield _one_draw(posterior, parameters, values, inputs, at_training)


@contextlib.contextmanager
def as_sampled(record: RunRecord) -> Iterator[None]:
    """The precision and the threads of the run."""
    with precision(record.x.dtype), quiet_blas(jax.default_backend()):
        yield


def _one_draw(
    posterior: Posterior,
    parameters: dict[str, Pytree],
    values: dict[str, Array],
    x: np.ndarray,
    at_training: bool,
) -> AtInputs:
    """In blocks of one shape, so that memory stays bounded and one program serves every x."""
    likelihood = posterior.likelihood
    conditioned = None
    if likelihood.is_gaussian:
        given = program_of(posterior, _condition)
        conditioned = given(posterior, parameters["hidden"], values)
    moments = program_of(posterior, _moments)
    blocks = []
    for start in range(0, len(x), BLOCK):
        part = x[start : start + BLOCK]
        padding = [(0, BLOCK - len(part))] + [(0, 0)] * (x.ndim - 1)
        padded = np.pad(part, padding, mode="edge")
        block = moments(posterior, parameters, values, conditioned, padded)
        blocks.append([np.asarray(a)[: len(part)] for a in block])
    mean, variance, f = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    noise = likelihood.variance(jnp.asarray(f), values, at_training)
    if not likelihood.is_gaussian:
        expected = likelihood.mean(jnp.asarray(f), values)
        mean = f if expected is None else np.asarray(expected)
    known = None if noise is None else np.asarray(noise)
    return AtInputs(mean, variance[:, None], known, f, values)


def _condition(posterior: Posterior, hidden: Pytree, values: dict[str, Array]):
    """The readout's posterior given the hidden layers; it holds in every coordinate system."""
    psi = posterior.features_of(hidden, values, posterior.x)
    return condition(psi, posterior.y, posterior.gaussian_scale_of(values))


def _moments(
    posterior: Posterior,
    parameters: dict[str, Pytree],
    values: dict[str, Array],
    conditioned: tuple[Factor, Array] | None,
    x: Array,
) -> tuple[Array, Array, Array]:
    psi = posterior.features_of(parameters["hidden"], values, x)
    f = psi @ posterior.to_position({"readout": parameters["readout"]})["readout"]
    if conditioned is None:
        # No closed form given h: the draw itself, with no variance around it.
        return f, jnp.zeros(f.shape[0], f.dtype), f
    return *predict_from_factor(psi, *conditioned), f


def _kept_draws(kept: KeptParameters):
    """``(parameters, unknown values)`` of every kept draw, one at a time on the device."""
    num_chains = kept.parameters["readout"].shape[0]
    for chain in range(num_chains):
        for k in range(len(kept.draws)):
            parameters = jax.tree.map(lambda a, at=(chain, k): jnp.asarray(a[at]), kept.parameters)
            values = {name: jnp.asarray(v[chain, k]) for name, v in kept.unknowns.items()}
            yield parameters, values


def require_kept(record: RunRecord) -> tuple[Posterior, KeptParameters]:
    """The posterior and the parameter draws; ``ValueError`` where one is missing."""
    posterior = record.known_posterior("predict()")
    if record.kept is None or len(record.kept.draws) == 0:
        raise ValueError(
            'predict() needs whole parameter draws, and this run kept none: run with keep="auto" '
            'instead of keep="none"'
        )
    return posterior, record.kept


def checked_inputs(record: RunRecord, x: Any) -> np.ndarray:
    """Inputs of the trailing shape and the dtype of the run's, finite."""
    expected = record.x.shape[1:]
    given = np.shape(x)
    array = _data.as_inputs(x)
    if array.shape[1:] != expected:
        trailing = ", ".join(["m", *map(str, expected)])
        raise ValueError(f"x must have shape [{trailing}], as in training, got {tuple(given)}")
    with np.errstate(over="ignore"):
        array = array.astype(record.x.dtype)
    if not np.isfinite(array).all():
        raise ValueError(f"x has values beyond the range of {record.x.dtype}, the run's dtype")
    return array
