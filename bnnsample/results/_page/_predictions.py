"""Predictions against data: the figure that suits the run."""

import numpy as np
from matplotlib.figure import Figure

from bnnsample._record import RunRecord
from bnnsample.results._idata import in_user_units
from bnnsample.results._page._affordable import affordable_draws, thinned
from bnnsample.results._page._calibration import calibration
from bnnsample.results._plots._predictive import (
    MAX_OUTPUTS,
    Band,
    against_observed,
    predictive,
)
from bnnsample.results._plots._style import grid, legend_below
from bnnsample.results._predict import predict

LABELS = ("Bernoulli", "Categorical")
_OPTIMISTIC = "The network has seen these points: on new ones it does worse."


def predictions(record: RunRecord) -> tuple[Figure, str]:
    """A figure and its description."""
    if record.settings.get("likelihood") in LABELS:
        probabilities = _probabilities(record)
        if probabilities is not None:
            text = "Predicted probabilities against what was observed, with 95% intervals."
            return calibration(probabilities, record.y.ravel().astype(int)), f"{text} {_OPTIMISTIC}"
    elif record.x[0].size == 1:
        return predictive(record), "Posterior mean over x, with 95% bands."
    elif np.array_equal(record.x, record.x_eval):
        text = "Predicted against observed targets of the training points."
        return predictive(record), f"{text} {_OPTIMISTIC}"
    elif (bands := _bands_at_training(record)) is not None:
        text = "Predicted against observed targets of the training points, from the kept draws."
        return _observed(record, bands), f"{text} {_OPTIMISTIC}"
    return predictive(record), "Predictions at the evaluation points, with 95% bands."


def _probabilities(record: RunRecord) -> np.ndarray | None:
    """Of the classes, at the training points ``[n, k]``; several yes-or-no targets in a row."""
    if np.array_equal(record.x, record.x_eval):
        mean = in_user_units(record, record.draws)["y_mean"].mean(axis=(0, 1), dtype=np.float64)
    elif (num_draws := _draws_at_training(record)) > 0:
        mean = np.asarray(predict(thinned(record, num_draws), record.x).mean, np.float64)
    else:
        return None
    if record.settings["likelihood"] == "Categorical":
        return mean
    return np.stack([1 - mean.ravel(), mean.ravel()], axis=1)


def _bands_at_training(record: RunRecord) -> list[Band] | None:
    """Of every output; None where the network or its parameters are not there."""
    num_draws = _draws_at_training(record)
    if not num_draws:
        return None
    mean, std, predictive_std, _ = predict(thinned(record, num_draws), record.x)
    if mean.size != record.y.size:
        return None

    def column(values: np.ndarray, output: int) -> np.ndarray:
        return values.reshape(record.y.shape)[:, output]

    return [
        Band(
            column(mean, output),
            column(std, output),
            None if predictive_std is None else column(predictive_std, output),
        )
        for output in range(record.y.shape[1])
    ]


def _draws_at_training(record: RunRecord) -> int:
    return 0 if record.posterior is None else affordable_draws(record, len(record.x))


def _observed(record: RunRecord, bands: list[Band]) -> Figure:
    bands = bands[:MAX_OUTPUTS]
    figure, axes = grid(1, len(bands), (max(6.4, 4.0 * len(bands)), 4.6))
    for output, (ax, band) in enumerate(zip(axes.flat, bands, strict=True)):
        against_observed(ax, record, band, output)
        if len(bands) > 1:
            ax.set_title(f"output {output}", fontsize=10)
    figure.suptitle("Predicted against observed, training points")
    legend_below(figure, axes[0, 0])
    return figure
