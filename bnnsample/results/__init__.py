"""What a run gives back: draws, diagnostics, a verdict, predictions, storage and plots."""

from bnnsample.results._ess import effective_sample_size as effective_sample_size
from bnnsample.results._ess import r_hat as r_hat
from bnnsample.results._load import load as load
from bnnsample.results._predict import Prediction as Prediction
from bnnsample.results._result import Result as Result

__all__ = ["Prediction", "Result", "effective_sample_size", "load", "r_hat"]
