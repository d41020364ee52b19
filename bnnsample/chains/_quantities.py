"""What is recorded of each draw: predictions, log-likelihoods, projections, hidden weights."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bnnsample.coordinates import Posterior
from bnnsample.repriorisation._readout import predict_from_factor

NUM_PROJECTIONS = 20
NUM_HIDDEN_WEIGHTS = 20
SIGNS_AT_ONCE = 2**20
Pytree = Any


class Watch(NamedTuple):
    """Where a run looks: evaluation points, projection signs, flat indices of hidden weights.

    ``x_eval`` is None when the evaluation points are the training inputs. ``signs`` has one byte
    per parameter.
    """

    x_eval: Array | None
    signs: list[Array]
    hidden_index: Array


def make_watch(posterior: Posterior, x_eval: Array | None, key: Array) -> Watch:
    """Evaluation points, and a fixed random choice of projections and hidden weights."""
    template = jax.eval_shape(posterior.prior_parameters, jax.random.key(0))
    size = sum(leaf.size for leaf in jax.tree.leaves(template["hidden"]))
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    count = min(NUM_HIDDEN_WEIGHTS, size)
    chosen = np.sort(rng.choice(size, count, replace=False)) if size else np.zeros(0)
    signs = [jnp.asarray(_signs(rng, leaf.size)) for leaf in jax.tree.leaves(template)]
    return Watch(x_eval, signs, jnp.asarray(chosen, jnp.int32))


def _signs(rng: np.random.Generator, size: int) -> np.ndarray:
    """Random signs of one byte; in pieces, since NumPy draws them from indices of eight."""
    signs = np.empty(size, np.int8)
    for start in range(0, size, SIGNS_AT_ONCE):
        part = signs[start : start + SIGNS_AT_ONCE]
        part[:] = rng.choice(np.array([-1, 1], np.int8), len(part))
    return signs


def quantities(
    posterior: Posterior, watch: Watch, key: Array, position: Pytree
) -> tuple[dict[str, Array], Pytree]:
    """Recorded quantities of a position, and the network's parameters ``{"hidden", "readout"}``.

    ``f [m, d]`` and ``y [m, t]`` hold one draw of the readout and of the noise. For a Gaussian
    likelihood ``f_mean [m, d]`` is E[f | h], the readout integrated out, in every coordinate
    system; for another ``y_mean [m, k]`` is E[y | f], where the likelihood has it.
    """
    readout_key, noise_key = jax.random.split(key)
    values = posterior.unknown_values(position)
    conditioned = posterior.likelihood.is_gaussian
    outputs = _conditioned_outputs if conditioned else _moved_outputs
    parameters, f_train, f, means = outputs(posterior, watch, readout_key, position)
    parameters = posterior.to_parameters(parameters)
    recorded = {
        "f": f,
        **means,
        "log_likelihood": posterior.likelihood.log_prob(posterior.y, f_train, values),
        "projection": project(watch.signs, parameters),
        **values,
    }
    noisy = posterior.likelihood.sample(noise_key, f, values, watch.x_eval is None)
    if noisy is not None:
        recorded["y"] = noisy
    if watch.hidden_index.size:
        recorded["hidden"] = take(parameters["hidden"], watch.hidden_index)
    return recorded, parameters


def _conditioned_outputs(posterior, watch, key, position):
    """Parameters, outputs at the data and the evaluation points, and E[f | h] there."""
    factor, z = posterior.condition(position)
    readout = posterior.readout(key, position, factor, z)
    scale = posterior.gaussian_scale(position)
    column = scale[:, None] if scale.ndim else scale
    f_train = column * (factor.P @ readout)
    psi, f = column * factor.P, f_train
    if watch.x_eval is not None:
        psi = posterior.features(position, watch.x_eval)
        f = psi @ readout
    parameters = {"hidden": position["hidden"], "readout": readout}
    return parameters, f_train, f, {"f_mean": predict_from_factor(psi, factor, z)[0]}


def _moved_outputs(posterior, watch, key, position):
    """The same where the chain moves the readout and no closed form is known: E[y | f]."""
    parameters = posterior.network_parameters(position)
    f = f_train = posterior.features(position, posterior.x) @ parameters["readout"]
    if watch.x_eval is not None:
        f = posterior.features(position, watch.x_eval) @ parameters["readout"]
    mean = posterior.likelihood.mean(f, posterior.unknown_values(position))
    return parameters, f_train, f, {} if mean is None else {"y_mean": mean}


def project(signs: list[Array], parameters: Pytree, count: int = NUM_PROJECTIONS) -> Array:
    """``count`` fixed random projections of all parameters onto orthonormal directions.

    Direction ``j`` has the random ``signs`` of the parameters whose index is ``j`` modulo ``count``
    (a count sketch, Charikar et al. 2002, with a regular hash): O(P) work and one byte per
    parameter, where dense directions would need P numbers each. With fewer parameters than
    ``count`` there are as many directions as parameters.
    """
    leaves = jax.tree.leaves(parameters)
    total = sum(leaf.size for leaf in leaves)
    count = min(count, total)
    sums = jnp.zeros(count, leaves[0].dtype)
    start = 0
    for leaf, sign in zip(leaves, signs, strict=True):
        signed = sign.astype(leaf.dtype) * leaf.ravel()
        # Continue the round robin over directions where the last leaf stopped.
        head = start % count
        padded = jnp.pad(signed, (head, -(head + leaf.size) % count))
        sums = sums + jnp.sum(padded.reshape(-1, count), axis=0)
        start += leaf.size
    members = (total - np.arange(count) + count - 1) // count
    return sums / jnp.asarray(np.sqrt(members), sums.dtype)


def take(tree: Pytree, flat_index: Array) -> Array:
    """Entries of a pytree by index into its flattened leaves, without flattening it."""
    leaves = jax.tree.leaves(tree)
    result = jnp.zeros(flat_index.shape, leaves[0].dtype)
    start = 0
    for leaf in leaves:
        inside = (flat_index >= start) & (flat_index < start + leaf.size)
        local = jnp.clip(flat_index - start, 0, leaf.size - 1)
        result = jnp.where(inside, leaf.ravel()[local], result)
        start += leaf.size
    return result


def prior_quantities(posterior: Posterior, watch: Watch, key: Array) -> dict[str, Array]:
    """One draw from the prior: ``f``, ``y`` at the evaluation points, and the unknowns."""
    parameter_key, unknown_key, noise_key = jax.random.split(key, 3)
    parameters = posterior.prior_parameters(parameter_key)
    u = posterior.prior_unknowns(unknown_key)
    values = {
        name: unknown.prior_draw(jax.random.fold_in(unknown_key, i), u[name])
        for i, (name, unknown) in enumerate(posterior.unknowns.items())
    }
    model = posterior.model.at(values)
    f = model.apply(parameters, posterior.x if watch.x_eval is None else watch.x_eval)
    noisy = posterior.likelihood.sample(noise_key, f, values, watch.x_eval is None)
    return {"f": f, **values, **({} if noisy is None else {"y": noisy})}
