"""Modules of Equinox: split where they end in a linear layer, refused with the reason where not."""

import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_models_flax import check, refused

from bnnsample import models

KEYS = jax.random.split(jax.random.key(0), 8)
X = jnp.asarray(np.random.default_rng(0).normal(size=(6, 3)))
IMAGES = jnp.asarray(np.random.default_rng(1).normal(size=(4, 2, 6, 6)))


def linear(inputs, outputs, **options):
    return eqx.nn.Linear(inputs, outputs, key=KEYS[0], **options)


class Block(eqx.Module):
    z_first: eqx.nn.Conv2d
    norm: eqx.nn.GroupNorm
    drop: eqx.nn.Dropout
    shortcut: eqx.nn.Conv2d

    def __init__(self, inputs, width):
        self.z_first = eqx.nn.Conv2d(inputs, width, 3, padding=1, key=KEYS[1])
        self.norm = eqx.nn.GroupNorm(1, width)
        self.drop = eqx.nn.Dropout(0.5)
        self.shortcut = eqx.nn.Conv2d(inputs, width, 1, use_bias=False, key=KEYS[2])

    def __call__(self, x):
        return self.shortcut(x) + self.drop(jax.nn.relu(self.norm(self.z_first(x))))


class CNN(eqx.Module):
    head: eqx.nn.Linear
    blocks: list[Block]

    def __init__(self, width):
        self.head = linear(width, 2)
        self.blocks = [Block(2, width), Block(width, width)]

    def __call__(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((1, 2)))


def mapped(x):
    return lambda module: jax.vmap(module)(x)


def test_cnn_in_inference_mode():
    model = models.from_equinox(CNN, models.fan_in(2**0.5, 0.1))
    # Equinox's own GroupNorm mixes ranks.
    with jax.numpy_rank_promotion("allow"):
        drawn, module = check(model, IMAGES, 3, 2, mapped(IMAGES))
    first = drawn["hidden"].layers[0]
    assert first["weight"].shape == (3, 3, 2, 3)
    assert first["bias"].shape == (3,)
    # [out, in, *window] with the scale of 18 inputs, and [out, 1, 1].
    w = module.blocks[0].z_first.weight
    expected = (2 / 18) ** 0.5 * np.transpose(first["weight"], (3, 2, 0, 1))
    np.testing.assert_allclose(w, expected, rtol=1e-12)
    np.testing.assert_array_equal(module.blocks[0].z_first.bias[:, 0, 0], 0.1 * first["bias"])


def test_convolutions_are_our_own():
    """Of the same parameters, channels first against channels last."""

    class Plain(eqx.Module):
        conv: eqx.nn.Conv2d
        head: eqx.nn.Linear

        def __init__(self, width):
            self.conv = eqx.nn.Conv2d(2, width, 3, padding=1, key=KEYS[1])
            self.head = linear(width, 2)

        def __call__(self, x):
            return self.head(jax.nn.relu(self.conv(x)).mean((1, 2)))

    own = models.cnn(1, "relu", readout_bias_std=0.1)
    model = models.from_equinox(Plain, models.fan_in(2**0.5, 0.1))
    last = jnp.moveaxis(IMAGES, 1, -1)
    ours = own.init(jax.random.key(4), last, 5, 2)
    theirs = model.init(jax.random.key(4), IMAGES, 5, 2)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(
        model.apply(theirs, IMAGES), own.apply(ours, last), rtol=1e-12, atol=1e-13
    )


def test_batched_modules_and_paths():
    class Batched(eqx.Module):
        one: eqx.nn.Linear
        parts: dict

        def __call__(self, x):
            return jax.vmap(self.parts["two"])(jnp.tanh(jax.vmap(self.one)(x)))

    module = Batched(linear(3, 5), {"two": linear(5, 2)})
    model = models.from_equinox(module, batched=True)
    check(model, X, None, 2, lambda m: m(X))
    check(models.from_equinox(module, readout="parts/two", batched=True), X, 5, 2, lambda m: m(X))


def test_a_readout_of_ones_own():
    class Scaled(eqx.Module):
        w: jax.Array
        b: jax.Array

        def __call__(self, x, key=None):
            return x @ self.w / len(self.w) ** 0.5 + 0.1 * self.b

    own = Scaled(jnp.zeros((4, 2)), jnp.zeros(2))
    module = eqx.nn.Sequential([linear(3, 4), eqx.nn.Lambda(jnp.tanh), own])
    model = models.from_equinox(module, readout="layers/2")
    drawn, structure = check(model, X, None, 2, mapped(X))
    readout = np.vstack([structure.layers[2].w, structure.layers[2].b])
    np.testing.assert_allclose(readout, drawn["readout"], rtol=1e-12)
    refused(models.from_equinox(module), "nothing follows")


class ReadsItsReadout(eqx.Module):
    one: eqx.nn.Linear
    two: eqx.nn.Linear

    def __call__(self, x):
        return self.two(self.two.weight @ self.one(x))


def sequential(*layers):
    return eqx.nn.Sequential(layers)


def mlp(outputs, **options):
    return eqx.nn.MLP(3, outputs, 4, 1, key=KEYS[0], **options)


REFUSED = {
    "final activation": (mlp(2, final_activation=jax.nn.relu), "nothing follows.*by 'max'"),
    "scalar": (mlp("scalar"), r"return shape \[d\] for one example"),
    "no bias": (mlp(2, use_final_bias=False), "has no bias: readout_bias_std must be 0"),
    "outputs": (mlp(3), "'layers/1' has 3 outputs, but the targets have 2"),
    "state": (
        sequential(linear(3, 4), eqx.nn.BatchNorm(4, "b", mode="batch"), linear(4, 2)),
        "has state at 'layers/1/",
    ),
    "weights elsewhere": (ReadsItsReadout(linear(3, 3), linear(3, 3)), "cannot be split at 'two'"),
    "no linear layer": (sequential(eqx.nn.LayerNorm(3)), "no linear layer of its framework's own"),
    "complex": (mlp(2, dtype=jnp.complex64), "must be floating point, got complex64"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_modules_that_cannot_be_split(name):
    module, words = REFUSED[name]
    refused(models.from_equinox(module), words, error=(TypeError, ValueError))


def test_arguments():
    refused(models.from_equinox(mlp(2), readout="layers/7"), "names no layer.*'layers/1'")
    refused(models.from_equinox(mlp(2)), "readout, 4, or None, got 5", width=5)
    refused(models.from_equinox(lambda w: 3), "an Equinox module, got 3", width=5, error=TypeError)
    with pytest.raises(TypeError, match="module must be an Equinox module"):
        models.from_equinox(None)
    with pytest.raises(TypeError, match="batched must be True or False"):
        models.from_equinox(mlp(2), batched="yes")


def test_the_package_is_optional(monkeypatch):
    monkeypatch.setitem(sys.modules, "equinox", None)
    with pytest.raises(ImportError, match=r"equinox: pip install .bnnsample\[equinox\]"):
        models.from_equinox(None)
