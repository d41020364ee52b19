"""The evidence of a model, and the distance of its repriorised posterior from the prior."""

import math
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from bnnsample._arguments import checked_counts, checked_seed, key_of
from bnnsample._check_model import check_model
from bnnsample._precision import precision
from bnnsample._problem import make_problem
from bnnsample._weights import (
    MIN_WEIGHTS,
    SmoothedWeights,
    log_mean_exp,
    pareto_smoothed,
    require_reliable,
)
from bnnsample.chains._mapping import quiet_blas
from bnnsample.chains._prior_draws import Weigher
from bnnsample.coordinates import Collapsed, Posterior
from bnnsample.likelihoods import Likelihood
from bnnsample.models import Model
from bnnsample.theory._gaussian_only import (
    require_gaussian,
    require_known_scales,
    require_untempered,
)
from bnnsample.theory._importance import importance_estimate
from bnnsample.theory._smc import TARGET_ESS, TemperedSMC
from ntk import check_backend

METHODS = ("auto", "importance", "smc")
NUM_MOVES = 3
# Below it the weights have a finite variance, which the delta method needs.
FINITE_VARIANCE_K_HAT = 0.5


class Evidence(NamedTuple):
    """An evidence and a divergence, each with its standard error (``_se``), in nats.

    Attributes:
        log_evidence: ``log p(y)``, every constant included.
        log_evidence_se: its standard error.
        kl_to_prior: ``KL(p(phi | D) || N(0, I))`` in repriorised coordinates.
        kl_to_prior_se: its standard error.
        method: ``"importance"`` or ``"smc"``, which gave the four numbers.
        k_hat: Pareto shape of plain importance sampling from the prior, whichever the method.
        importance_ess: effective sample size of those prior draws.
        num_draws: how many they were: potentials evaluated.
        num_not_finite: draws among them whose potential was not finite, of weight zero.
        temperatures: of the path, 1 the last ``[stage]``.
        effective_sample_sizes: of the particles when they moved there ``[replicate, stage]``.
        acceptance_rates: of their moves at that temperature ``[replicate, stage]``.
        num_gradients: gradients of the potential, the pilot run's included.
    """

    log_evidence: float
    log_evidence_se: float
    kl_to_prior: float
    kl_to_prior_se: float
    method: str
    k_hat: float
    importance_ess: float
    num_draws: int
    num_not_finite: int
    temperatures: np.ndarray
    effective_sample_sizes: np.ndarray
    acceptance_rates: np.ndarray
    num_gradients: int


def evidence(
    model: Model,
    data: tuple[Any, Any],
    *,
    width: Any,
    likelihood: Likelihood | None = None,
    num_particles: int = 256,
    num_replicates: int = 8,
    method: str = "auto",
    seed: int = 0,
) -> Evidence:
    """The evidence, and the repriorised posterior's distance from the prior.

    With the readout integrated out, the posterior of the hidden parameters and of the unknowns'
    coordinates is ``N(q; 0, I) exp(l(q)) / Z``, ``l`` the log marginal likelihood. The repriorised
    readout is N(0, I) and independent of them, so that

        log Z = log E_prior[exp l],    KL(p(phi | D) || N(0, I)) = E_posterior[l] - log Z,

    which vanishes as the width grows (Hron et al. 2022, theorem 3.1).

    First ``num_particles * num_replicates`` prior draws are weighed, one after the other: nothing
    but their weights is kept. Where at least half of them are effective and k-hat is at most 0.5
    the weights give both numbers, with standard errors by the delta method. Elsewhere tempered
    sequential Monte Carlo does, with particles kept in memory: a pilot run finds temperatures and
    step sizes, and the estimates and their standard errors are from the mean and spread of
    ``num_replicates`` independent runs of ``num_particles`` each.

    An unknown whose prior has no closed-form quantile function is moved in its unconstrained
    coordinate, and N(0, 1) of that coordinate stands for its prior in ``kl_to_prior``.

    Args:
        model: a network from ``bnnsample.models``.
        data: ``(x [n, ...], y [n] or [n, d])``, as for ``run``. The dtype follows x.
        width: units of each hidden layer, an int or one per layer.
        likelihood: default ``Gaussian()``, noise of unknown standard deviation.
        num_particles: of one sequential Monte Carlo run.
        num_replicates: independent runs, 2 at least.
        method: ``"auto"``, or ``"importance"`` or ``"smc"`` alone.
        seed: an int; the same seed, data and settings give the same numbers on one machine.

    Raises:
        TypeError, ValueError: an argument that cannot be meant, or particles beyond the
            machine's memory.
        ImportanceSamplingError: ``method="importance"`` where k-hat is above 0.7.
        FloatingPointError: the log marginal likelihood is not finite at half of the prior draws.
        ntk.BackendError: the JAX backend computes wrong numbers.
    """
    problem = make_problem(data, None, False, likelihood)
    likelihood = problem.likelihood
    with precision(problem.dtype):
        check_model(model, problem.x, width)
        x, y, _ = problem.arrays()
        posterior = Collapsed(model, likelihood, width, x, y)
    return evidence_of(
        posterior,
        num_particles=num_particles,
        num_replicates=num_replicates,
        method=method,
        seed=seed,
    )


