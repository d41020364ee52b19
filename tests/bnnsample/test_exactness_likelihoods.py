"""Every likelihood and every prior of weights: our coordinates and NumPyro's NUTS on one posterior.

The network is written twice: for us, and by hand as a NumPyro model in its own parameters, which
NUTS samples knowing nothing of ours. Compared are the function at new points, the unknowns, and
polynomials of the weights that do not change where hidden units are swapped or turned in sign.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
import scipy.stats as st
from network_pairs import CASES, PRIORS, X_NEW, X, by_hand, model_of, outputs_of, weights_of

import bnnsample
from bnnsample.results import effective_sample_size, r_hat


class Length(NamedTuple):
    """Chains, and the warm-up and draws of each."""

    chains: int
    warmup: int
    samples: int


LONG, SHORT = Length(4, 800, 2500), Length(2, 300, 1000)
# Of one case; Bonferroni's threshold for its 20 to 50 moments is 4.1 to 4.3 standard errors.
FAMILY_ERROR = 1e-3


def invariants(w, b, W):
    """Sums over hidden units of products that are even in a unit's sign ``[.., k]``."""
    first, second = w[..., 0, :], w[..., 1, :]
    out = W[..., :-1, 0]
    products = (first**2, second**2, first * second, first * b, b**2, out**2, out * first)
    return np.stack([p.sum(axis=-1) for p in products], axis=-1)


def compared(draws, unknowns):
    """By name, ``[chain, draw, k]``."""
    weights = invariants(draws["w"], draws["b"], draws["W"])
    f = draws["f"].reshape(*draws["f"].shape[:2], -1)
    return {"f": f, "weights": weights, **{name: draws[name][..., None] for name in unknowns}}


@functools.cache
def reference(name, prior, length):
    """A long run of NUTS in the network's own parameters."""
    case = CASES[name]
    mcmc = numpyro.infer.MCMC(
        numpyro.infer.NUTS(by_hand, target_accept_prob=0.95),
        num_warmup=length.warmup,
        num_samples=length.samples,
        num_chains=length.chains,
        chain_method="sequential",
        progress_bar=False,
    )
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        y = jnp.asarray(case.y)
        mcmc.run(jax.random.key(1), y, case.family, case.unknowns, prior, outputs_of(name))
    draws = {k: np.asarray(v) for k, v in mcmc.get_samples(group_by_chain=True).items()}
    return compared(draws, case.unknowns)


def ours(name, prior, coordinates, length):
    case = CASES[name]
    model, width = model_of(prior, outputs_of(name))
    result = bnnsample.run(
        model,
        (X, case.y),
        width=width,
        likelihood=case.ours,
        coordinates=coordinates,
        num_chains=length.chains,
        num_warmup=length.warmup,
        num_samples=length.samples,
        thin=4 if coordinates == "standard" else 2,
        x_eval=X_NEW,
        keep="all",
        progress=False,
    )
    draws = {**result.record.draws, **weights_of(result.record.kept.parameters, prior)}
    return compared(draws, case.unknowns)


def moments(q):
    """Means of q and of q^2 with Monte-Carlo standard errors."""
    assert np.max(r_hat(q)) < 1.02
    values = np.concatenate([q, q**2], axis=-1)
    size = np.minimum(effective_sample_size(values), np.tile(effective_sample_size(q), 2))
    assert np.min(size) > 200
    return values.mean(axis=(0, 1)), values.std(axis=(0, 1)) / np.sqrt(size)


def deviations(draws, expected):
    """Differences of moments in standard errors, by name.

    Moments of q itself need not exist, as under Cauchy priors: taken are those of its arctangent
    about the expected median, in units of half the expected interquartile range.
    """
    z = {}
    for quantity, theirs in expected.items():
        low, centre, high = np.quantile(theirs, [0.25, 0.5, 0.75], axis=(0, 1))

        def bounded(q, centre=centre, spread=(high - low) / 2):
            return np.arctan((q - centre) / spread)

        (a, error_a), (b, error_b) = moments(bounded(draws[quantity])), moments(bounded(theirs))
        z[quantity] = (a - b) / np.hypot(error_a, error_b)
    return z


def worst_of(z):
    """The largest deviation, and the threshold for as many."""
    values = np.abs(np.concatenate(list(z.values())))
    return values.max(), st.norm.isf(FAMILY_ERROR / (2 * values.size))


def assert_agree(name, prior, coordinates, length=LONG):
    found = ours(name, prior, coordinates, length)
    z = deviations(found, reference(name, prior, length))
    worst, threshold = worst_of(z)
    assert worst < threshold, z


COORDINATES = [
    (name, coordinates)
    for name in CASES
    for coordinates in ("standard", "repriorised", "collapsed")
    if coordinates != "collapsed" or name.startswith("gaussian")
]
PAIRS = [("categorical", "student_t"), ("student_t", "log_normal"), ("poisson", "laplace")]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "prior"), [("student_t", None), ("gaussian_gamma", "laplace")])
def test_short_runs_agree_with_numpyro(name, prior):
    assert_agree(name, prior, "auto", SHORT)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "coordinates"), COORDINATES)
def test_likelihoods_agree_with_numpyro(name, coordinates):
    assert_agree(name, None, coordinates)


@pytest.mark.slow
@pytest.mark.parametrize("coordinates", ["standard", "repriorised", "collapsed"])
@pytest.mark.parametrize("prior", PRIORS)
def test_priors_of_weights_agree_with_numpyro(prior, coordinates):
    assert_agree("gaussian", prior, coordinates)


@pytest.mark.slow
@pytest.mark.parametrize("coordinates", ["standard", "repriorised"])
@pytest.mark.parametrize(("name", "prior"), PAIRS)
def test_both_agree_with_numpyro(name, prior, coordinates):
    assert_agree(name, prior, coordinates)


@pytest.mark.slow
def test_another_prior_of_the_noise_is_seen():
    first, second = (
        reference(f"gaussian_{prior}", None, LONG) for prior in ("gamma", "half_cauchy")
    )
    worst, threshold = worst_of(deviations(first, second))
    assert worst > threshold
