"""Operation counts against counts by hand, and what collapsing the readout adds."""

import jax
import jax.numpy as jnp
import pytest

import bnnsample
from bnnsample.coordinates import COORDINATES
from ntk import count_operations


def test_matrix_product_counts_two_per_multiplication_and_addition():
    a, b = jnp.ones((3, 5)), jnp.ones((5, 7))
    assert count_operations(jnp.matmul, a, b) == 2 * 3 * 5 * 7


def test_batched_product_counts_every_batch():
    a, b = jnp.ones((4, 3, 5)), jnp.ones((4, 5, 7))
    assert count_operations(jnp.matmul, a, b) == 4 * 2 * 3 * 5 * 7


def test_scan_counts_every_iteration():
    a = jnp.ones((6, 6))

    def power(x):
        return jax.lax.scan(lambda c, _: (c @ a, None), x, None, length=11)[0]

    assert count_operations(power, a) == 11 * 2 * 6**3


def test_conditional_counts_its_dearest_branch():
    a = jnp.ones((6, 6))

    def either(flag, x):
        return jax.lax.cond(flag, lambda y: y @ a, lambda y: y, x)

    assert count_operations(either, jnp.asarray(True), a) >= 2 * 6**3


@pytest.mark.parametrize("groups", [1, 2])
def test_convolution_counts_its_kernel_for_every_output(groups):
    image, kernel = jnp.ones((2, 9, 9, 4)), jnp.ones((3, 3, 4 // groups, 6))

    def convolve(image, kernel):
        return jax.lax.conv_general_dilated(
            image,
            kernel,
            (2, 2),
            "VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )

    assert count_operations(convolve, image, kernel) == 2 * (2 * 4 * 4 * 6) * (9 * 4 // groups)


def test_factorisation_and_solves():
    n, m = 120, 5
    spd = jnp.eye(n)
    # JAX symmetrises and masks around the primitive: a few passes of n^2 beside n^3 / 3.
    around = count_operations(jax.lax.linalg.cholesky, spd) - n**3 // 3
    assert 0 <= around <= 8 * n**2
    solve = count_operations(
        lambda L, b: jax.lax.linalg.triangular_solve(L, b, left_side=True, lower=True),
        spd,
        jnp.ones((n, m)),
    )
    assert solve == n**2 * m


def test_shapes_alone_are_enough():
    a = jax.ShapeDtypeStruct((3, 5), jnp.float32)
    b = jax.ShapeDtypeStruct((5, 7), jnp.float32)
    assert count_operations(jnp.matmul, a, b) == 210


def test_jit_and_custom_derivatives_are_entered():
    a = jnp.ones((6, 6))
    assert count_operations(jax.jit(lambda x: x @ x), a) == 2 * 6**3


@pytest.mark.parametrize("width", [512, 2048])
def test_collapsing_adds_about_four_n_squared_p(width):
    """With one hidden layer a collapsed gradient adds at most 1.5 times 4 n^2 p + 3 n^3."""
    n = 64
    x = jax.random.normal(jax.random.key(0), (n, 10))
    y = jax.random.normal(jax.random.key(1), (n, 1))
    counts = {}
    for name in ("standard", "collapsed"):
        posterior = COORDINATES[name](
            bnnsample.models.mlp(1), bnnsample.likelihoods.Gaussian(0.3), width, x, y
        )
        position = jax.eval_shape(posterior.prior_draw, jax.random.key(0))
        counts[name] = count_operations(jax.value_and_grad(posterior.potential), position)
    added = counts["collapsed"] - counts["standard"]
    assert 0 < added <= 1.5 * (4 * n**2 * width + 3 * n**3)
