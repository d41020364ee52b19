"""Floating point of a run: of everything, or of the network alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bnnsample
from bnnsample.coordinates import Collapsed, Repriorised, Standard
from bnnsample.likelihoods import Gaussian
from bnnsample.results._ess import effective_sample_size

MLP = bnnsample.models.mlp(1, "gelu")


def problem(n, dtype):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 4))
    return x.astype(dtype), np.sin(x[:, :1] + x[:, 1:2]).astype(dtype)


def posteriors(kind, n, width, scale):
    """In float64, with the network in float32, and all in float32."""
    x, y = (jnp.asarray(a) for a in problem(n, np.float32))
    full = kind(MLP, Gaussian(scale), width, x.astype(np.float64), y.astype(np.float64))
    mixed = kind(MLP, Gaussian(scale), width, full.x, full.y, network_dtype=jnp.float32)
    return full, mixed, kind(MLP, Gaussian(scale), width, x, y)


def positions(posterior, count=12):
    return jax.vmap(posterior.prior_draw)(jax.random.split(jax.random.key(1), count))


def to_float32(tree):
    return jax.tree.map(lambda a: a.astype(np.float32), tree)


@pytest.mark.parametrize("kind", [Collapsed, Repriorised])
@pytest.mark.parametrize("width", [40, 300])
def test_mixed_potentials_are_those_of_float64(kind, width):
    """Differences between positions, on both sides of the algebra, at noise 0.01.

    Features are right to ``eps32`` each; their errors average over the width in ``Psi Psi^T``, and
    the potential's is that of ``a^T (K + dK) a`` with ``|a| = |M^{-1} y|``.
    """
    full, mixed, single = posteriors(kind, 100, width, 0.01)
    at = positions(full)
    exact = np.asarray(jax.vmap(full.potential)(at))
    error = np.ptp(np.asarray(jax.vmap(mixed.potential)(at)) - exact)
    single_error = np.ptp(np.asarray(jax.vmap(single.potential)(to_float32(at))) - exact)
    psi = full.features(jax.tree.map(lambda a: a[0], at), full.x)
    a = jnp.linalg.solve(psi @ psi.T + 1e-4 * jnp.eye(100), full.y)
    eps = np.finfo(np.float32).eps
    size = float(jnp.linalg.norm(a) * jnp.linalg.norm(psi.T @ a) * jnp.linalg.norm(psi))
    assert 0 < error < eps * size
    if width > 100:
        # Sums over more features than points, where the n x n matrix loses digits in float32.
        assert error < single_error / 3


def test_mixed_gradients_are_those_of_float64():
    full, mixed, _ = posteriors(Standard, 30, 50, 1.0)
    at = full.prior_draw(jax.random.key(0))
    for exact, found in zip(
        *(jax.tree.leaves(jax.grad(p.potential)(at)) for p in (full, mixed)), strict=True
    ):
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-4)
        assert not np.array_equal(found, exact)


def run(precision, dtype, **settings):
    return bnnsample.run(
        MLP,
        problem(20, dtype),
        width=16,
        likelihood=Gaussian(0.3),
        num_chains=2,
        num_warmup=20,
        num_samples=20,
        progress=False,
        precision=precision,
        **settings,
    )


@pytest.fixture(scope="module")
def mixed():
    """A run of float32 data."""
    with jax.enable_x64(False):
        return run("mixed", np.float32)


def test_the_precision_asked_for_is_that_of_the_draws(mixed):
    with jax.enable_x64(False):
        double = run("float64", np.float32)
    single = run("float32", np.float64)
    for result, dtype in ((double, np.float64), (mixed, np.float64), (single, np.float32)):
        assert np.asarray(result.idata.posterior["f"]).dtype == dtype
        assert result.predict(np.zeros((2, 4))).mean.dtype == dtype
    assert "a float32 network in float64 on cpu" in mixed.report()
    f, f_mixed = (np.asarray(r.idata.posterior["f_mean"]) for r in (double, mixed))
    # The same random numbers, so that the first draws differ by rounding alone.
    np.testing.assert_allclose(f[:, 0], f_mixed[:, 0], rtol=1e-3, atol=1e-3)
    assert not np.array_equal(f, f_mixed)


def test_a_stored_run_computes_in_its_precision(tmp_path, mixed):
    mixed.save(tmp_path / "run")
    found = bnnsample.load(tmp_path / "run")
    assert found._record.posterior.network_dtype == np.float32
    x = np.linspace(-1, 1, 12).reshape(3, 4)
    np.testing.assert_array_equal(found.predict(x).mean, mixed.predict(x).mean)


@pytest.mark.parametrize("precision", ["double", 64, np.float64, ["mixed"]])
def test_another_precision_is_refused(precision):
    with pytest.raises(ValueError, match="precision must be 'float64', 'float32' or 'mixed'"):
        run(precision, np.float64)


def test_sums_over_units_are_not_mixed():
    with pytest.raises(ValueError, match="kernel 'unitwise' sums over units"):
        run("mixed", np.float64, kernel="unitwise")


@pytest.mark.slow
def test_a_mixed_run_samples_the_posterior_of_float64_at_small_noise():
    """n = 1000, noise 0.01: acceptance and E[f] within 4 Monte-Carlo standard errors.

    The targets are of a network drawn from the prior, where both chains start: it is a draw of the
    posterior, and there is nothing to forget.
    """
    x, _ = problem(1000, np.float64)
    network = Collapsed(MLP, Gaussian(0.01), 300, jnp.asarray(x), jnp.zeros((1000, 1)))
    truth = network.prior_parameters(jax.random.key(0))
    f = network.features({**truth, "unknowns": {}}, network.x) @ truth["readout"]
    y = np.asarray(f) + 0.01 * np.random.default_rng(1).normal(size=f.shape)
    start = jax.tree.map(lambda a: jnp.stack([a] * 4), truth)

    def run(seed, precision):
        return bnnsample.run(
            MLP,
            (x, y),
            width=300,
            likelihood=Gaussian(0.01),
            kernel_options={"step_size": 0.02, "num_integration_steps": 8},
            num_chains=4,
            num_warmup=0,
            num_samples=150,
            seed=seed,
            init=start,
            x_eval=x[:10],
            progress=False,
            precision=precision,
        )

    # Of other numbers, so that the two are independent.
    exact, mixed = run(0, "float64"), run(1, "mixed")
    for group, name in (("posterior", "f_mean"), ("sample_stats", "acceptance_rate")):
        a, b = (np.asarray(r.idata[group][name]).reshape(4, 150, -1) for r in (exact, mixed))
        se = [q.std((0, 1)) / effective_sample_size(q) ** 0.5 for q in (a, b)]
        assert (np.abs(a.mean((0, 1)) - b.mean((0, 1))) < 4 * np.hypot(*se)).all()
