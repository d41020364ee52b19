"""Modules of Flax: split where they end in a linear layer, refused with the reason where not."""

import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import bnnsample
from bnnsample import models
from bnnsample.likelihoods import Gaussian

X = jnp.asarray(np.random.default_rng(0).normal(size=(6, 3)))
IMAGES = jnp.asarray(np.random.default_rng(1).normal(size=(4, 6, 6, 2)))


class Linen(nn.Module):
    """A function, with the layers it makes."""

    function: object

    @nn.compact
    def __call__(self, x, **kwargs):
        return self.function(x, **kwargs)


def linear(x, features, name, **options):
    return nn.Dense(features, name=name, **options)(x)


def check(model, x, width, outputs, forward=None):
    """The module with a draw's parameters is the model; the draw comes back from the module."""
    drawn = jax.jit(lambda key: model.init(key, x, width, outputs))(jax.random.key(0))
    structure = model.to_framework(drawn)
    own = forward(structure) if forward else structure(x)
    np.testing.assert_allclose(own, jax.jit(model.apply)(drawn, x), rtol=1e-10, atol=1e-12)
    back = model.from_framework(structure, x, width)
    for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(drawn), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    return drawn, structure


def refused(model, words, x=X, outputs=2, width=None, error=ValueError):
    """By an abstract evaluation, before anything is compiled."""
    with pytest.raises(error, match=words):
        jax.eval_shape(lambda key: model.init(key, x, width, outputs), jax.random.key(0))


class Block(nn.Module):
    channels: int

    @nn.compact
    def __call__(self, x):
        y = nn.Conv(self.channels, (3, 3), name="z_first")(x)
        return nn.Conv(self.channels, (1, 1), name="shortcut")(x) + nn.relu(y)


class LinenCNN(nn.Module):
    """Submodules whose names are not in the order of their calls; the readout is made first."""

    width: int

    @nn.compact
    def __call__(self, x):
        head = nn.Dense(2, name="a_head")
        x = Block(self.width, name="stem")(x)
        x = nn.remat(Block)(2 * self.width, name="body")(x)
        return head(x.reshape(x.shape[0], -1))


def test_linen_cnn():
    model = models.from_flax(LinenCNN, models.fan_in(2**0.5, 0.1))
    drawn, _ = check(model, IMAGES, 2, 2, lambda v: LinenCNN(2).apply(v, IMAGES))
    shapes = [layer["kernel"].shape for layer in drawn["hidden"].layers]
    assert shapes == [(3, 3, 2, 2), (1, 1, 2, 2), (3, 3, 2, 4), (1, 1, 2, 4)]
    assert drawn["readout"].shape == (6 * 6 * 4 + 1, 2)


