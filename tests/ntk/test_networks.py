"""Every network of the registry by every method against the dense Jacobian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import BATCH_MIXING, NETWORKS
from oracles import dense_kernel

from ntk import empirical_ntk
from ntk._methods import METHODS, NTK_VECTOR_PRODUCTS

# The library's attention sums in float32, and a weight stored in float32 has float32 gradients.
SINGLE = {"attention_library": 1e-6, "nnx_transformer": 1e-6, "cast_weight": 1e-6}


@pytest.fixture(autouse=True)
def _as_users_write():
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.parametrize("name", NETWORKS)
def test_every_method(name):
    f, params, x = NETWORKS[name](jnp.float64)
    expected = dense_kernel(f, params, x)
    for method in METHODS:
        got = np.asarray(empirical_ntk(f, params, x, method=method))
        assert got.shape == expected.shape
        distance = np.linalg.norm(got - expected) / np.linalg.norm(expected)
        assert distance <= SINGLE.get(name, 1e-12), method


def test_a_custom_reverse_rule_is_obeyed_by_products_too():
    """It halves the cotangent on purpose: kernels are a quarter of those of the true derivative."""
    f, params, x = NETWORKS["custom_vjp_layer"](jnp.float64)
    expected = dense_kernel(f, params, x)
    got = empirical_ntk(f, params, x, method=NTK_VECTOR_PRODUCTS)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize("name", BATCH_MIXING)
def test_networks_that_mix_examples_are_refused(name):
    f, params, x = BATCH_MIXING[name](jnp.float64)
    with pytest.raises(ValueError, match="mixes the examples"):
        empirical_ntk(f, params, x)
