"""A run's record with real shapes and made-up draws, which the tests of the results share."""

import jax
import numpy as np
import numpyro.distributions as dist

from bnnsample._precision import precision
from bnnsample._record import KeptParameters, RunRecord
from bnnsample._settings import settings_of
from bnnsample._standardize import Standardizer
from bnnsample.coordinates import COORDINATES
from bnnsample.likelihoods import Gaussian
from bnnsample.models import mlp


def make_record(
    *,
    model=None,
    likelihood=None,
    dtype=np.float64,
    n=12,
    m=9,
    d=2,
    vector=False,
    standardize=False,
    chains=2,
    draws=40,
    keep_every=10,
    coordinates="collapsed",
    width=5,
    **changes,
) -> RunRecord:
    """Draws are independent noise; ``keep_every=0`` keeps no parameters."""
    rng = np.random.default_rng(0)
    model = mlp(1) if model is None else model
    likelihood = Gaussian(dist.HalfNormal(1.0)) if likelihood is None else likelihood
    d = 1 if vector else d
    x, x_eval = (rng.normal(2, 3, (size, 3)).astype(dtype) for size in (n, m))
    y = rng.normal(5, 2, (n, d)).astype(dtype)
    standardizer = (Standardizer.fit if standardize else Standardizer.identity)(x, y)
    posterior = COORDINATES[coordinates](
        model, likelihood, width, standardizer.inputs(x), standardizer.targets(y)
    )

    def noise(*shape):
        return rng.normal(size=shape).astype(dtype)

    with precision(dtype):
        template = jax.eval_shape(posterior.prior_parameters, jax.random.key(0))
    size = sum(leaf.size for leaf in jax.tree.leaves(template["hidden"]))
    unknowns = {name: np.exp(noise(chains, draws) / 4) for name in likelihood.unknowns}
    recorded = {
        "f": noise(chains, draws, m, d),
        "f_mean": noise(chains, draws, m, d),
        "y": noise(chains, draws, m, d),
        "log_likelihood": noise(chains, draws, n),
        "projection": noise(chains, draws, 4),
        **unknowns,
    }
    index = np.arange(0, size, 3, dtype=np.int32)
    if size:
        recorded["hidden"] = noise(chains, draws, index.size)
    kept = None
    if keep_every:
        at = np.arange(keep_every - 1, draws, keep_every)
        parameters = jax.tree.map(lambda leaf: noise(chains, at.size, *leaf.shape), template)
        kept = KeptParameters(at, parameters, {k: v[:, at] for k, v in unknowns.items()})
    settings = settings_of(
        model,
        likelihood,
        width=width,
        coordinates=coordinates,
        kernel="infinite_hmc",
        kernel_options={"kick_scale": np.int64(1)},
        num_chains=chains,
        num_warmup=30,
        num_samples=draws,
        thin=1,
        seed=0,
        standardize=standardize,
        target_acceptance=0.75,
        dtype=np.dtype(dtype),
        platform="cpu",
    )
    fields = {
        "posterior": posterior,
        "standardizer": standardizer,
        "x": x,
        "y": y,
        "x_eval": x_eval,
        "y_was_vector": vector,
        "draws": recorded,
        "sample_stats": {
            "acceptance_rate": np.full((chains, draws), 0.8, dtype),
            "diverging": np.zeros((chains, draws), bool),
            "non_finite": np.zeros((chains, draws), np.int32),
            "lp": noise(chains, draws),
            "step_size": np.full((chains, draws), 0.3, dtype),
            "n_steps": np.full((chains, draws), 4, np.int32),
        },
        "prior": {
            "f": noise(1, 7, m, d),
            "y": noise(1, 7, m, d),
            **{name: np.exp(noise(1, 7)) for name in unknowns},
        },
        "hidden_index": index,
        "kept": kept,
        "moments": {
            "mean": jax.tree.map(lambda leaf: noise(*leaf.shape), template),
            "variance": jax.tree.map(lambda leaf: noise(*leaf.shape) ** 2, template),
        },
        "settings": settings,
        "adapted": {"step_size": 0.3},
        "num_gradients": 4 * chains * draws,
        "sampling_seconds": 0.5,
        "warmup_gradients": 480,
        "warmup_seconds": 0.25,
        "compile_seconds": 1.5,
    }
    return RunRecord(**{**fields, **changes})


def fixed_features(p0=None):
    """A model without hidden parameters: Bayesian linear regression."""
    from bnnsample.models import from_functions

    def features(hidden, x):
        return x if p0 is None else x[:, :1] ** np.arange(p0, dtype=x.dtype)[None, :]

    return from_functions(lambda key, x, width: {}, features)


def test_the_record_has_the_shapes_of_a_run():
    record = make_record(vector=True)
    assert record.draws["f"].shape == (2, 40, 9, 1)
    assert record.kept.parameters["readout"].shape == (2, 4, 6, 1)
