"""The matrix-free NTK against the dense one and NumPy's linear algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntk
from ntk import NTKOperator
from ntk._operator import _batches, _eigenpairs

SHIFT = 0.1


def normal(*shape, seed=0):
    return np.random.default_rng(sum(shape) + 31 * seed + len(shape)).normal(size=shape)


def mlp(p, x):
    return jnp.tanh(x @ p["w"] + p["b"][None]) @ p["v"]


def of_tree(p, x):
    """Inputs of a real and of an integer, a readout to a matrix, an integer parameter."""
    h = jnp.tanh(x["real"] @ p["w"] + p["table"][x["index"] + p["offset"]])
    return jnp.einsum("nk,kab->nab", h, p["v"])


@jax.custom_vjp
def halved_backward(a):
    return a


halved_backward.defvjp(lambda a: (a, None), lambda _, g: (0.5 * g,))


def with_custom_vjp(p, x):
    return jnp.tanh(halved_backward(x @ p["w"])) @ p["v"]


MLP = {"w": normal(4, 6), "b": normal(6), "v": normal(6, 3)}
CASES = {
    "mlp": (mlp, MLP, normal(7, 4)),
    "one_output": (lambda p, x: mlp(p, x)[:, 0], MLP, normal(7, 4)),
    "one_point": (mlp, MLP, normal(1, 4)),
    "of_tree": (
        of_tree,
        {"w": normal(4, 5), "table": normal(9, 5), "offset": np.int32(2), "v": normal(5, 2, 3)},
        {"real": normal(7, 4), "index": np.arange(7, dtype=np.int32)},
    ),
    "custom_vjp": (with_custom_vjp, MLP, normal(5, 4)),
}


def network(name, dtype=None):
    """A case on the device; real numbers in this dtype."""

    def cast(a):
        real = np.issubdtype(a.dtype, np.floating)
        return jnp.asarray(a, dtype) if real and dtype else jnp.asarray(a)

    f, params, x = CASES[name]
    return f, jax.tree.map(cast, params), jax.tree.map(cast, x)


def dense(f, params, x):
    """``[N, N]`` from the dense Jacobian, by JAX: it has derivatives."""
    floats = {k: v for k, v in params.items() if jnp.issubdtype(v.dtype, jnp.floating)}
    jacobians = jax.jacrev(lambda p: f({**params, **p}, x).reshape(-1))(floats)
    flat = [j.reshape(len(j), -1) for j in jax.tree.leaves(jacobians)]
    return sum(j @ j.T for j in flat)


def close(got, expected, tolerance=1e-10):
    got, expected = np.asarray(got, float), np.asarray(expected, float)
    assert got.shape == expected.shape
    assert np.linalg.norm(got - expected) <= tolerance * np.linalg.norm(expected)


def shifted(kernel, shift=SHIFT):
    return np.asarray(kernel) + shift * np.eye(len(kernel))


BATCHED = {"batch_size": 3, "vector_batch_size": 2}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("mlp", {}),
        ("one_point", {}),
        ("one_output", BATCHED),
        ("of_tree", BATCHED),
        ("custom_vjp", BATCHED),
    ],
)
def test_products_and_diagonal(name, settings):
    f, params, x = network(name)
    kernel = np.asarray(dense(f, params, x))
    op = NTKOperator(f, params, x, **settings)
    size, shape = len(kernel), op.output_shape
    assert op.shape == (size, size)
    assert shape == f(params, x).shape
    flat, block = normal(size), normal(size, 5)
    close(op @ flat, kernel @ flat)
    close(op @ flat.reshape(shape), (kernel @ flat).reshape(shape))
    close(op @ block, kernel @ block)
    close(op @ block.reshape(*shape, 5), (kernel @ block).reshape(*shape, 5))
    close(op.diagonal(), np.diag(kernel).reshape(shape))


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 1e-5), (jnp.bfloat16, 0.05)])
def test_lower_precision(dtype, tolerance):
    f, params, x = network("mlp", dtype)
    kernel = np.asarray(dense(*network("mlp")), float)
    op = NTKOperator(f, params, x, batch_size=3)
    assert op.dtype == jnp.float32
    b = normal(len(kernel), 2)
    close(op @ b.astype(np.float32), kernel @ b, tolerance)
    close(op.diagonal().reshape(-1), np.diag(kernel), tolerance)
    solution = op.solve(b.astype(np.float32), shift=10.0, tolerance=1e-5)
    assert solution.converged.all()
    close(solution.value, np.linalg.solve(shifted(kernel, 10), b), tolerance)
    pairs = op.top_eigenpairs(3)
    assert pairs.converged.all()
    close(pairs.values, np.linalg.eigvalsh(kernel)[::-1][:3], tolerance)
    estimate = op.logdet(10.0, jax.random.key(0), num_probes=200, num_steps=10)
    assert estimate.value.dtype == pairs.vectors.dtype == solution.value.dtype == jnp.float32
    gap = abs(float(estimate.value) - np.linalg.slogdet(shifted(kernel, 10))[1])
    assert gap < 4.5 * float(estimate.standard_error) + tolerance


def test_solve_in_any_units():
    """The kernel and the shift scale with the square of the outputs."""
    f, params, x = network("mlp")
    b, steps = normal(21, 3), []

    def scaled(p, x):
        return x["scale"][:, None] * f(p, x["x"])

    for preconditioner in (None, "diagonal", "nystrom"):
        options = {"preconditioner": preconditioner}
        if preconditioner == "nystrom":
            options |= {"rank": 12}
        for scale in (1.0, 1e-7, 1e7):
            units = {"x": x, "scale": jnp.full(7, scale)}
            shift = SHIFT * scale**2
            kernel = shifted(dense(scaled, params, units), shift)
            op = NTKOperator(scaled, params, units, batch_size=4)
            solution = op.solve(b, shift=shift, tolerance=1e-11, **options)
            assert solution.converged.all()
            assert solution.residual.shape == solution.num_steps.shape == (3,)
            close(solution.value, np.linalg.solve(kernel, b), 1e-8)
            residual = np.linalg.norm(b - kernel @ solution.value, axis=0)
            assert (residual <= 2e-11 * np.linalg.norm(b, axis=0)).all()
            steps.append(int(max(solution.num_steps)))
    # The same work in all units, up to rounding; a good preconditioner saves some.
    assert max(steps[:3]) - min(steps[:3]) <= 2
    assert max(steps[6:]) < 0.8 * min(steps[:3])


def test_solve_for_one_vector_in_large_units_of_float32():
    f, params, x = network("mlp", jnp.float32)
    b, scale = normal(7, 3), 3e8
    op = NTKOperator(lambda p, x: scale * f(p, x), params, x)
    solution = op.solve(
        b.astype(np.float32), shift=scale**2, tolerance=1e-6, preconditioner="diagonal"
    )
    assert solution.converged.shape == solution.num_steps.shape == ()
    assert solution.converged
    kernel = shifted(dense(*network("mlp")), 1.0)
    expected = np.linalg.solve(kernel, b.reshape(-1)).reshape(7, 3)
    close(np.asarray(solution.value, float) * scale**2, expected, 1e-5)


@pytest.mark.parametrize("scale", [1e-15, 1e12])
def test_units_whose_squares_single_precision_has_not(scale):
    f, params, x = network("mlp", jnp.float32)
    b, kernel = normal(21), np.asarray(dense(*network("mlp")), float)
    expected = np.linalg.solve(shifted(kernel, 1), b)
    for factor in (1e-20, 1e20):
        small = (factor * b).astype(np.float32)
        solution = NTKOperator(f, params, x).solve(small, shift=1, tolerance=1e-5)
        assert solution.converged
        close(np.asarray(solution.value, float) / factor, expected, 1e-3)
    op = NTKOperator(lambda p, x: jnp.float32(scale) * f(p, x), params, x)
    solution = op.solve(b.astype(np.float32), shift=scale**2, tolerance=1e-5)
    assert solution.converged
    close(np.asarray(solution.value, float) * scale**2, expected, 1e-3)
    pairs = op.top_eigenpairs(3, tolerance=1e-4)
    assert pairs.converged.all()
    values = np.asarray(pairs.values, float) / scale**2
    close(values, np.linalg.eigvalsh(kernel)[::-1][:3], 1e-4)
    assert (np.asarray(pairs.residual_norms, float) > 0).all()


def test_solve_says_when_it_failed():
    f, params, x = network("mlp")
    op = NTKOperator(f, params, x)
    kernel, b = shifted(dense(f, params, x)), normal(21)
    solution = op.solve(b, shift=SHIFT, tolerance=1e-11, max_steps=9)
    assert not solution.converged
    assert solution.num_steps == 9
    residual = np.linalg.norm(b - kernel @ solution.value) / np.linalg.norm(b)
    close(solution.residual, residual)
    zero = op.solve(np.zeros(21), shift=SHIFT, tolerance=1e-11, max_steps=9)
    assert zero.converged
    assert not zero.value.any()
    # Two points that are one: without a shift, the kernel is singular and b out of its range.
    twice = NTKOperator(f, params, x.at[1].set(x[0]))
    assert not twice.solve(b, tolerance=1e-11, max_steps=500).converged


def check_pairs(pairs, kernel, k):
    """Against NumPy, and the residuals as they are."""
    vectors = np.asarray(pairs.vectors).reshape(-1, k)
    assert pairs.converged.all()
    top = np.linalg.eigvalsh(kernel)[::-1][:k]
    np.testing.assert_allclose(pairs.values, top, atol=1e-8 * top[0], rtol=0)
    close(vectors.T @ vectors, np.eye(k))
    residuals = np.linalg.norm(kernel @ vectors - vectors * np.asarray(pairs.values), axis=0)
    np.testing.assert_allclose(pairs.residual_norms, residuals, atol=1e-12 * top[0])


@pytest.mark.parametrize(
    ("name", "k", "settings"),
    [("mlp", 1, {}), ("mlp", 21, {}), ("of_tree", 5, BATCHED)],
)
def test_top_eigenpairs(name, k, settings):
    f, params, x = network(name)
    pairs = NTKOperator(f, params, x, **settings).top_eigenpairs(k)
    assert pairs.vectors.shape == (*f(params, x).shape, k)
    check_pairs(pairs, np.asarray(dense(f, params, x)), k)


def test_top_eigenpairs_of_one_number():
    f, params, x = network("one_output")
    pairs = NTKOperator(f, params, x[:1]).top_eigenpairs(1)
    check_pairs(pairs, np.asarray(dense(f, params, x[:1])), 1)


def linear(p, x):
    """Its kernel is ``x x^T`` times the identity of the outputs."""
    return x @ p["w"]


@pytest.mark.parametrize("blocks", [2, 16])
def test_multiplicity_and_restarts(blocks, monkeypatch):
    """Every eigenvalue comes d = 6 times; k cuts through the second group of six."""
    monkeypatch.setattr(_eigenpairs, "MOST_BLOCKS", blocks)
    x = jnp.asarray(normal(16 + blocks // 2, 40))
    params = {"w": jnp.asarray(normal(40, 6))}
    pairs = NTKOperator(linear, params, x).top_eigenpairs(9, max_steps=1000)
    kernel = np.kron(x @ x.T, np.eye(6))
    check_pairs(pairs, kernel, 9)


def test_more_eigenpairs_than_the_rank():
    params = {"w": jnp.asarray(normal(2, 3))}
    for scale in (1.0, 0.0):
        x = jnp.asarray(scale * normal(30, 2))
        pairs = NTKOperator(linear, params, x).top_eigenpairs(8, tolerance=1e-9)
        check_pairs(pairs, np.kron(x @ x.T, np.eye(3)), 8)


def test_top_eigenpairs_say_when_they_failed():
    f, params, x = network("mlp")
    x = jnp.asarray(normal(30, 4))
    op = NTKOperator(f, params, x)
    pairs = op.top_eigenpairs(5, max_steps=1, tolerance=1e-12)
    assert not pairs.converged.any()
    assert pairs.num_products == 5 + 4
    kernel, vectors = np.asarray(dense(f, params, x)), np.asarray(pairs.vectors).reshape(90, 5)
    residuals = np.linalg.norm(kernel @ vectors - vectors * np.asarray(pairs.values), axis=0)
    close(pairs.residual_norms, residuals)


def signs(key, num_probes, size):
    return np.asarray(jax.random.rademacher(key, (num_probes, size), jnp.float64))


def test_exact_and_estimated_trace():
    f, params, x = network("mlp")
    kernel = np.asarray(dense(f, params, x))
    op, key = NTKOperator(f, params, x, batch_size=4), jax.random.key(1)
    exact, standard_error = op.trace()
    close(exact, np.trace(kernel))
    assert standard_error == 0
    value, standard_error = op.trace(2000, key)
    assert abs(value - np.trace(kernel)) < 4.5 * standard_error
    # The variance of z^T A z over signs is twice the squares off the diagonal. The variance of
    # 2000 samples of kurtosis below 12 has a relative standard error below 0.075.
    variance = 2 * (np.sum(kernel**2) - np.sum(np.diag(kernel) ** 2))
    assert abs(2000 * standard_error**2 / variance - 1) < 4.5 * 0.075
    close(value, np.mean([z @ kernel @ z for z in signs(key, 2000, 21)]))


def log_forms(kernel, probes):
    values, vectors = np.linalg.eigh(kernel)
    return (probes @ vectors) ** 2 @ np.log(values)


def test_logdet():
    f, params, x = network("mlp")
    kernel = shifted(dense(f, params, x))
    op, key = NTKOperator(f, params, x, batch_size=4), jax.random.key(2)
    estimate = op.logdet(SHIFT, key, num_probes=500, num_steps=len(kernel))
    assert abs(estimate.value - np.linalg.slogdet(kernel)[1]) < 4.5 * estimate.standard_error
    samples = log_forms(kernel, signs(key, 500, len(kernel)))
    close(estimate.value, np.mean(samples), 1e-8)
    close(estimate.standard_error, np.std(samples, ddof=1) / 500**0.5, 1e-8)
    assert estimate.quadrature_gap < 1e-6


def test_logdet_of_few_steps_is_bounded():
    f, params, _ = network("mlp")
    x = jnp.asarray(normal(30, 4))
    kernel, key = shifted(dense(f, params, x)), jax.random.key(2)
    exact = np.mean(log_forms(kernel, signs(key, 8, 90)))
    value, _, gap = NTKOperator(f, params, x).logdet(SHIFT, key, num_probes=8, num_steps=5)
    assert value - gap <= exact <= value
    assert gap > 1e-6


def test_logdet_of_a_multiple_of_the_identity():
    """Every probe is exact, and the Krylov space has one dimension."""
    x = jnp.asarray(2 * np.linalg.qr(normal(9, 9))[0])
    estimate = NTKOperator(linear, {"w": jnp.ones((9, 2))}, x).logdet(SHIFT, jax.random.key(0))
    close(estimate.value, 18 * np.log(4 + SHIFT))
    assert estimate.standard_error < 1e-10
    assert estimate.quadrature_gap < 1e-10


def derivatives(name):
    """Functions of an operator and the same of the dense kernel."""
    size = len(dense(*network(name)))
    v, w = normal(size), normal(size, seed=1)
    probes = signs(jax.random.key(0), 16, size)
    identity = jnp.eye(size)

    def solve(op, s):
        solution = op.solve(v, shift=s, tolerance=1e-12, preconditioner="nystrom", rank=5)
        return w @ solution.value

    def log_form(kernel, s):
        """Its derivative is that of the estimate, its value is not."""
        held = jax.lax.stop_gradient(jnp.linalg.solve(kernel + s * identity, probes.T))
        return jnp.sum(held * ((kernel + s * identity) @ probes.T)) / 16

    def dense_solve(kernel, s):
        return w @ jnp.linalg.solve(kernel + s * identity, v)

    return {
        "product": (lambda op, s: s * (w @ (op @ v)), lambda k, s: s * (w @ (k @ v))),
        "trace": (lambda op, s: s * op.trace().value, lambda k, s: s * jnp.trace(k)),
        "solve": (solve, dense_solve),
        "logdet": (lambda op, s: op.logdet(s, jax.random.key(0), 16).value, log_form),
        "eigenvalues": (
            lambda op, s: s * (w[:3] @ op.top_eigenpairs(3).values),
            lambda k, s: s * (w[:3] @ jnp.linalg.eigvalsh(k)[::-1][:3]),
        ),
    }


@pytest.mark.parametrize(
    ("quantity", "batch_size"),
    [("product", None), *((name, 3) for name in derivatives("mlp"))],
)
def test_derivatives_under_jit(quantity, batch_size):
    f, params, x = network("mlp")
    ours, theirs = derivatives("mlp")[quantity]

    def matrix_free(params, x, shift):
        return ours(NTKOperator(f, params, x, batch_size=batch_size), shift)

    def oracle(params, x, shift):
        return theirs(dense(f, params, x), shift)

    arguments = params, x, jnp.asarray(0.5)
    got = jax.jit(jax.grad(matrix_free, argnums=(0, 1, 2)))(*arguments)
    expected = jax.grad(oracle, argnums=(0, 1, 2))(*arguments)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        close(a, b, 1e-7)


def test_derivatives_with_a_custom_backward_pass():
    f, params, x = network("custom_vjp")
    v = normal(15)
    got = jax.grad(lambda p: jnp.sum((NTKOperator(f, p, x) @ v) ** 2))(params)
    expected = jax.grad(lambda p: jnp.sum((dense(f, p, x) @ v) ** 2))(params)
    for key in ("w", "v"):
        close(got[key], expected[key])


def test_an_operator_is_a_pytree():
    f, params, x = network("mlp")
    traces = []

    @jax.jit
    def product(op, v):
        traces.append(op.shape)
        return op @ v

    v = normal(21)
    for scale in (1.0, 2.0):
        moved = jax.tree.map(lambda a, s=scale: a * s, params)
        close(product(NTKOperator(f, moved, x), v), dense(f, moved, x) @ v)
    assert len(traces) == 1
    # A traced shift, and an operator that is built of constants where it is used.
    inside = jax.jit(lambda s: NTKOperator(f, params, x).solve(v, shift=s, tolerance=1e-10).value)
    close(inside(SHIFT), np.linalg.solve(shifted(dense(f, params, x)), v), 1e-8)


def equations(jaxpr):
    """Every equation of a jaxpr and of those within it."""
    for equation in jaxpr.eqns:
        yield equation
        values = jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda v: hasattr(v, "jaxpr")
        )
        for value in values:
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


def jaxpr_of(method, batch_size, n=64):
    f, params, _ = network("mlp")
    op = NTKOperator(f, params, jnp.asarray(normal(n, 4)), batch_size=batch_size)
    return jax.make_jaxpr(method)(op, normal(3 * n)).jaxpr


METHODS = {
    "product": lambda op, v: op @ v,
    "solve": lambda op, v: op.solve(v, shift=SHIFT, preconditioner="nystrom", rank=5),
    "diagonal": lambda op, v: op.diagonal(),
    "trace": lambda op, v: op.trace(4, jax.random.key(0)),
    "logdet": lambda op, v: op.logdet(SHIFT, jax.random.key(0), 4, 5),
    "top_eigenpairs": lambda op, v: op.top_eigenpairs(1),
}


@pytest.mark.parametrize("method", METHODS)
def test_no_kernel_in_memory_and_no_batched_factorisation(method):
    """Batched factorisations can wait for each other for ever on CPU."""
    largest = 0
    for equation in equations(jaxpr_of(METHODS[method], 16)):
        largest = max([largest, *(np.prod(out.aval.shape) for out in equation.outvars)])
        if equation.primitive.name in ("eigh", "qr", "geqrf", "svd", "cholesky", "householder"):
            assert equation.invars[0].aval.ndim == 2
    assert largest < (3 * 64) ** 2 / 2


def test_one_linearisation_for_all_products():
    """The network is in the loop over products only if it goes batch by batch."""
    for batch_size, repeated in ((None, False), (16, True)):
        jaxpr = jaxpr_of(METHODS["top_eigenpairs"], batch_size)
        loops = [e.params["body_jaxpr"].jaxpr for e in equations(jaxpr) if is_while(e)]
        assert loops
        found = [e for loop in loops for e in equations(loop) if e.primitive.name == "tanh"]
        assert bool(found) == repeated


def is_while(equation):
    return equation.primitive.name == "while"


def test_batches_keep_within_the_budget():
    f, params, x = network("mlp")
    leaves = jax.tree.leaves(params)

    def forward(leaves, batch):
        return f(dict(zip("bvw", leaves, strict=True)), batch[0])

    per_row = _batches.activation_bytes(forward, leaves, [x])
    # At least the input and the tanh, in float64.
    assert 8 * (4 + 6) <= per_row <= 8 * 4 * (4 + 6 + 3)
    assert _batches.num_rows(2**20, 7) == 2**29 // 2**23
    assert _batches.num_vectors([jax.ShapeDtypeStruct((2**25,), jnp.float32)]) == 2
    assert _batches.num_vectors([jax.ShapeDtypeStruct((2**33,), jnp.float32)]) == 1
    assert _batches.num_vectors(leaves) == _batches.MOST_VECTORS


def test_bad_networks():
    f, params, x = network("mlp")
    w = jnp.asarray(normal(4, 3))
    bad = [
        (TypeError, "f must be a function", (3, params, x), {}),
        (ValueError, "params is not finite at .'w'", (f, {**params, "w": w * jnp.nan}, x), {}),
        (ValueError, "x is not finite", (f, params, x * jnp.inf), {}),
        (ValueError, "x holds no example", (f, params, x[:0]), {}),
        (ValueError, "one row per example", (lambda p, x: (x @ p)[0], w, x), {}),
        (ValueError, "mixes the examples", (lambda p, x: (x - x.mean(0)[None]) @ p, w, x), {}),
        (ValueError, "no floating point leaf", (lambda p, x: x * p["k"], {"k": 3}, x), {}),
        (
            TypeError,
            "params must be real",
            (lambda p, x: jnp.real(x @ p), w.astype(complex), x),
            {},
        ),
        (ValueError, "f has no output", (lambda p, x: (x @ p)[:, :0], w, x), {}),
        (ValueError, "batch_size must be an integer", (f, params, x), {"batch_size": 0}),
        (ValueError, "vector_batch_size must be", (f, params, x), {"vector_batch_size": 1.5}),
    ]
    for error, message, arguments, settings in bad:
        with pytest.raises(error, match=message):
            NTKOperator(*arguments, **settings)


def test_bad_arguments():
    op, v, key = NTKOperator(*network("mlp")), normal(21), jax.random.key(0)
    bad = [
        ("v must have shape .7, 3. or .21,.", lambda: op @ normal(20)),
        ("v has dtype float32, the operator float64", lambda: op @ v.astype(np.float32)),
        ("b must have shape", lambda: op.solve(normal(3, 7))),
        ("shift must be finite and at least 0, got -1", lambda: op.solve(v, shift=-1.0)),
        ("shift must be one number", lambda: op.solve(v, shift=v)),
        ("tolerance must lie between", lambda: op.solve(v, tolerance=0.0)),
        ("tolerance must be a number", lambda: op.solve(v, tolerance="small")),
        ("below the precision of float64", lambda: op.solve(v, tolerance=1e-35)),
        ("key must be one jax.random.key", lambda: op.top_eigenpairs(2, key=3)),
        ("max_steps must be an integer", lambda: op.solve(v, max_steps=0)),
        ("unknown preconditioner 'ilu'", lambda: op.solve(v, preconditioner="ilu")),
        ("rank and key belong to", lambda: op.solve(v, rank=3)),
        ("between 1 and 21", lambda: op.solve(v, preconditioner="nystrom", rank=22)),
        ("is random: pass key", lambda: op.trace(5)),
        ("a key without num_probes", lambda: op.trace(key=key)),
        ("num_probes must be an integer of at least 2", lambda: op.trace(1, key)),
        ("shift must be finite and positive", lambda: op.logdet(0.0, key)),
        ("shift must be finite and positive, got nan", lambda: op.logdet(np.nan, key)),
        ("is random: pass key", lambda: op.logdet(1.0, None)),
        ("num_steps must be an integer between 1 and 21", lambda: op.logdet(1.0, key, 4, 22)),
        ("k must be an integer between 1 and 21", lambda: op.top_eigenpairs(22)),
    ]
    for message, call in bad:
        with pytest.raises(ValueError, match=message):
            call()


def test_public_names():
    for name in ("NTKOperator", "Eigenpairs", "LogDeterminant", "Solution", "TraceEstimate"):
        assert name in ntk.__all__
