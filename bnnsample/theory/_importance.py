"""Evidence and distance from the prior by plain importance sampling."""

from typing import NamedTuple

import numpy as np

from bnnsample._weights import log_mean_exp


class ImportanceEstimate(NamedTuple):
    """Estimates with their standard errors (``_se``)."""

    log_evidence: float
    log_evidence_se: float
    kl_to_prior: float
    kl_to_prior_se: float


def importance_estimate(log_weights: np.ndarray) -> ImportanceEstimate:
    """``log E[exp l]`` and ``KL(p || prior)`` from ``l [n]`` at independent prior draws.

    With ``r = exp(l) / mean exp(l)``, an estimate of the posterior's density relative to the prior,

        KL = mean(r log r - r + 1),

    where ``-r + 1`` has mean zero and makes every term nonnegative: a small divergence is a sum of
    small terms and not a difference of large ones. The standard errors are the delta method's. The
    influence function of ``log E[exp l]`` is ``r - 1``, and that of ``E[r l] - log E[exp l]`` is
    ``r (log r - KL) - r + 1``.
    """
    log_evidence = log_mean_exp(log_weights)
    log_r = log_weights - log_evidence
    r = np.exp(log_r)
    r_log_r = np.where(r > 0, r * np.where(r > 0, log_r, 0), 0)
    kl = float(np.mean(r_log_r - np.where(r > 0, np.expm1(log_r), -1)))
    influence = r_log_r - r * kl - np.expm1(log_r)
    root_n = len(log_weights) ** 0.5
    return ImportanceEstimate(
        log_evidence,
        float(np.std(np.expm1(log_r), ddof=1) / root_n),
        kl,
        float(np.std(influence, ddof=1) / root_n),
    )
