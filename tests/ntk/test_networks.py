"""Every network of the registry by every method against the dense Jacobian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import BATCH_MIXING, NETWORKS, normalised, rearranged
from oracles import dense_kernel

from ntk import empirical_ntk
from ntk._methods import METHODS, NTK_VECTOR_PRODUCTS, STRUCTURED_DERIVATIVES

# The library's attention sums in float32, and a weight stored in float32 has float32 gradients.
SINGLE = {"attention_library": 1e-6, "nnx_transformer": 1e-6, "cast_weight": 1e-6}


@pytest.fixture(autouse=True)
def _as_users_write():
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


# Networks that are about structure alone: by the other methods in the slow tests.
STRUCTURE = {
    name
    for name, build in NETWORKS.items()
    if build.__module__ in (normalised.__name__, rearranged.__name__)
}


# Linen stands for the networks that are written in three frameworks, in the default suite.
REWRITTEN = ("equinox_", "nnx_")
# The emitters that compile the default suite do not have its indices (conftest.py).
BYTES = ("byte_tokens",)
ONCE = [
    pytest.param(name, marks=pytest.mark.slow if name.startswith((*REWRITTEN, *BYTES)) else ())
    for name in NETWORKS
]


@pytest.mark.parametrize("name", ONCE)
def test_every_method(name):
    f, params, x = NETWORKS[name](jnp.float64)
    expected = dense_kernel(f, params, x)
    for method in [STRUCTURED_DERIVATIVES] if name in STRUCTURE else METHODS:
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


REDUCTIONS = {
    "trace of outputs": {"trace_axes": -1},
    "diagonal of outputs": {"diagonal_axes": -1},
    "diagonal of examples": {"diagonal_axes": 0},
    "variances": {"diagonal_axes": 0, "trace_axes": -1},
    "one number": {"trace_axes": (0, -1)},
}


def reduced(kernel, trace_axes=(), diagonal_axes=()):
    """A full kernel ``[n, n, d, d, ...]`` with pairs of axes traced over or on their diagonal."""
    count = kernel.ndim // 2
    traced, kept = (
        {a % count for a in np.atleast_1d(axes).astype(int)} for axes in (trace_axes, diagonal_axes)
    )
    letters, output, divisor = [], [], 1
    for k in range(count):
        letters += [2 * k, 2 * k if k in traced | kept else 2 * k + 1]
        output += [] if k in traced else [2 * k] if k in kept else [2 * k, 2 * k + 1]
        divisor *= kernel.shape[2 * k] if k in traced else 1
    return np.einsum(kernel, letters, output) / divisor


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_reduction_by_every_method(name):
    f, params, x = NETWORKS[name](jnp.float64)
    kernel = dense_kernel(f, params, x)
    n = len(kernel)
    first, second = (jax.tree.map(lambda a, s=s: a[s], x) for s in (slice(n // 2), slice(1, n)))
    for method in METHODS:
        got = {
            "full": empirical_ntk(f, params, x, method=method),
            "two sets": empirical_ntk(f, params, first, second, method=method),
        }
        expected = {"full": kernel, "two sets": kernel[: n // 2, 1:]}
        for label, axes in REDUCTIONS.items():
            got[label] = empirical_ntk(f, params, x, method=method, **axes)
            expected[label] = reduced(kernel, **axes)
        for label, value in expected.items():
            assert got[label].shape == value.shape
            distance = np.linalg.norm(got[label] - value) / np.linalg.norm(kernel)
            assert distance <= SINGLE.get(name, 1e-12), (method, label)
