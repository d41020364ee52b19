"""A summary with the digits that its Monte-Carlo standard errors leave."""

import numpy as np
import pandas as pd

_ESTIMATES = {"mean": "mcse_mean", "sd": "mcse_sd", "median": "mcse_median"}
_COUNTS = ("ess_mean", "ess_sd", "ess_bulk", "ess_tail", "ess_median")
R_HAT_DIGITS = 3


def known_digits(table: pd.DataFrame) -> pd.DataFrame:
    """ArviZ's table, every number rounded to what is known of it.

    The last digit of a mean or a standard deviation is the first whose unit is not below its
    Monte-Carlo standard error: another run would change it by about one. Ends of intervals have
    the error of a quantile deep in the tail, ``2.5 sd / sqrt(ess_tail)`` (that of a normal's 3%
    quantile, ``sqrt(p (1 - p) / ess) / density``). Errors have two digits, ESS none. Where no error
    is known a number stays as it is.
    """
    rounded = table.copy()
    for column in table.columns:
        values = table[column]
        if not pd.api.types.is_float_dtype(values):
            continue
        if column in _COUNTS:
            rounded[column] = values.round()
        elif column == "r_hat":
            rounded[column] = values.round(R_HAT_DIGITS)
        elif column.startswith("mcse_"):
            rounded[column] = _rounded(values, np.abs(values) / 100)
        else:
            rounded[column] = _rounded(values, _error(table, column))
    return rounded


def _error(table: pd.DataFrame, column: str) -> pd.Series:
    """The Monte-Carlo standard error of a column."""
    unknown = pd.Series(np.nan, table.index)
    if column in _ESTIMATES:
        return table.get(_ESTIMATES[column], unknown)
    if {"sd", "ess_tail"} <= set(table.columns):
        return 2.5 * table["sd"] / np.sqrt(table["ess_tail"])
    return table.get("mcse_mean", unknown)


def _rounded(values: pd.Series, errors: pd.Series) -> list[float]:
    return [_round(*pair) for pair in zip(values, errors, strict=True)]


def _round(value: float, error: float) -> float:
    if not (np.isfinite(value) and np.isfinite(error) and error > 0):
        return value
    # A hair above a power of ten is that power.
    decimals = int(np.floor(-np.log10(error) + 1e-9))
    return round(value, decimals)