class NNXBlock(nnx.Module):
    def __init__(self, inputs, width, rngs):
        self.z_first = nnx.Conv(inputs, width, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(width, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.shortcut = nnx.Conv(inputs, width, (1, 1), rngs=rngs)

    def __call__(self, x):
        return self.shortcut(x) + self.drop(nnx.relu(self.norm(self.z_first(x))))


class NNXCNN(nnx.Module):
    """Statistics that are not at their start, and dropout: both of training."""

    def __init__(self, width):
        rngs = nnx.Rngs(0)
        self.blocks = nnx.List([NNXBlock(2, width, rngs), NNXBlock(width, width, rngs)])
        self.blocks[1].norm.mean[...] = jnp.arange(width, dtype=jnp.float32)
        self.a_head = nnx.Linear(width, 2, rngs=rngs)

    def __call__(self, x):
        for block in self.blocks:
            x = block(x)
        return self.a_head(x.mean((1, 2)))


def test_nnx_cnn_in_evaluation_mode():
    def rule(path, shape):
        return 1.0 if "norm" in path else models.fan_in()(path, shape)

    model = models.from_flax(NNXCNN, rule)
    # Flax's own BatchNorm mixes ranks.
    with jax.numpy_rank_promotion("allow"):
        drawn, module = check(model, IMAGES, 3, 2)
    assert module.blocks[1].drop.deterministic
    np.testing.assert_array_equal(module.blocks[1].norm.mean[...], np.arange(3))
    shapes = [tuple(layer) for layer in drawn["hidden"].layers[:3]]
    assert shapes == [("bias", "kernel"), ("bias", "scale"), ("bias", "kernel")]
    assert drawn["hidden"].layers[0]["kernel"].shape == (3, 3, 2, 3)


def test_a_ready_module_is_left_as_it_is():
    module = NNXCNN(3)
    before = jax.tree.map(np.asarray, nnx.state(module, nnx.Param))
    jax.eval_shape(lambda k: models.from_flax(module).init(k, IMAGES, None, 2), jax.random.key(0))
    assert not module.blocks[0].drop.deterministic
    after = nnx.state(module, nnx.Param)
    for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        np.testing.assert_array_equal(a, b)


def test_linen_batch_norm_in_evaluation_mode():
    def function(x, train=True):
        x = nn.BatchNorm(not train, name="norm")(linear(x, 4, "one"))
        x = nn.Dropout(0.5, deterministic=not train)(nn.relu(x))
        return linear(x, 2, "two")

    statistics = {"batch_stats": {"norm": {"mean": jnp.arange(4.0), "var": jnp.full(4, 2.0)}}}
    evaluation = {"apply_kwargs": {"train": False}}
    module = Linen(function)
    model = models.from_flax(module, collections=statistics, **evaluation)
    with jax.numpy_rank_promotion("allow"):
        check(model, X, 4, 2, lambda v: module.apply(v, X, train=False))
    refused(models.from_flax(module, **evaluation), r"collections \['batch_stats'\] beside")
    refused(models.from_flax(module, collections=statistics), "evaluation mode, such as apply_kw")


def test_jitted_modules_and_a_readout_inside_them():
    class Tower(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(2, name="last")(jnp.tanh(nn.Dense(5)(x)))

    module = nn.jit(Tower)()
    check(models.from_flax(module), X, None, 2, lambda v: module.apply(v, X))
    nested = Linen(lambda x: nn.remat(Tower)(name="tower")(x + 0))
    model = models.from_flax(nested, readout="tower/last")
    check(model, X, None, 2, lambda v: nested.apply(v, X))


def test_without_hidden_parameters():
    model = models.from_flax(
        Linen(lambda x: linear(x, 2, "only", use_bias=False)), readout_bias_std=0
    )
    drawn, _ = check(model, X, None, 2, lambda v: X @ v["params"]["only"]["kernel"])
    assert drawn["hidden"].layers == []


TIED = nnx.Linear(3, 3, rngs=nnx.Rngs(0))


def stack(*layers):
    return nnx.Sequential(*layers)


def fresh(inputs, outputs):
    return nnx.Linear(inputs, outputs, rngs=nnx.Rngs(0))


class Counting(nnx.Module):
    def __init__(self):
        self.layer, self.calls = fresh(3, 2), nnx.Variable(jnp.zeros(()))

    def __call__(self, x):
        self.calls[...] += 1
        return self.layer(x)


class ReadsItsReadout(nnx.Module):
    def __init__(self):
        self.one, self.two = fresh(3, 3), fresh(3, 3)

    def __call__(self, x):
        return self.two(jnp.tanh(self.one(x)) * self.two.kernel[...].sum().astype(x.dtype))


REFUSED = {
    "activation": (lambda x: nn.relu(linear(x, 2, "a")), "nothing follows.*computed by 'max'"),
    "softmax": (lambda x: nn.softmax(linear(x, 2, "a")), "nothing follows.*computed by 'div'"),
    "shortcut": (lambda x: linear(x, 3, "a") + x, "nothing follows.*computed by 'add'"),
    "squeezed": (lambda x: linear(x, 1, "a")[:, 0], "nothing follows.*computed by 'squeeze'"),
    "no linear layer": (lambda x: x, "no linear layer of its framework's own"),
    "input": (lambda x: (linear(x, 2, "a"), x)[1], "output is an input"),
    "two outputs": (lambda x: (linear(x, 2, "a"), linear(x, 2, "b")), "return one array, got 2"),
    "positions": (lambda x: linear(x[:, None], 2, "a"), r"shape \[n, d\] for inputs"),
    "outputs": (lambda x: linear(x, 5, "a"), "'a' has 5 outputs, but the targets have 2"),
    "bias": (lambda x: linear(x, 2, "a", use_bias=False), "'a' has no bias: readout_bias_std"),
    "dropout": (
        lambda x: linear(nn.Dropout(0.5, deterministic=False)(x), 2, "a"),
        "draws random numbers",
    ),
    "nnx activation": (stack(fresh(3, 2), nnx.relu), "nothing follows"),
    "nnx shared": (stack(TIED, nnx.relu, TIED), "'layers/0' is used 2 times"),
    "nnx counting": (Counting(), "changes its variables"),
    "nnx weights elsewhere": (ReadsItsReadout(), "cannot be split at 'two'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_modules_that_cannot_be_split(name):
    module, words = REFUSED[name]
    module = module if isinstance(module, nnx.Module) else Linen(module)
    refused(models.from_flax(module), words)


def two_layers(x):
    return linear(nn.LayerNorm(name="norm")(linear(x, 2, "one")), 2, "two")


@pytest.mark.parametrize(
    ("readout", "words"),
    [
        ("three", "'three' names no layer with parameters; they are 'one', 'norm', 'two'"),
        ("one", r"linear layer \('one'\) that nothing follows"),
        ("two/kernel", "names no layer"),
    ],
)
def test_paths(readout, words):
    refused(models.from_flax(Linen(two_layers), readout=readout), words)


def test_layers_that_are_not_linear():
    norm = Linen(lambda x: nn.LayerNorm(name="norm")(linear(x, 2, "one")))
    refused(models.from_flax(norm, readout="norm"), "not linear with one kernel")

    class Bent(nn.Module):
        @nn.compact
        def __call__(self, x):
            w = self.param("w", nn.initializers.normal(), (x.shape[-1], 2), x.dtype)
            return jnp.tanh(x @ w)

    bent = Linen(lambda x: Bent(name="bent")(x + 0))
    refused(models.from_flax(bent, readout="bent"), "'bent' is not linear: readouts are")


def test_arguments():
    module = Linen(two_layers)
    refused(models.from_flax(module), "ready module's readout, 2, or None, got 64", width=64)
    with pytest.raises(TypeError, match=r"Flax module or a function of the width.*got str"):
        models.from_flax("MyNet")
    with pytest.raises(TypeError, match="readout must be a path"):
        models.from_flax(module, readout=2)
    with pytest.raises(ValueError, match="readout_weight_std"):
        models.from_flax(module, readout_weight_std=0.0)
    refused(
        models.from_flax(lambda width: 3),
        "must return a Flax module, got 3",
        width=4,
        error=TypeError,
    )
    refused(models.from_flax(lambda width: module), "width must be an int", error=TypeError)
    refused(models.from_flax(lambda w: module), "width must be at least 1", width=0)
    collections = models.from_flax(stack(fresh(3, 2)), collections={"cache": {}})
    refused(collections, "those of Linen modules")


def test_run_refuses_before_it_starts():
    model = models.from_flax(Linen(lambda x: nn.relu(linear(x, 1, "a"))))
    with pytest.raises(ValueError, match="nothing follows"):
        bnnsample.run(model, (X, X[:, 0]), width=None, likelihood=Gaussian(0.1))


def test_parameters_of_another_module():
    model = models.from_flax(Linen(two_layers))
    other = model.to_framework(model.init(jax.random.key(0), X, None, 2))
    other["params"]["one"]["kernel"] = jnp.ones((4, 2))
    with pytest.raises(ValueError, match=r"expected parameters of shapes.*\(3, 2\).*got.*\(4, 2\)"):
        model.from_framework(other, X)


def test_the_package_is_optional(monkeypatch):
    monkeypatch.setitem(sys.modules, "flax", None)
    with pytest.raises(ImportError, match=r"flax: pip install .bnnsample\[flax\]"):
        models.from_flax(None)
