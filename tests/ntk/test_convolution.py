"""The convolution of layers: derivatives of all orders, and their layouts inside loops."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ntk.layers._convolution import convolve

RNG = np.random.default_rng(0)
CASES = [((7,), (3,), (2,)), ((6, 5), (3, 2), (1, 1)), ((7, 6), (2, 3), (2, 3))]
CASES.append(((4, 5, 3), (2, 1, 3), (1, 2, 1)))


def arrays(positions, window):
    x, w = RNG.normal(size=(3, *positions, 2)), RNG.normal(size=(*window, 2, 4))
    return jnp.asarray(x), jnp.asarray(w)


def plain(x, w, strides):
    s = "DHW"[-len(strides) :]
    layouts = (f"N{s}C", f"{s}IO", f"N{s}C")
    return jax.lax.conv_general_dilated(x, w, strides, "VALID", dimension_numbers=layouts)


@pytest.mark.parametrize(("positions", "window", "strides"), CASES)
def test_derivatives_are_those_of_the_primitive(positions, window, strides):
    x, w = arrays(positions, window)
    y, pull = jax.vjp(lambda x, w: convolve(x, w, strides), x, w)
    expected, expected_pull = jax.vjp(lambda x, w: plain(x, w, strides), x, w)
    np.testing.assert_array_equal(y, expected)
    cotangent = jnp.asarray(RNG.normal(size=y.shape))
    for one, other in zip(pull(cotangent), expected_pull(cotangent), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)
    tangents = arrays(positions, window)
    for at in ((0, 1), (0,), (1,)):
        chosen = [t if i in at else jnp.zeros_like(t) for i, t in enumerate(tangents)]
        one = jax.jvp(lambda x, w: convolve(x, w, strides), (x, w), tuple(chosen))[1]
        other = jax.jvp(lambda x, w: plain(x, w, strides), (x, w), tuple(chosen))[1]
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_second_derivatives():
    x, w = arrays((5, 4), (2, 2))
    check_grads(lambda x, w: jnp.sin(convolve(x, w, (2, 1))), (x, w), 2, modes=("fwd", "rev"))


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="XLA's layouts on CPU")
@pytest.mark.parametrize("strides", [(1, 1), (2, 2)])
def test_gradients_in_loops_have_the_layout_that_is_fast(strides):
    x, w = arrays((8, 8), (3, 3))

    def layouts(fn):
        gradient = jax.grad(lambda x, w: jnp.sum(jnp.tanh(fn(x, w, strides))), (0, 1))
        in_loop = jax.jit(lambda xs, ws: jax.lax.map(lambda a: gradient(*a), (xs, ws)))
        text = in_loop.lower(x[None], w[None]).compile().as_text()
        return re.findall(r"dim_labels=(\S+?)[,\n]", text)

    found = layouts(convolve)
    assert len(found) == 3
    assert set(found) == {"b01f_01io->b01f"}
    # The test can tell.
    assert set(layouts(plain)) != {"b01f_01io->b01f"}
