"""The Monte-Carlo standard error of a chain's mean."""

import numpy as np

from bnnsample.results._ess import mean_ess


def standard_error(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standard error ``[...]`` and effective sample size ``[...]`` of the mean over draws.

    ``sd / sqrt(ess)`` of ``draws [chain, draw, ...]``, with the ESS of the mean, capped at the
    number of draws. A quantity that never changes is known: its ESS is the number of draws, and
    its standard error what rounding leaves.
    """
    total = draws.shape[0] * draws.shape[1]
    sizes = mean_ess(draws)
    sizes = np.where(np.isnan(sizes), float(total), sizes)
    return draws.std(axis=(0, 1), ddof=1) / np.sqrt(sizes), sizes
