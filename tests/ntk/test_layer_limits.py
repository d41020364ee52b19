"""Every layer's covariances against Monte Carlo from the exact covariance of its input."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntk import ACTIVATIONS
from ntk.layers import (
    Activation,
    AvgPool,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    GlobalSumPool,
    LayerNorm,
    Parallel,
    Residual,
    Scale,
    Serial,
    SumPool,
)
from ntk.layers._covariance import Covariances

DRAWS = 10**6
POSITIONS = (4, 3)
EXAMPLES = 2
PARTS = 50


def state(full):
    """Covariances of two examples on twelve positions, and a root of all of them together."""
    count = EXAMPLES * int(np.prod(POSITIONS))
    root = np.random.default_rng(0).normal(size=(count, count)) / count**0.5
    every = (root @ root.T).reshape(EXAMPLES, *POSITIONS, EXAMPLES, *POSITIONS)
    pairs = jnp.asarray(np.transpose(every, (0, 3, 1, 4, 2, 5)))
    own = jnp.stack([pairs[0, 0], pairs[1, 1]])
    k = Covariances(pairs, 0.5 * pairs, own, own, False, 2, True, True, True)
    return (k if full else k.at_equal_positions()), root


# Layers that act on every channel alone: a million channels of one network.
CHANNELWISE = {
    **{f"activation {name}": Activation(name) for name in ACTIVATIONS},
    "any activation": Activation(lambda x: jnp.tanh(x) + 0.3 * x * x),
    "average": AvgPool((2, 2), 1),
    "sum": SumPool((2, 3)),
    "global average": GlobalAvgPool(),
    "global sum": GlobalSumPool(),
    "flat": Flatten(),
    "scaled": Scale(-0.7),
    "normalised": LayerNorm(1e-2),
    "one after the other": Serial(Scale(2.0), AvgPool((2, 1)), Activation("relu")),
}
# Layers with weights, linear in them: means over weights are sums over unit vectors, exactly.
WEIGHTED = {
    "dense": Dense(1.3, 0.4),
    "same": Conv((3, 2), 1, "SAME", 1.3, 0.4),
    "valid": Conv((2, 2), 1, "VALID", 1.3),
    "around": Conv((3, 3), 1, "CIRCULAR", 1.3, 0.4),
    "strided": Conv((3, 3), 2, "SAME", 1.3, 0.4),
    "residual": Residual(Conv((3, 3), 1, "SAME", 1.3, 0.4)),
    "parallel": Parallel(Dense(0.5), Serial(Scale(2.0), Conv((3, 3)))),
    "standard": Conv((3, 3), 1, "SAME", 1.3, 0.4, parameterization="standard"),
}


def in_pairs(every, positions, full):
    """``[2 P, 2 P]`` over examples and positions as covariances are kept."""
    every = np.asarray(every).reshape(EXAMPLES, *positions, EXAMPLES, *positions)
    count = len(positions)
    order = [a for k in range(count) for a in (1 + k, 2 + count + k)]
    pairs = np.transpose(every, (0, 1 + count, *order))
    for _ in range(0 if full else count):
        pairs = np.diagonal(pairs, axis1=2, axis2=3)
    return pairs


# The other activations have their own tests in test_duals.
DEFAULT = [n for n in CHANNELWISE if not n.startswith("activation") or n.endswith(("relu", "erf"))]
OTHERS = [pytest.param(n, marks=pytest.mark.slow) for n in CHANNELWISE if n not in DEFAULT]


@pytest.mark.parametrize("name", [*DEFAULT, *OTHERS])
def test_layers_without_weights(name):
    layer = CHANNELWISE[name]
    k, root = state(full=True)
    spread = layer.spread(k)
    parameters, _ = layer.init(jax.random.key(0), (*POSITIONS, 1), iter(()), jnp.float64)
    apply = jax.jit(functools.partial(layer.apply, parameters))
    means = []
    for part in range(PARTS):
        draws = np.random.default_rng(part).normal(size=(len(root), DRAWS // PARTS))
        x = (root @ draws).reshape(EXAMPLES, *POSITIONS, -1)
        y = np.moveaxis(np.asarray(apply(jnp.asarray(x))), -1, 0)
        positions = y.shape[2:]
        flat = y.reshape(len(y), -1)
        means.append(in_pairs(flat.T @ flat / len(y), positions, spread.full))
    means = np.stack(means)
    error = means.std(0, ddof=1) / PARTS**0.5
    gap = np.abs(means.mean(0) - np.asarray(spread.nngp))
    # Of up to 576 entries; Student's t of 49 degrees of freedom. Rounding where nothing is random.
    assert (gap <= 4.5 * error + 1e-9).all()
    assert (error < 0.02 * np.abs(means.mean(0)).max()).all()
    np.testing.assert_allclose(spread.own1[1], spread.nngp[1, 1], rtol=1e-9)
    if not layer.pairs_positions:
        alone = layer.spread(state(full=False)[0])
        kept = spread.at_equal_positions()
        np.testing.assert_allclose(alone.nngp, kept.nngp, rtol=1e-12)
        np.testing.assert_allclose(alone.ntk, kept.ntk, rtol=1e-12)


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("name", WEIGHTED)
def test_layers_with_weights(name, full):
    layer = WEIGHTED[name]
    k, root = state(full)
    spread = layer.spread(k)
    parameters, shape = layer.init(
        jax.random.key(0), (*POSITIONS, 1), itertools.repeat(1), jnp.float64
    )
    leaves, tree = jax.tree.flatten_with_path(parameters)
    zeros = [jnp.zeros_like(leaf) for _, leaf in leaves]
    inputs = jnp.asarray(root.T.reshape(-1, EXAMPLES, *POSITIONS, 1))
    apply = jax.jit(jax.vmap(layer.apply, (None, 0)))

    def outputs(values, x):
        return np.asarray(apply(jax.tree.unflatten(tree, values), x)).reshape(len(x), -1)

    def moment(y):
        return y.T @ y

    constant = outputs(zeros, inputs)
    by_prior = moment(constant)
    unit = bias = 0.0
    for at, (path, leaf) in enumerate(leaves):
        is_bias = "bias" in jax.tree_util.keystr(path)
        x = jnp.zeros_like(inputs[:1]) if is_bias else inputs
        own = 0.0
        for entry in np.ndindex(leaf.shape):
            moved = [*zeros[:at], zeros[at].at[entry].set(1.0), *zeros[at + 1 :]]
            own = own + moment(outputs(moved, x) - outputs(zeros, x))
        unit = unit + own
        std = 1.0
        if name == "standard":
            std = 0.4 if is_bias else 1.3 / 9**0.5
        by_prior = by_prior + std**2 * own
        bias = bias + (std**2 * own if is_bias else 0.0)
    positions = shape[:-1]
    nngp = in_pairs(by_prior, positions, full)
    np.testing.assert_allclose(spread.nngp, nngp, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(spread.own2[1], nngp[1, 1], rtol=1e-10, atol=1e-12)
    # Its own parameters', and that of its input (half of the covariance) passed on.
    ntk = in_pairs(unit + 0.5 * (by_prior - bias), positions, full)
    np.testing.assert_allclose(spread.ntk, ntk, rtol=1e-10, atol=1e-12)
