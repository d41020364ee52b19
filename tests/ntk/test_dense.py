"""The fully connected layer in NTK parameterisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntk


def drawn(layer, fan_in, width, dtype=jnp.float64):
    return layer.init(jax.random.key(0), (fan_in,), iter([width]), dtype)


@pytest.mark.parametrize("bias_std", [0.0, 0.3])
def test_apply_equals_the_definition(bias_std):
    layer = ntk.Dense(1.7, bias_std)
    x = np.random.default_rng(0).normal(size=(5, 4))
    parameters, shape = drawn(layer, 4, 6)
    assert shape == (6,)
    assert set(parameters) == ({"weight", "bias"} if bias_std else {"weight"})
    expected = 1.7 / 2 * x @ np.asarray(parameters["weight"])
    if bias_std:
        expected += bias_std * np.asarray(parameters["bias"])
    np.testing.assert_allclose(layer.apply(parameters, jnp.asarray(x)), expected, rtol=1e-13)


def test_prior_does_not_depend_on_the_scales_or_the_width():
    wide, _ = drawn(ntk.Dense(5.0, 3.0), 100, 300)
    count = 100 * 300
    assert abs(float(jnp.var(wide["weight"])) - 1) < 4 * np.sqrt(2 / count)
    assert abs(float(jnp.mean(wide["weight"]))) < 4 / np.sqrt(count)
    assert abs(float(jnp.var(wide["bias"])) - 1) < 4 * np.sqrt(2 / 300)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_dtype_in_is_dtype_out(dtype):
    layer = ntk.Dense(1.7, 0.3)
    parameters, _ = drawn(layer, 4, 6, dtype)
    assert {leaf.dtype for leaf in parameters.values()} == {jnp.dtype(dtype)}
    assert layer.apply(parameters, jnp.ones((2, 4), dtype)).dtype == dtype
