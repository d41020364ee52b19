"""Means over splits, and their standard errors."""

import math

import numpy as np


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """Mean and its standard error, NaN for a single value."""
    count = len(values)
    error = values.std(ddof=1) / count**0.5 if count > 1 else math.nan
    return float(values.mean()), float(error)


def with_error(mean: float, error: float, spec: str) -> str:
    """``mean ± error`` in a format, the mean alone where there is no error."""
    return f"{mean:{spec}}" if math.isnan(error) else f"{mean:{spec}} ± {error:{spec.lstrip('+')}}"
