"""Predictive distributions mixed by how well they foretold points that were held out."""

import numpy as np

MOST_ROUNDS, TOLERANCE = 10_000, 1e-9
NUM_REPLICATES, REPLICATE_TOLERANCE = 200, 1e-6


def stacked(density: np.ndarray) -> np.ndarray:
    """Weights ``[k]`` of the mixture of greatest ``mean log(density [n, k] @ weights)``.

    Stacking of predictive distributions (Yao et al. 2018).
    """
    everyone = np.full((1, len(density)), 1 / len(density))
    return _maximised(density, everyone, TOLERANCE)[0]


def bootstrap_stacked(density: np.ndarray, seed: int) -> np.ndarray:
    """Mean of the weights ``[k]`` of ``stacked`` over the Bayesian bootstrap of the points.

    Few points choose one distribution among many that are hardly worse; another sample would have
    chosen another. The mean over samples holds on to all of them (Rubin 1981; Yao et al. 2018,
    section 3.4, do so for pseudo-BMA weights).
    """
    count = len(density)
    replicates = np.random.default_rng(seed).dirichlet(np.ones(count), size=NUM_REPLICATES)
    return _maximised(density, replicates, REPLICATE_TOLERANCE).mean(axis=0)


def _maximised(density: np.ndarray, points: np.ndarray, tolerance: float) -> np.ndarray:
    """Weights ``[r, k]`` for each row of the points' own weights ``[r, n]``.

    Expectation maximisation: the problem is concave, and every round adds to the objective.
    """
    weights = np.full((len(points), density.shape[1]), 1 / density.shape[1])
    for _ in range(MOST_ROUNDS):
        after = weights * ((points / (weights @ density.T)) @ density)
        if np.abs(after - weights).max() < tolerance:
            break
        weights = after
    return weights
