"""Activations by name against SciPy and NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats as st

import ntk

REFERENCES = {
    "relu": lambda z: np.maximum(z, 0),
    "gelu": lambda z: z * st.norm.cdf(z),
    "erf": scipy.special.erf,
    "tanh": np.tanh,
    "sin": np.sin,
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
}


def test_every_activation_has_a_reference():
    assert set(ntk.ACTIVATIONS) == set(REFERENCES)


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_values(name, dtype):
    z = jnp.linspace(-6, 6, 241, dtype=dtype)
    got = ntk.resolve_activation(name)(z)
    assert got.dtype == dtype
    eps = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(got, REFERENCES[name](np.asarray(z, float)), rtol=20 * eps, atol=eps)


@pytest.mark.parametrize("name", REFERENCES)
def test_slopes_equal_central_differences(name):
    z = np.array([-2.3, -0.4, 0.6, 1.9])
    step = 1e-5
    expected = (REFERENCES[name](z + step) - REFERENCES[name](z - step)) / (2 * step)
    slope = jax.vmap(jax.grad(ntk.ACTIVATIONS[name]))(jnp.asarray(z))
    np.testing.assert_allclose(slope, expected, atol=1e-9)


def test_resolve_activation():
    assert ntk.resolve_activation(jnp.tanh) is jnp.tanh
    with pytest.raises(ValueError, match="erf, gelu, leaky_relu, relu, sin, tanh"):
        ntk.resolve_activation("softsign")
    with pytest.raises(TypeError, match="got int"):
        ntk.resolve_activation(1)
