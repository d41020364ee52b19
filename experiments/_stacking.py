"""Predictive distributions mixed by how well they foretold points that were held out."""

import numpy as np

MOST_ROUNDS, TOLERANCE = 10_000, 1e-9
NUM_REPLICATES, REPLICATE_TOLERANCE = 200, 1e-6


def bootstrap_stacked(density: np.ndarray, seed: int) -> np.ndarray:
    """Mean of the weights ``[k]`` of ``stacked`` over the Bayesian bootstrap of the points.

    Few points choose one distribution among many that are hardly worse; another sample would have
    chosen another. The mean over samples holds on to all of them (Rubin 1981; Yao et al. 2018,
    section 3.4, do so for pseudo-BMA weights).
    """
    count = len(density)
    replicates = np.random.default_rng(seed).dirichlet(np.ones(count), size=NUM_REPLICATES)
    return stacked(density, replicates, REPLICATE_TOLERANCE).mean(axis=0)


def stacked(density: np.ndarray, points: np.ndarray, tolerance: float = TOLERANCE) -> np.ndarray:
    """Weights ``[r, k]`` of mixtures, for each row of the points' own weights ``[r, n]``.

    Each is of greatest ``points @ log(density [n, k] @ weights)``: stacking of predictive
    distributions (Yao et al. 2018) by expectation maximisation. The problem is concave, and every
    round adds to the objective.
    """
    weights = np.full((len(points), density.shape[1]), 1 / density.shape[1])
    for _ in range(MOST_ROUNDS):
        after = weights * ((points / (weights @ density.T)) @ density)
        if np.abs(after - weights).max() < tolerance:
            break
        weights = after
    return weights
