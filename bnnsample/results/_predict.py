"""The posterior predictive at new inputs, the readout integrated out in closed form."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bnnsample import _data
from bnnsample._precision import precision
from bnnsample._record import KeptParameters, RunRecord
from bnnsample._standardize import Standardizer
from bnnsample.chains._mapping import quiet_blas
from bnnsample.coordinates import Posterior
from bnnsample.models import Model
from bnnsample.repriorisation._factor import Factor, condition
from bnnsample.repriorisation._readout import predict_from_factor

BLOCK = 128
Pytree = Any


class Prediction(NamedTuple):
    """Predictions ``[m, d]`` (``[m]`` when y was given as ``[n]``), in y's own units.

    All are of ``E[y | f]``: the noise-free function itself for a Gaussian likelihood, class
    probabilities for labels (``[m, classes]``, or of the second of two ``[m]``), rates for counts;
    of ``f`` for a likelihood of the user's own that does not tell.

    Attributes:
        mean: posterior mean: the expected new observation.
        std: standard deviation over the posterior, without observation noise.
        predictive_std: standard deviation of a new observation, noise included; None where
            the noise at these inputs is not known (a scale given per training point).
        draws: draws ``[s, m, d]`` (or ``[s, m]``), chain by chain; None unless asked for.
    """

    mean: np.ndarray
    std: np.ndarray
    predictive_std: np.ndarray | None
    draws: np.ndarray | None


def predict(record: RunRecord, x: Any, return_draws: bool = False) -> Prediction:
    """``Result.predict``; see there."""
    posterior, kept = _require(record)
    x_user = checked_inputs(record, x)
    inputs = record.standardizer.inputs(x_user)
    with precision(posterior.y.dtype), quiet_blas(jax.default_backend()):
        totals, draws = _Totals(), []
        at_training = np.array_equal(x_user, record.x)
        for parameters, values in _kept_draws(kept):
            moments = _one_draw(posterior, parameters, values, inputs, at_training)
            totals.add(*moments[:3])
            if return_draws:
                draws.append(moments.draw)
    return _in_user_units(record, totals, np.stack(draws) if return_draws else None)


class _Moments(NamedTuple):
    """Of one kept draw: mean ``[m, k]``, variance around it ``[m, 1]``, the noise's (None where
    not known, else broadcast to ``[m, k]``), and the draw itself ``[m, k]``."""

    mean: np.ndarray
    variance: np.ndarray
    noise: np.ndarray | None
    draw: np.ndarray


def _one_draw(
    posterior: Posterior,
    parameters: dict[str, Pytree],
    values: dict[str, Array],
    x: np.ndarray,
    at_training: bool,
) -> _Moments:
    """In blocks of one shape, so that memory stays bounded and one program serves every x."""
    model, hidden, readout = posterior.model, parameters["hidden"], parameters["readout"]
    likelihood, y = posterior.likelihood, jnp.asarray(posterior.y)
    conditioned = None
    if likelihood.is_gaussian:
        scale = jnp.asarray(likelihood.gaussian_scale(values), y.dtype)
        conditioned = _condition(model, jnp.asarray(posterior.x), y, hidden, scale)
    blocks = []
    for start in range(0, len(x), BLOCK):
        part = x[start : start + BLOCK]
        padding = [(0, BLOCK - len(part))] + [(0, 0)] * (x.ndim - 1)
        padded = np.pad(part, padding, mode="edge")
        block = _moments(model, hidden, readout, conditioned, padded)
        blocks.append([np.asarray(a)[: len(part)] for a in block])
    mean, variance, f = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    noise = likelihood.variance(jnp.asarray(f), values, at_training)
    if not likelihood.is_gaussian:
        expected = likelihood.mean(jnp.asarray(f), values)
        mean = f = f if expected is None else np.asarray(expected)
    return _Moments(mean, variance[:, None], None if noise is None else np.asarray(noise), f)


@functools.partial(jax.jit, static_argnames=("model",))
def _condition(model: Model, x: Array, y: Array, hidden: Pytree, scale: Array):
    """The readout's posterior given the hidden layers; it holds in every coordinate system."""
    return condition(model.features(hidden, x), y, scale)


