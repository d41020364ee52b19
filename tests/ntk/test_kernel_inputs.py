"""What may be given to a kernel: leaves of every kind, functions of every kind, and refusals."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import dense_kernel

from ntk import NTKOperator, cost, empirical_nngp, empirical_ntk

N, K, H, D = 5, 4, 6, 3


def network(params, x):
    return jnp.tanh(x @ params["w"]) @ params["o"]


def parameters():
    rng = np.random.default_rng(0)
    return {"w": jnp.asarray(rng.normal(size=(K, H))), "o": jnp.asarray(rng.normal(size=(H, D)))}


def inputs(n=N):
    return jnp.asarray(np.random.default_rng(1).normal(size=(n, K)))


@pytest.fixture(autouse=True)
def _as_users_write():
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def test_a_module_with_its_functions_and_sizes_is_a_parameter_tree():
    module = eqx.nn.MLP(K, D, H, 2, key=jax.random.key(0), dtype=jnp.float64)

    def apply(module, x):
        return jax.vmap(module)(x)

    arrays, rest = eqx.partition(module, eqx.is_inexact_array)
    expected = dense_kernel(lambda a, x: apply(eqx.combine(a, rest), x), arrays, inputs())
    np.testing.assert_allclose(empirical_ntk(apply, module, inputs()), expected, rtol=1e-12)
    assert empirical_nngp(apply, module, inputs()).shape == (N, N)
    np.testing.assert_allclose(
        NTKOperator(apply, module, inputs()).diagonal(), np.einsum("nnaa->na", expected)
    )


def test_an_integer_among_the_parameters_stays_a_python_integer():
    def repeated(params, x):
        for _ in range(params["times"]):
            x = jnp.tanh(x @ params["w"])
        return x

    params = {"w": parameters()["w"][:, :K], "times": 2}
    expected = dense_kernel(lambda w, x: repeated({"w": w, "times": 2}, x), params["w"], inputs())
    np.testing.assert_allclose(empirical_ntk(repeated, params, inputs()), expected, rtol=1e-12)


def test_a_method_of_a_module_that_has_no_hash_is_a_function():
    class Scaled(eqx.Module):
        scale: jax.Array

        def apply(self, params, x):
            return self.scale * network(params, x)

    got = empirical_ntk(Scaled(jnp.full(D, 2.0)).apply, parameters(), inputs())
    np.testing.assert_allclose(got, 4 * empirical_ntk(network, parameters(), inputs()))


def test_a_random_key_for_every_example_may_be_an_input():
    def dropped(params, x):
        kept = jax.vmap(lambda key: jax.random.bernoulli(key, 0.5, (D,)))(x["key"])
        return network(params, x["x"]) * kept

    x = {"x": inputs(), "key": jax.random.split(jax.random.key(0), N)}
    kept = jax.vmap(lambda key: jax.random.bernoulli(key, 0.5, (D,)))(x["key"])
    whole = empirical_ntk(network, parameters(), inputs())
    expected = whole * kept[:, None, :, None] * kept[None, :, None, :]
    for budget in (None, 3000):
        got = empirical_ntk(dropped, parameters(), x, memory_budget=budget)
        np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize("params", [{}, None, {"n": np.arange(3)}])
def test_parameters_without_a_float_are_refused(params):
    for call in (empirical_ntk, cost, NTKOperator):
        with pytest.raises(ValueError, match="params has no floating point leaf"):
            call(lambda p, x: x, params, inputs())


def test_complex_parameters_are_refused():
    for call in (empirical_ntk, cost, NTKOperator):
        with pytest.raises(TypeError, match="params must be real"):
            call(lambda p, x: jnp.real(x @ p), jnp.ones((K, D), complex), inputs())


@pytest.mark.parametrize("dtype", [">f4", "M8[s]", "U3", object])
def test_dtypes_that_jax_has_not_are_refused_by_name(dtype):
    x = np.ones((N, K), int).astype(dtype)
    with pytest.raises(TypeError, match="x1 must hold numbers of a dtype that JAX has"):
        empirical_ntk(network, parameters(), x)


def test_a_big_endian_parameter_is_refused_by_name():
    with pytest.raises(TypeError, match="params must hold numbers of a dtype that JAX has"):
        empirical_ntk(network, parameters() | {"w": np.ones((K, H), ">f4")}, inputs())


def test_axes_and_budgets_may_be_numbers_of_numpy():
    expected = empirical_ntk(network, parameters(), inputs(), trace_axes=1)
    for axes in (range(1, 2), np.array([1]), np.int64(1)):
        got = empirical_ntk(
            network, parameters(), inputs(), trace_axes=axes, memory_budget=np.int64(10**6)
        )
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_tiles_inside_of_a_program_with_nothing_traced_among_the_arguments():
    whole = empirical_ntk(network, parameters(), inputs())
    scaled = jax.jit(
        lambda s: s * empirical_ntk(network, parameters(), inputs(), memory_budget=2e3)
    )
    np.testing.assert_allclose(scaled(2.0), 2 * whole, rtol=1e-12)
    with jax.disable_jit():
        got = empirical_ntk(network, parameters(), inputs(), memory_budget=5e3)
    np.testing.assert_allclose(got, whole, rtol=1e-12)


@pytest.mark.parametrize("n", [1, N])
@pytest.mark.parametrize("budget", [None, 3e3])
def test_a_function_that_holds_a_traced_value_has_a_derivative_by_it(n, budget):
    def total(scale):
        kernel = empirical_ntk(
            lambda p, x: scale * network(p, x), parameters(), inputs(n), memory_budget=budget
        )
        return kernel.sum()

    expected = 2 * 1.3 * empirical_ntk(network, parameters(), inputs(n)).sum()
    np.testing.assert_allclose(jax.grad(total)(1.3), expected, rtol=1e-12)


def test_no_tracer_is_left_behind():
    with jax.checking_leaks():
        # A function of its own, so that it is traced anew.
        empirical_ntk(functools.partial(network), parameters(), inputs())


def _normalised(params, x, axis):
    h = x @ params["w"]
    h = (h - h.mean(axis, keepdims=True)) / jnp.sqrt(h.var(axis, keepdims=True) + 1e-3)
    return jax.nn.gelu(h) @ params["o"]


def test_rounding_in_half_precision_is_not_taken_for_mixing():
    rng = np.random.default_rng(0)
    params = {
        "w": jnp.asarray(rng.normal(size=(16, 64)), jnp.bfloat16),
        "o": jnp.asarray(rng.normal(size=(64, 10)), jnp.bfloat16),
    }
    x = jnp.asarray(rng.normal(size=(20, 16)), jnp.bfloat16)
    assert empirical_ntk(lambda p, x: _normalised(p, x, -1), params, x).shape == (20, 20, 10, 10)
    with pytest.raises(ValueError, match="mixes the examples"):
        empirical_ntk(lambda p, x: _normalised(p, x, 0), params, x)
