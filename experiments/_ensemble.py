"""A deep ensemble of the network that is sampled: the usual rival of a posterior.

Lakshminarayanan et al. 2017: members from random initialisations, their predictive densities mixed.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from scipy.special import logsumexp

from bnnsample._lenient import lenient
from bnnsample.likelihoods import Likelihood
from bnnsample.models import Model

LEARNING_RATES = (0.003, 0.01, 0.03)
# Of |theta|^2 / 2 in the total negative log-likelihood; 1 is the posterior's mode. Small data want
# more than that: the grid must not end where validation still improves.
PENALTIES = (0.0, 0.01, 0.1, 1.0, 3.0, 10.0)
FOLDS = 3
CHECK_EVERY = 20
# Checks without a better validation loss before a setting is given up.
PATIENCE = 25


class Ensemble(NamedTuple):
    """Members with a leading axis, and how they were trained.

    Attributes:
        parameters: ``{"network": {"hidden", "readout"}, "log_scale"}``, leading axis ``[member]``.
        learning_rate, penalty, num_steps: chosen by validation.
        num_gradients: of all members, over every setting tried and the training that is kept.
    """

    parameters: Any
    learning_rate: float
    penalty: float
    num_steps: int
    num_gradients: int


def train(
    model: Model,
    likelihood: Likelihood,
    width: int,
    data: tuple[np.ndarray, np.ndarray],
    num_members: int,
    max_steps: int,
    seed: int,
) -> Ensemble:
    """Adam on all points at once; rate, penalty and number of steps by cross-validation.

    The members of a setting share its number of steps, that of the least validation loss of the
    mixture, its mean over folds. With them the ensemble is trained again on every point.

    Raises:
        ValueError: no setting has a finite validation loss.
    """
    x, y = (jnp.asarray(a) for a in data)
    parts = folds(len(x), seed)
    keys = jax.random.split(jax.random.key(seed), num_members)
    outputs = likelihood.num_outputs(y)

    def init(key: Array) -> Any:
        network = model.init(key, x, width, outputs)
        return {"network": network, "log_scale": jnp.zeros((), x.dtype)}

    members = jax.jit(jax.vmap(init))(keys)
    step, validate = _steps(model, likelihood)
    best, tried = (np.inf, 0.0, 0.0, 0), 0
    for rate in LEARNING_RATES:
        for penalty in PENALTIES:
            paths = [
                _path(
                    step, validate, members, rate, penalty, (x[rest], y[rest]),
                    (x[held], y[held]), max_steps,
                )
                for held, rest in parts
            ]  # fmt: skip
            tried += sum(map(len, paths)) * CHECK_EVERY
            losses = np.mean([path[: min(map(len, paths))] for path in paths], axis=0)
            at = int(np.argmin(np.where(np.isnan(losses), np.inf, losses)))
            if losses[at] < best[0]:
                best = (losses[at], rate, penalty, (at + 1) * CHECK_EVERY)
    if not np.isfinite(best[0]):
        raise ValueError("no setting of the ensemble has a finite validation loss")
    _, rate, penalty, num_steps = best
    state = (members, lenient(optax.scale_by_adam().init)(members))
    numbers = jnp.asarray(rate, x.dtype), jnp.asarray(penalty, x.dtype)
    for _ in range(num_steps // CHECK_EVERY):
        state = step(state, *numbers, x, y)
    return Ensemble(state[0], rate, penalty, num_steps, num_members * (tried + num_steps))


def folds(num_points: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Indices of the validation points, and of the others, for every fold."""
    order = np.random.default_rng(seed).permutation(num_points)
    parts = np.array_split(order, FOLDS)
    return [(np.sort(held), np.setdiff1d(order, held)) for held in parts]


def log_density(
    ensemble: Ensemble, model: Model, likelihood: Likelihood, x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """``log mean_members p(y_i | member)``, ``[m]``."""
    each = [
        np.asarray(_log_prob(model, likelihood, member, jnp.asarray(x), jnp.asarray(y)), np.float64)
        for member in _members(ensemble)
    ]
    return logsumexp(each, axis=0) - np.log(len(each))


def mean(ensemble: Ensemble, model: Model, likelihood: Likelihood, x: np.ndarray) -> np.ndarray:
    """``mean_members E[y | member]``, ``[m, k]``."""
    each = []
    for member in _members(ensemble):
        f = model.apply(member["network"], jnp.asarray(x))
        each.append(np.asarray(likelihood.mean(f, _values(likelihood, member)), np.float64))
    return np.mean(each, axis=0)


def _members(ensemble: Ensemble) -> list[Any]:
    count = len(ensemble.parameters["log_scale"])
    return [jax.tree.map(lambda a, i=i: a[i], ensemble.parameters) for i in range(count)]


def _values(likelihood: Likelihood, member: Any) -> dict[str, Array]:
    return {name: jnp.exp(member["log_scale"]) for name in likelihood.unknowns}


def _log_prob(model: Model, likelihood: Likelihood, member: Any, x: Array, y: Array) -> Array:
    f = model.apply(member["network"], x)
    return likelihood.log_prob(y, f, _values(likelihood, member))


def _steps(model: Model, likelihood: Likelihood) -> tuple[Callable, Callable]:
    """``CHECK_EVERY`` steps of all members at once, and the mixture's validation loss."""
    adam = optax.scale_by_adam()

    def loss(member, penalty, x, y):
        squares = sum(jnp.sum(leaf * leaf) for leaf in jax.tree.leaves(member["network"]))
        fit = -jnp.sum(_log_prob(model, likelihood, member, x, y))
        return (fit + penalty * squares / 2) / len(x)

    def one(carry, _, rate, penalty, x, y):
        members, state = carry
        gradient = jax.vmap(jax.grad(loss), (0, None, None, None))(members, penalty, x, y)
        change, state = lenient(adam.update)(gradient, state)
        members = jax.tree.map(lambda p, c: p - jnp.asarray(rate, p.dtype) * c, members, change)
        return (members, state), None

    @jax.jit
    def step(carry, rate, penalty, x, y):
        def body(c, i):
            return one(c, i, rate, penalty, x, y)

        return jax.lax.scan(body, carry, None, CHECK_EVERY)[0]

    @jax.jit
    def validate(members, x, y):
        each = jax.vmap(lambda m: _log_prob(model, likelihood, m, x, y))(members)
        return -jnp.mean(jax.nn.logsumexp(each, axis=0) - jnp.log(jnp.asarray(len(each), x.dtype)))

    return step, validate


def _path(step, validate, members, rate, penalty, data, held, max_steps) -> np.ndarray:
    """Validation losses every ``CHECK_EVERY`` steps, until ``PATIENCE`` checks bring no better."""
    state = (members, lenient(optax.scale_by_adam().init)(members))
    losses: list[float] = []
    best, best_at = np.inf, 0
    dtype = data[0].dtype
    rate, penalty = jnp.asarray(rate, dtype), jnp.asarray(penalty, dtype)
    for at in range(max_steps // CHECK_EVERY):
        state = step(state, rate, penalty, *data)
        losses.append(float(validate(state[0], *held)))
        if losses[-1] < best:
            best, best_at = losses[-1], at
        if at - best_at >= PATIENCE:
            break
    return np.asarray(losses)