def evidence_of(
    posterior: Posterior, *, num_particles: int, num_replicates: int, method: str, seed: int
) -> Evidence:
    """``evidence`` of a posterior's model, likelihood and data, whatever its coordinates."""
    counts = checked_counts(num_particles=num_particles, num_replicates=num_replicates)
    for name, least in (("num_particles", MIN_WEIGHTS), ("num_replicates", 2)):
        if counts[name] < least:
            raise ValueError(f"{name} must be at least {least}, got {counts[name]}")
    seed = checked_seed(seed)
    if not isinstance(method, str) or method not in METHODS:
        raise ValueError(f"unknown method {method!r}; expected one of {', '.join(METHODS)}")
    require_gaussian("the evidence", posterior.likelihood)
    require_known_scales("the evidence", posterior.model, posterior.likelihood, all_priors=False)
    require_untempered("the evidence", posterior.tempering)
    platform = jax.default_backend()
    with precision(posterior.y.dtype), quiet_blas(platform):
        check_backend(platform)
        likelihood, x, y = posterior.likelihood, posterior.x, posterior.y
        collapsed = Collapsed(posterior.model, likelihood, posterior.width, x, y)
        weigh_key, smc_key = jax.random.split(key_of(seed))
        num_draws = counts["num_particles"] * counts["num_replicates"]
        log_weights = Weigher(platform).log_weights(collapsed, weigh_key, num_draws)
        log_weights += _log_normaliser(collapsed)
        return _first_attempt(log_weights, method) or _by_smc(
            TemperedSMC(collapsed, counts["num_particles"], NUM_MOVES, platform),
            smc_key,
            counts["num_replicates"],
            log_weights,
        )


def _first_attempt(log_weights: np.ndarray, method: str) -> Evidence | None:
    """By importance sampling, unless its standard errors are not to be trusted."""
    if method == "smc":
        return None
    weights = pareto_smoothed(log_weights)
    size = weights.effective_sample_size
    if method == "importance":
        require_reliable(weights, "method='smc'")
    elif not weights.k_hat <= FINITE_VARIANCE_K_HAT or size < TARGET_ESS * len(log_weights):
        return None
    estimate = importance_estimate(log_weights)
    return Evidence(
        *estimate,
        "importance",
        *_diagnostics(log_weights, weights),
        temperatures=np.ones(1),
        effective_sample_sizes=np.full((1, 1), size),
        acceptance_rates=np.ones((1, 1)),
        num_gradients=0,
    )


def _by_smc(smc: TemperedSMC, key: Array, num_replicates: int, log_weights: np.ndarray) -> Evidence:
    """By independent particle systems on the stages that a pilot has found."""
    pilot_key, *keys = jax.random.split(key, num_replicates + 1)
    pilot = smc.pilot(pilot_key)
    runs = [smc.replicate(replicate_key, pilot.stages) for replicate_key in keys]
    log_evidence = np.asarray([run.log_evidence for run in runs])
    kl = np.asarray([run.kl_to_prior for run in runs])
    pooled = log_mean_exp(log_evidence)
    return Evidence(
        pooled + _log_normaliser(smc.posterior),
        _standard_error(np.exp(log_evidence - pooled)),
        float(np.mean(kl)),
        _standard_error(kl),
        "smc",
        *_diagnostics(log_weights, pareto_smoothed(log_weights)),
        temperatures=np.asarray([stage.temperature for stage in pilot.stages]),
        effective_sample_sizes=np.asarray([run.effective_sample_sizes for run in runs]),
        acceptance_rates=np.asarray([run.acceptance_rates for run in runs]),
        num_gradients=sum(run.num_gradients for run in (pilot, *runs)),
    )


def _diagnostics(
    log_weights: np.ndarray, weights: SmoothedWeights
) -> tuple[float, float, int, int]:
    num_not_finite = int(np.isneginf(log_weights).sum())
    return weights.k_hat, weights.effective_sample_size, len(log_weights), num_not_finite


def _log_normaliser(posterior: Posterior) -> float:
    """What ``log_correction`` leaves out: N(0, 1)'s constant, for each unknown without a map."""
    unknowns = posterior.unknowns.values()
    return 0.5 * math.log(2 * math.pi) * sum(not u.has_quantile_map for u in unknowns)


def _standard_error(values: np.ndarray) -> float:
    return float(np.std(values, ddof=1) / len(values) ** 0.5)