@functools.partial(jax.jit, static_argnames=("model",))
def _moments(
    model: Model,
    hidden: Pytree,
    readout: Array,
    conditioned: tuple[Factor, Array] | None,
    x: Array,
) -> tuple[Array, Array, Array]:
    psi = model.features(hidden, x)
    f = psi @ readout
    if conditioned is None:
        # No closed form given h: the draw itself, with no variance around it.
        return f, jnp.zeros(f.shape[0], f.dtype), f
    return *predict_from_factor(psi, *conditioned), f


class _Totals:
    """Mean and variance over draws by the law of total variance, summed in float64 (Welford)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Any = np.float64(0)
        self.squares: Any = np.float64(0)
        self.conditional: Any = np.float64(0)
        self.noise: Any = np.float64(0)

    def add(self, mean: np.ndarray, variance: np.ndarray, noise: np.ndarray | None) -> None:
        self.count += 1
        change = mean - self.mean
        self.mean = self.mean + change / self.count
        self.squares = self.squares + change * (mean - self.mean)
        self.conditional = self.conditional + variance.astype(np.float64)
        known = noise is not None and self.noise is not None
        self.noise = self.noise + np.asarray(noise, np.float64) if known else None

    @property
    def variance(self) -> np.ndarray:
        return (self.squares + self.conditional) / self.count


def _in_user_units(record: RunRecord, totals: _Totals, draws: np.ndarray | None) -> Prediction:
    assert record.posterior is not None
    dtype = np.dtype(record.posterior.y.dtype)
    undo = _undoing(record, totals.mean.shape[1])
    mean = undo.undo_values(totals.mean).astype(dtype)
    std = undo.undo_std(np.sqrt(totals.variance)).astype(dtype)
    predictive = None
    if totals.noise is not None:
        total = totals.variance + totals.noise / totals.count
        predictive = undo.undo_std(np.sqrt(total)).astype(dtype)
    if not (np.isfinite(mean).all() and np.isfinite(std).all()):
        raise FloatingPointError(
            f"the prediction is not finite: in {dtype} the Cholesky factorisation of a kept draw "
            "broke down, or x lies too far out; use float64 or a larger noise scale"
        )
    draws = None if draws is None else undo.undo_values(draws)
    if record.y_was_vector and mean.shape[1] == 1:
        mean, std = mean[:, 0], std[:, 0]
        predictive = None if predictive is None else predictive[:, 0]
        draws = None if draws is None else draws[..., 0]
    return Prediction(mean, std, predictive, draws)


def _undoing(record: RunRecord, size: int) -> Standardizer:
    """The standardisation of predictions of ``size`` outputs: of probabilities there is none."""
    undo = record.standardizer
    if len(undo.y_mean) == size:
        return undo
    zero = np.zeros(size, undo.y_mean.dtype)
    return dataclasses.replace(undo, y_mean=zero, y_std=zero + 1)


def _kept_draws(kept: KeptParameters):
    """``(parameters, unknown values)`` of every kept draw, one at a time on the device."""
    num_chains = kept.parameters["readout"].shape[0]
    for chain in range(num_chains):
        for k in range(len(kept.draws)):
            parameters = jax.tree.map(lambda a, at=(chain, k): jnp.asarray(a[at]), kept.parameters)
            values = {name: jnp.asarray(v[chain, k]) for name, v in kept.unknowns.items()}
            yield parameters, values


def _require(record: RunRecord) -> tuple[Posterior, KeptParameters]:
    if record.posterior is None:
        raise ValueError(
            "predict() needs the network, which a stored result does not hold for a model (or "
            "likelihood) of your own: pass it as bnnsample.load(path, model=...)"
        )
    if record.kept is None or len(record.kept.draws) == 0:
        raise ValueError(
            'predict() needs whole parameter draws, and this run kept none: run with keep="auto" '
            'instead of keep="none"'
        )
    return record.posterior, record.kept


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
