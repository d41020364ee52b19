"""Kernels in tiles: equal to the kernel in one piece, within the budget by XLA's own analysis."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from ntk import empirical_ntk
from ntk._kernel_inputs import check_inputs
from ntk._methods import METHODS
from ntk._tiled import tiled_kernel
from ntk._tiles import _compiled, choose_tiling, measured_bytes, tiles_of, tiling

N, I, K, D = 13, 5, 16, 6


def mlp(p, x):
    h = jax.nn.gelu(x @ p["w"] + p["b"][None])
    return jnp.tanh(h @ p["v"]) @ p["o"]


def with_two_output_axes(p, x):
    return mlp(p, x).reshape(-1, 2, 3)


def normal(*shape):
    return np.random.default_rng(sum(shape) + len(shape)).normal(size=shape)


PARAMS = {"w": normal(I, K), "b": normal(K), "v": normal(K, K), "o": normal(K, D)}
PARAMS = jax.tree.map(jnp.asarray, PARAMS)
X1, X2 = normal(N, I), normal(8, I)
REDUCTIONS = [
    {},
    {"trace_axes": -1},
    {"diagonal_axes": -1},
    {"diagonal_axes": 0},
    {"trace_axes": 0},
    {"diagonal_axes": 0, "trace_axes": -1},
]


def close(got, expected):
    assert got.shape == expected.shape
    assert np.linalg.norm(got - expected) <= 1e-12 * np.linalg.norm(expected)


def split(reduction):
    return reduction.get("trace_axes", ()), reduction.get("diagonal_axes", ())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("reduction", REDUCTIONS, ids=str)
@pytest.mark.parametrize("size", [(5, None), (5, 4), (1, 1)], ids=str)
def test_tiles_are_the_kernel(method, reduction, size):
    expected = empirical_ntk(mlp, PARAMS, X1, method=method, **reduction)
    inputs = check_inputs(mlp, PARAMS, X1, None, *split(reduction))
    close(tiled_kernel(inputs, method, tiling(inputs, *size), False), expected)


@pytest.mark.parametrize("method", METHODS)
def test_tiles_of_two_sets_of_inputs(method):
    expected = empirical_ntk(mlp, PARAMS, X1, X2, method=method)
    inputs = check_inputs(mlp, PARAMS, X1, X2, (), ())
    for size in ((5, None), (3, 4)):
        close(tiled_kernel(inputs, method, tiling(inputs, *size), False), expected)


@pytest.mark.parametrize(
    "reduction", [{}, {"trace_axes": 2}, {"diagonal_axes": 2, "trace_axes": 1}]
)
def test_tiles_of_several_output_axes(reduction):
    expected = empirical_ntk(with_two_output_axes, PARAMS, X1, **reduction)
    inputs = check_inputs(with_two_output_axes, PARAMS, X1, None, *split(reduction))
    close(tiled_kernel(inputs, METHODS[0], tiling(inputs, 4, 2), False), expected)


def test_a_symmetric_kernel_has_half_the_tiles():
    both = check_inputs(mlp, PARAMS, X1, X1, (), ())
    one = check_inputs(mlp, PARAMS, X1, None, (), ())
    assert len(tiles_of(both, tiling(both, 3, None))) == 25
    assert len(tiles_of(one, tiling(one, 3, None))) == 15


def wide():
    rng = np.random.default_rng(0)
    shapes = {"w": (20, 256), "b": (256,), "v": (256, 256), "o": (256, 8)}
    params = {k: jnp.asarray(rng.normal(size=s) / 16, jnp.float32) for k, s in shapes.items()}
    return params, rng.normal(size=(40, 20)).astype(np.float32)


@pytest.mark.optimized
@pytest.mark.parametrize(
    "method",
    [
        pytest.param(m, marks=pytest.mark.slow if m == "ntk_vector_products" else ())
        for m in METHODS
    ],
)
def test_temporary_memory_stays_within_the_budget(method):
    params, x = wide()
    inputs = check_inputs(mlp, params, x, None, (), ())
    whole = tiling(inputs, 40, None)
    need = measured_bytes(inputs, method, whole)
    expected = empirical_ntk(mlp, params, x, method=method, memory_budget=need)
    for share in (2, 10):
        cut = choose_tiling(inputs, method, need // share, True, 1)
        assert cut.rows < 40
        assert measured_bytes(inputs, method, cut) <= need // share
        got = empirical_ntk(mlp, params, x, method=method, memory_budget=need // share)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_the_smallest_tile_must_fit():
    params, x = wide()
    with pytest.raises(ValueError, match=r"memory_budget of 100 bytes is too small.*needs [0-9]+"):
        empirical_ntk(mlp, params, x, memory_budget=100)
    inputs = check_inputs(mlp, params, x, None, (), ())
    smallest = measured_bytes(inputs, METHODS[0], tiling(inputs, 1, 1))
    cut = choose_tiling(inputs, METHODS[0], smallest, True, 1)
    assert measured_bytes(inputs, METHODS[0], cut) <= smallest


@pytest.mark.parametrize("budget", [0, -1, np.nan, np.inf])
def test_impossible_budgets(budget):
    with pytest.raises(ValueError, match="memory_budget must be finite and at least 1 byte"):
        empirical_ntk(mlp, PARAMS, X1, memory_budget=budget)


@pytest.mark.parametrize("budget", ["1GB", True, [1]])
def test_budgets_that_are_no_numbers(budget):
    with pytest.raises(TypeError, match="memory_budget must be a number of bytes"):
        empirical_ntk(mlp, PARAMS, X1, memory_budget=budget)


def test_mesh_of_another_kind():
    with pytest.raises(TypeError, match=r"mesh must be a jax\.sharding\.Mesh"):
        empirical_ntk(mlp, PARAMS, X1, mesh=jax.devices())


def test_memory_mapped_inputs(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, X1)
    mapped = np.load(path, mmap_mode="r")
    inputs = check_inputs(mlp, PARAMS, mapped, None, (), ())
    assert isinstance(inputs.x1[0], np.memmap)
    got = tiled_kernel(inputs, METHODS[0], tiling(inputs, 4, None), False)
    close(got, empirical_ntk(mlp, PARAMS, X1))


def test_with_a_budget_under_transformations():
    """Tiles in a loop of the program itself, and their derivative."""
    budget = 20_000
    expected = jax.grad(lambda p: jnp.sum(empirical_ntk(mlp, p, X1) ** 2))(PARAMS)

    def loss(p):
        kernel = empirical_ntk(mlp, p, X1, method=METHODS[0], memory_budget=budget)
        return jnp.sum(kernel**2)

    got = jax.jit(jax.grad(loss))(PARAMS)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10 * np.abs(b).max())
    traced = jax.jit(
        lambda p: empirical_ntk(mlp, p, X1, X2[:0:-1], trace_axes=1, memory_budget=budget)
    )
    close(traced(PARAMS), empirical_ntk(mlp, PARAMS, X1, X2[:0:-1], trace_axes=1))


def test_programs_are_compiled_again_under_another_precision():
    def compiled():
        return _compiled.cache_info().misses

    budget = 20_000
    empirical_ntk(mlp, PARAMS, X1, memory_budget=budget)
    before = compiled()
    empirical_ntk(mlp, PARAMS, X1, memory_budget=budget)
    assert compiled() == before
    with jax.default_matmul_precision("highest"):
        empirical_ntk(mlp, PARAMS, X1, memory_budget=budget)
    assert compiled() > before


def test_a_mesh_of_one_device():
    mesh = Mesh(np.array(jax.devices()[:1]), ("devices",))
    close(empirical_ntk(mlp, PARAMS, X1, mesh=mesh), empirical_ntk(mlp, PARAMS, X1))


FOUR_DEVICES = """
import jax, numpy as np, jax.numpy as jnp
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 4)
from jax.sharding import Mesh
from ntk import empirical_ntk
rng = np.random.default_rng(0)
params = {k: jnp.asarray(rng.normal(size=s)) for k, s in (("w", (5, 16)), ("o", (16, 6)))}
x1, x2 = rng.normal(size=(13, 5)), rng.normal(size=(7, 5))
f = lambda p, x: jnp.tanh(x @ p["w"]) @ p["o"]
mesh = Mesh(np.array(jax.devices()).reshape(2, 2), ("a", "b"))
for other in (None, x2):
    for method in ("structured_derivatives", "jacobian_contraction", "ntk_vector_products"):
        for settings in ({}, {"trace_axes": -1}, {"memory_budget": 4000}):
            got = empirical_ntk(f, params, x1, other, method=method, mesh=mesh, **settings)
            settings.pop("memory_budget", None)
            expected = empirical_ntk(f, params, x1, other, method=method, **settings)
            assert got.shape == expected.shape
            assert np.linalg.norm(got - expected) <= 1e-12 * np.linalg.norm(expected)
got = empirical_ntk(f, params, x1, diagonal_axes=0, mesh=mesh)
expected = empirical_ntk(f, params, x1, diagonal_axes=0)
assert np.linalg.norm(got - expected) <= 1e-12 * np.linalg.norm(expected)
from jax.sharding import NamedSharding, PartitionSpec as P
whole = jax.device_put(params, NamedSharding(mesh, P()))
spread = jax.device_put(jnp.asarray(x1[:12]), NamedSharding(mesh, P(("a", "b"))))
expected = empirical_ntk(f, params, x1[:12])
for given, x in ((jax.device_put(params, jax.devices()[2]), x1[:12]), (whole, spread)):
    got = empirical_ntk(f, given, x, memory_budget=4000)
    assert np.linalg.norm(got - expected) <= 1e-12 * np.linalg.norm(expected)
print("devices", len(jax.devices()))
"""


def test_a_mesh_of_four_devices():
    run = subprocess.run(
        [sys.executable, "-c", FOUR_DEVICES], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.strip() == "devices 4"
