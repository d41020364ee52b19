"""Numbers that go wrong in real runs are seen: counted, warned of, and in the report."""

import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import bnnsample
from bnnsample.kernels._registry import KERNELS
from bnnsample.likelihoods import Gaussian
from bnnsample.models import mlp

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 2))
Y = np.sin(X[:, 0])


def run(data=(X, Y), **settings):
    settings = {"width": 8, "num_chains": 2, "num_warmup": 10, "progress": False, **settings}
    return bnnsample.run(mlp(), data, **settings)


def caught_in(**settings):
    """The result, and the sampling warnings of its run by class."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", bnnsample.SamplingWarning)
        result = run(**settings)
    ours = [w for w in caught if issubclass(w.category, bnnsample.SamplingWarning)]
    assert len({str(w.message) for w in ours}) == len(ours), "a problem was warned of twice"
    return result, {w.category: w for w in ours}


def flat(text):
    return " ".join(text.split())


@pytest.fixture(scope="module")
def rounded():
    """float32 with noise so small that the 24 x 24 matrix is singular to rounding."""
    data = X.astype(np.float32), Y.astype(np.float32)
    settings = {"kernel": "pcn", "width": 32, "num_samples": 30, "thin": 2, "num_warmup": 20}
    return caught_in(data=data, likelihood=Gaussian(1e-4), **settings)


def test_float32_potentials_that_rounding_spoils_are_warned_of(rounded):
    result, caught = rounded
    text = str(caught[bnnsample.PrecisionWarning].message)
    assert result.record.potential_error > 0.1
    assert "2 states checked in float64" in text
    assert "run in float64" in text
    assert text in flat(result.report())
    assert f"right to {result.record.potential_error:.2g} nats" in flat(result.report())


def test_proposals_that_are_not_finite_are_counted_and_warned_of(rounded):
    result, caught = rounded
    counts = result.idata.sample_stats["non_finite"].values
    text = str(caught[bnnsample.NonFiniteWarning].message)
    assert f"{counts.sum()} proposals" in text
    assert "float32 with a small noise scale" in text
    # Two kernel steps a draw.
    assert counts.max() == 2
    assert (result.record.sample_stats["diverging"] >= (counts > 0)).all()
    assert f"not finite {counts.sum()} proposals" in flat(result.report())


def test_the_condition_number_is_that_of_the_matrix(rounded):
    """Within the factor that the network's own variation leaves, and beyond float32."""
    result, caught = rounded
    record = result.record
    kept = jax.tree.map(lambda a: a[0, -1], record.kept.parameters)
    psi = np.asarray(record.posterior.model.features(kept["hidden"], record.x), np.float64)
    eigenvalues = np.linalg.eigvalsh(np.eye(24) + psi @ psi.T / 1e-8)
    assert record.condition == pytest.approx(eigenvalues[-1] / eigenvalues[0], rel=1)
    assert record.condition > 2**24
    assert "beyond float32's 1.7e+07" in str(caught[bnnsample.NonFiniteWarning].message)


def test_warnings_point_to_the_call_of_run(rounded):
    _, caught = rounded
    assert {w.filename for w in caught.values()} == {__file__}


def test_checks_are_stored(rounded, tmp_path):
    result, _ = rounded
    result.save(tmp_path / "run.zarr")
    loaded = bnnsample.load(tmp_path / "run.zarr")
    assert loaded.report() == result.report()
    assert loaded.record.potential_error == result.record.potential_error


def test_a_start_that_is_not_finite_says_the_condition_number():
    """Every point twice: K has rank 12 of 24, and the noise is below rounding."""
    twice = np.concatenate([X[:12], X[:12]]).astype(np.float32)
    data = twice, np.concatenate([Y[:12], -Y[:12]]).astype(np.float32)
    with pytest.raises(FloatingPointError, match=r"found no start.*K \+ s\^2 I.*beyond float32's"):
        run(data, likelihood=Gaussian(1e-7), width=32)


def test_a_step_size_too_large_leaves_chains_stuck():
    result, caught = caught_in(
        likelihood=Gaussian(1e-3), kernel="pcn", kernel_options={"step_size": 1.5}, num_samples=300
    )
    text = str(caught[bnnsample.StuckChainWarning].message)
    assert re.match(r"Chains? .* did not move for \d+ draws in a row, of 300", text)
    assert text in flat(result.report())
    assert bnnsample.BimodalWarning not in caught


def test_chains_that_start_in_two_modes_are_told_so(tmp_path):
    """A noise scale whose prior has modes at 1 and 20, one chain in each; checkpointed."""
    modes = dist.MixtureSameFamily(
        dist.Categorical(jnp.array([0.5, 0.5])), dist.LogNormal(jnp.log(jnp.array([1, 20.0])), 0.1)
    )
    starts = [
        {**mlp().init(jax.random.key(i), jnp.asarray(X[:4]), 8), "noise_scale": scale}
        for i, scale in enumerate((20.0, 1.0))
    ]
    result, caught = caught_in(
        data=(X[:4], Y[:4]),
        likelihood=Gaussian(modes),
        init=starts,
        num_samples=200,
        num_warmup=100,
        checkpoint_dir=tmp_path / "run",
    )
    text = str(caught[bnnsample.BimodalWarning].message)
    assert re.search(r"noise_scale is about (0\.9|1).* in chain 1 and (1|2)\d in chain 0", text)
    assert "More draws would not help" in text
    assert {bnnsample.ConvergenceWarning, bnnsample.EffectiveSampleSizeWarning}.isdisjoint(caught)
    assert "forgotten where they started" not in flat(result.report())
    assert text in flat(bnnsample.load(tmp_path / "run").report())


def test_a_good_float32_run_says_how_precise_it_is():
    data = X.astype(np.float32), Y.astype(np.float32)
    result, caught = caught_in(data=data, likelihood=Gaussian(0.5), kernel="mala", num_samples=20)
    assert not {bnnsample.PrecisionWarning, bnnsample.NonFiniteWarning} & set(caught)
    assert 0 <= result.record.potential_error < 1e-3
    assert result.record.condition is None
    assert "(2 states checked in float64)" in result.report()


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("hmc", np.inf),
        ("hmc", np.nan),
        ("nuts", np.inf),
        ("ghmc", np.nan),
        ("mala", np.inf),
        ("mclmc", np.nan),
        ("adjusted_mclmc", np.inf),
    ],
)
def test_blackjax_kernels_count_proposals_that_are_not_finite(name, bad):
    start = jnp.full(3, 0.5)

    def potential(q):
        return jnp.where(jnp.all(q == start), 0.7, bad + 0.0 * jnp.sum(q))

    spec = KERNELS[name]
    options = {"step_size": 0.1, "inverse_mass_matrix": np.ones(3), "num_integration_steps": 2}
    parameters = {**spec.defaults, **{k: v for k, v in options.items() if k in spec.defaults}}
    state = spec.init(jax.random.key(0), potential, start)
    _, statistics = jax.jit(lambda s: spec.step(jax.random.key(1), potential, s, parameters))(state)
    assert statistics.non_finite == 1
    assert statistics.non_finite.dtype == jnp.int32
