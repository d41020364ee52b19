"""What is refused, and what is never built: a p x p matrix of a wide network, an eigenproblem."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnnsample import repriorisation as rp

PSI = np.random.default_rng(0).normal(size=(5, 3))
Y = np.random.default_rng(1).normal(size=(5, 2))
KEY = jax.random.key(0)
# Every function as f(psi, y, scale, side).
FUNCTIONS = {
    "log_marginal_likelihood": rp.log_marginal_likelihood,
    "gradient": lambda psi, y, scale, side="auto": jax.grad(
        lambda a: rp.log_marginal_likelihood(a, y, scale, side)
    )(jnp.asarray(psi)),
    "forward": lambda psi, y, scale, side="auto": rp.forward(
        jnp.ones((np.shape(psi)[-1], 2), jnp.asarray(psi).dtype), psi, y, scale, side
    ),
    "inverse": lambda psi, y, scale, side="auto": rp.inverse(
        jnp.ones((np.shape(psi)[-1], 2), jnp.asarray(psi).dtype), psi, y, scale, side
    ),
    "log_det": lambda psi, y, scale, side="auto": rp.log_det(psi, scale, 2, side),
    "draw_readout": lambda psi, y, scale, side="auto": rp.draw_readout(KEY, psi, y, scale, side),
    "predict": lambda psi, y, scale, side="auto": rp.predict(psi[:3], psi, y, scale, side),
}
TAKES_TARGETS = [name for name in FUNCTIONS if name != "log_det"]
DIRECT = [name for name in FUNCTIONS if name != "gradient"]


def equations(jaxpr):
    """All equations of a jaxpr, those inside calls, loops and custom derivatives included."""
    for equation in jaxpr.eqns:
        yield equation
        for parameter in equation.params.values():
            inner = parameter if isinstance(parameter, (list, tuple)) else [parameter]
            for item in (getattr(item, "jaxpr", item) for item in inner):
                if hasattr(item, "eqns"):
                    yield from equations(item)


def structure(function, n, p, d, side):
    """Shapes of every intermediate array, and the names of all primitives."""
    rng = np.random.default_rng(0)
    psi, y = rng.normal(size=(n, p)), rng.normal(size=(n, d))
    jaxpr = jax.make_jaxpr(lambda a, b, s: function(a, b, s, side))(psi, y, 0.3).jaxpr
    shapes, names = set(), set()
    for equation in equations(jaxpr):
        names.add(equation.primitive.name)
        shapes |= {
            v.aval.shape for v in (*equation.invars, *equation.outvars) if hasattr(v, "aval")
        }
    return shapes, names


def squares(shapes, size):
    return [s for s in shapes if sum(dimension == size for dimension in s) > 1]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_only_the_smaller_side_is_built(name):
    for n, p in ((5, 37), (37, 5)):
        shapes, names = structure(FUNCTIONS[name], n, p, 2, "auto")
        assert not squares(shapes, 37), f"{name} builds {squares(shapes, 37)}"
        # The walk reaches the factorisation, inside the custom derivatives as well.
        assert "cholesky" in names
        assert squares(shapes, 5)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_inspection_sees_a_large_matrix_when_asked_for(name):
    assert squares(structure(FUNCTIONS[name], 5, 37, 2, "parameters")[0], 37)
    assert squares(structure(FUNCTIONS[name], 37, 5, 2, "data")[0], 37)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_eigenproblem_and_one_factorisation(name):
    for side in ("parameters", "data"):
        _, names = structure(FUNCTIONS[name], 5, 7, 2, side)
        assert not names & {"eigh", "eig", "svd", "qr", "schur", "lu", "householder_product"}


def test_gradient_factorises_once():
    psi = jnp.asarray(PSI)
    for side in ("parameters", "data"):
        jaxpr = jax.make_jaxpr(
            jax.value_and_grad(lambda a, s=side: rp.log_marginal_likelihood(a, Y, 0.3, s))
        )(psi)
        names = [equation.primitive.name for equation in equations(jaxpr.jaxpr)]
        assert names.count("cholesky") == 1


@pytest.mark.parametrize("name", DIRECT)
@pytest.mark.parametrize("scale", [0.0, -0.1, np.nan, np.inf, np.array([0.1, 0.2, 0.0, 0.3, 0.4])])
def test_scale_must_be_positive(name, scale):
    with pytest.raises(ValueError, match="positive and finite"):
        FUNCTIONS[name](PSI, Y, scale)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("shape", [(5, 2), (2,), (5, 1), (1, 5)])
def test_scale_per_output_is_refused(name, shape):
    with pytest.raises(ValueError, match=r"scale must be a scalar or of shape \[n\] = \[5\]"):
        FUNCTIONS[name](PSI, Y, np.full(shape, 0.1))


@pytest.mark.parametrize("name", TAKES_TARGETS)
@pytest.mark.parametrize("shape", [(4,), (4, 2), (3, 5), (5, 2, 1), ()])
def test_targets_must_fit(name, shape):
    with pytest.raises(ValueError, match=r"y must have shape \[n\] or \[n, d\] with n = 5"):
        FUNCTIONS[name](PSI, np.ones(shape), 0.1)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_features_must_be_a_matrix(name):
    with pytest.raises(ValueError, match=r"psi must have shape \[n, p\]"):
        FUNCTIONS[name](np.ones((5, 3, 2)), Y, 0.1)


@pytest.mark.parametrize("name", DIRECT)
def test_integer_features_are_refused(name):
    with pytest.raises(TypeError, match="psi must have a floating point dtype, got int"):
        FUNCTIONS[name](np.ones((5, 3), int), Y, 0.1)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_side_is_checked(name):
    with pytest.raises(ValueError, match="side must be 'auto', 'parameters' or 'data', got 'left'"):
        FUNCTIONS[name](PSI, Y, 0.1, "left")


@pytest.mark.parametrize("name", DIRECT)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_raise(name, bad):
    psi = PSI.copy()
    psi[1, 1] = bad
    for side in ("parameters", "data"):
        with pytest.raises(FloatingPointError, match="not finite"):
            FUNCTIONS[name](psi, Y, 0.1, side)


@pytest.mark.parametrize("name", [n for n in TAKES_TARGETS if n != "gradient"])
def test_targets_that_are_not_finite_raise(name):
    y = Y.copy()
    y[0, 0] = np.nan
    with pytest.raises(FloatingPointError, match="not finite"):
        FUNCTIONS[name](PSI, y, 0.1)


def test_a_broken_down_factorisation_raises():
    """Two equal rows in float32 with noise far below rounding: the n x n matrix is singular."""
    psi = jnp.ones((5, 7), jnp.float32) * 100
    with pytest.raises(FloatingPointError, match="float32 Cholesky"):
        rp.log_marginal_likelihood(psi, jnp.arange(5.0), 1e-4, "data")


@pytest.mark.parametrize("function", [rp.forward, rp.inverse])
@pytest.mark.parametrize("shape", [(3,), (4, 2), (3, 1), (2, 3), (6,)])
def test_readout_must_fit(function, shape):
    with pytest.raises(ValueError, match=r"a readout of shape \[p, d\] = \[3, 2\] expected"):
        function(np.ones(shape), PSI, Y, 0.1)


@pytest.mark.parametrize("shape", [(3,), (2, 4), (2, 3, 1)])
def test_new_features_must_fit(shape):
    with pytest.raises(ValueError, match=r"psi_new must have shape \[m, 3\]"):
        rp.predict(np.ones(shape), PSI, Y, 0.1)
