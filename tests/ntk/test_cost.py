"""The table of costs and what ``auto`` takes from it."""

import jax
import jax.numpy as jnp
import numpy as np

import ntk
from ntk._cost import cost_by
from ntk._kernel_inputs import check_inputs
from ntk._methods import METHODS


def dense(p, x):
    return jnp.tanh(x @ p[0]) @ p[1]


def arrays(*shapes):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]


def test_the_table():
    p, x = arrays((20, 64), (64, 3)), arrays((8, 20))[0]
    table = ntk.cost(dense, p, x)
    assert set(table.methods) == set(METHODS)
    assert table.chosen == "structured_derivatives"
    lines = str(table).splitlines()
    assert len(lines) == 4
    assert next(line for line in lines if line.startswith("*")).split()[1] == table.chosen
    assert len({len(line) for line in lines}) == 1


def test_only_what_is_asked_for_is_counted():
    """The trace costs about d times less, the diagonal over data about n times less."""
    n, d = 64, 16
    p, x = arrays((32, 32), (32, d)), arrays((n, 32))[0]

    def operations(method, **reduction):
        trace, diagonal = (reduction.get(k, ()) for k in ("trace_axes", "diagonal_axes"))
        return cost_by(check_inputs(dense, p, x, x, trace, diagonal), method).operations

    contraction = "jacobian_contraction"
    full = operations(contraction)
    # The Jacobian itself, n d P, is a part of both.
    jacobian = 10 * n * d * (32 * 32 + 32 * d)
    assert operations(contraction, trace_axes=1) - jacobian < full / d
    assert operations(contraction, diagonal_axes=0) - jacobian < full / n * 2
    assert operations(METHODS[0], trace_axes=1) < operations(METHODS[0]) / 4


def test_symmetric_kernels_cost_about_half():
    p, x = arrays((64, 256), (256, 10)), arrays((128, 64))[0]
    for method in METHODS:
        one, two = (
            cost_by(check_inputs(dense, p, x, x2, (), ()), method).operations for x2 in (None, x)
        )
        assert one < 0.65 * two


def test_auto_is_the_chosen_method():
    p, x = arrays((20, 64), (64, 3)), arrays((8, 20))[0]
    chosen = ntk.cost(dense, p, x).chosen
    got = ntk.empirical_ntk(dense, p, x)
    np.testing.assert_array_equal(got, ntk.empirical_ntk(dense, p, x, method=chosen))


def test_a_function_that_cannot_be_hashed():
    class Holder(dict):
        def __call__(self, p, x):
            return dense(p, x) * self["scale"]

    p, x = arrays((20, 64), (64, 3)), arrays((8, 20))[0]
    got = ntk.empirical_ntk(Holder(scale=2.0), p, x)
    np.testing.assert_allclose(got, 4 * ntk.empirical_ntk(dense, p, x), rtol=1e-5)
    assert jax.tree.structure(got).num_leaves == 1
