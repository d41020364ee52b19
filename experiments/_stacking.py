"""Predictive distributions mixed by how well they foretold points that were held out."""

import numpy as np

MOST_ROUNDS, TOLERANCE = 10_000, 1e-9


def stacked(density: np.ndarray) -> np.ndarray:
    """Weights ``[k]`` of the mixture of greatest ``mean log(density [n, k] @ weights)``.

    Stacking of predictive distributions (Yao et al. 2018) by expectation maximisation: the problem
    is concave, and every round adds to the objective.
    """
    count = density.shape[1]
    weights = np.full(count, 1 / count)
    for _ in range(MOST_ROUNDS):
        share = density * weights
        after = (share / share.sum(axis=1, keepdims=True)).mean(axis=0)
        if np.abs(after - weights).max() < TOLERANCE:
            break
        weights = after
    return weights
