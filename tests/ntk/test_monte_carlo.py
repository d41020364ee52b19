"""Kernels as means over finite networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntk
from ntk.layers import Activation, Conv, Dense, Flatten, GlobalAvgPool, MaxPool, Scale, Serial

VECTORS = jnp.asarray(np.random.default_rng(0).normal(size=(3, 5)))
IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4, 4, 2)))
MLP = Serial(Dense(1.4, 0.3), Activation("relu"), Dense(1.4, 0.3))


def test_where_the_limit_is_known():
    width = 512
    kernel = ntk.monte_carlo_kernel(MLP, width=width, num_draws=30, key=jax.random.key(0))
    found, exact = kernel(VECTORS), ntk.infinite_kernel(MLP)(VECTORS)
    for name in ("nngp", "ntk"):
        mean, error = getattr(found, name), getattr(found, f"{name}_error")
        limit = getattr(exact, name)
        assert (np.abs(mean - limit) < 4.5 * error + np.abs(limit).max() / width).all()
        assert (error < 0.02 * np.abs(limit).max()).all()
    cross = kernel(VECTORS, VECTORS[:2], get="nngp")
    np.testing.assert_allclose(cross.nngp, found.nngp[:, :2], rtol=1e-10)
    assert cross.ntk is None
    assert cross.ntk_error is None


def test_the_maximum_of_two_gaussians():
    """Clark 1961: for zero means, E max(a, b)^2 and E max(a, b) have closed forms.

    Two positions of one channel, a filter of one position, and a maximum over both: with
    ``a, b ~ N(0, S)`` of one example, ``E max^2 = (S_aa + S_bb) / 2`` by symmetry of signs.
    """
    x = IMAGES[:, :1, :2]
    pooled = Serial(Conv((1, 1)), MaxPool((1, 2)), Flatten(), Dense())
    plain = Serial(Conv((1, 1)), Flatten(), Dense())
    kernel = ntk.monte_carlo_kernel(pooled, width=256, num_draws=50, key=jax.random.key(1))
    found = kernel(x, get="nngp")
    expected = np.diag(ntk.infinite_kernel(plain)(x, get="nngp"))
    gap = np.abs(np.diag(found.nngp) - expected)
    assert (gap < 4.5 * np.diag(found.nngp_error)).all()
    assert (np.diag(found.nngp_error) < 0.05 * expected).all()


def test_equal_pooling_windows_of_one_position():
    network = [Conv((3, 3), bias_std=0.2), Activation("relu"), MaxPool((1, 1)), GlobalAvgPool()]
    kernel = ntk.monte_carlo_kernel(
        Serial(*network, Dense()), width=64, num_draws=3, key=jax.random.key(0)
    )
    without = ntk.monte_carlo_kernel(
        Serial(*network[:2], Scale(1.0), *network[3:], Dense()),
        width=64, num_draws=3, key=jax.random.key(0),
    )  # fmt: skip
    np.testing.assert_allclose(kernel(IMAGES).ntk, without(IMAGES).ntk, rtol=1e-10)


def test_bad_arguments():
    def make(**changed):
        return ntk.monte_carlo_kernel(
            **{"model": MLP, "width": 8, "num_draws": 2, "key": jax.random.key(0), **changed}
        )

    kernel = make()
    bad = [
        ("width must be", lambda: make(width=0)),
        ("num_draws must be", lambda: make(num_draws=1)),
        ("pass key", lambda: make(key=None)),
        ("get must be", lambda: kernel(VECTORS, get="gp")),
        ("x1 is not finite", lambda: kernel(VECTORS.at[0, 0].set(np.nan))),
        ("equal shapes", lambda: kernel(VECTORS, VECTORS[:, :2])),
        ("must have weights", lambda: make(model=Serial(Dense(), Activation("relu")))),
    ]
    for message, call in bad:
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(ValueError, match="x1 must be an array"):
        kernel(VECTORS[0])
    with pytest.raises(TypeError, match="must be floating point"):
        kernel(np.ones((2, 5), int))
    with pytest.raises(TypeError, match="of one dtype"):
        kernel(VECTORS, VECTORS.astype(np.float32))
    with pytest.raises(ValueError, match="pool or flatten"):
        make(model=Dense())(IMAGES)
    with pytest.raises(TypeError, match="cannot be traced"):
        jax.jit(kernel)(VECTORS)
