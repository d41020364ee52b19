"""Bundled data sets, standardised, in a fixed random order."""

from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits


class Data(NamedTuple):
    """Training and evaluation points: x ``[n, features]``, y ``[n, d]``.

    ``y_eval`` are the targets of the evaluation points, for those who score predictions.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    x_eval: np.ndarray
    y_eval: np.ndarray | None = None


def load(name: str, n_train: int, seed: int, n_eval: int = 32, dtype=np.float32) -> Data:
    """``"diabetes"``: regression, x and y standardised; the others: shifted one-hot regression.

    Digits are treated as Hron et al. 2022 treat CIFAR-10: targets one-hot minus 1/10, inputs
    standardised as a whole. ``"breast_cancer"``: one-hot minus 1/2, each input standardised.
    """
    if name == "diabetes":
        x, y = load_diabetes(return_X_y=True)
        x = (x - x.mean(0)) / x.std(0)
        y = ((y - y.mean()) / y.std())[:, None]
    elif name == "digits":
        x, labels = load_digits(return_X_y=True)
        x = (x - x.mean()) / x.std()
        y = np.eye(10)[labels] - 0.1
    elif name == "breast_cancer":
        x, labels = load_breast_cancer(return_X_y=True)
        x = (x - x.mean(0)) / x.std(0)
        y = np.eye(2)[labels] - 0.5
    else:
        raise ValueError(f"unknown data {name!r}; expected 'diabetes', 'digits' or 'breast_cancer'")
    if not 1 <= n_train <= len(x) - n_eval:
        raise ValueError(f"n_train must lie between 1 and {len(x) - n_eval}, got {n_train}")
    order = np.random.default_rng(seed).permutation(len(x))
    train, held_out = order[:n_train], order[n_train : n_train + n_eval]
    x, y = x.astype(dtype), y.astype(dtype)
    return Data(name, x[train], y[train], x[held_out], y[held_out])
