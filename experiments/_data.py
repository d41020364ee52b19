"""Bundled data sets, standardised, in a fixed random order."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

from experiments._cifar import load_cifar10


class Data(NamedTuple):
    """Training and evaluation points: x ``[n, features]``, y ``[n, d]``.

    ``y_eval`` are the targets of the evaluation points, for those who score predictions.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    x_eval: np.ndarray
    y_eval: np.ndarray | None = None


def load(
    name: str,
    n_train: int,
    seed: int,
    n_eval: int = 32,
    dtype: Any = np.float32,
    data_dir: Path | None = None,
) -> Data:
    """``"diabetes"``: regression, x and y standardised; the others: shifted one-hot regression.

    Digits are treated as Hron et al. 2022 treat CIFAR-10: targets one-hot minus 1/10, inputs
    standardised as a whole; so is ``"cifar10"``, whose Python batches are in ``data_dir``, with
    evaluation points of its test batch. ``"breast_cancer"``: one-hot minus 1/2, each input
    standardised.
    """
    if name == "cifar10":
        return _cifar10(n_train, seed, n_eval, dtype, data_dir)
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
        raise ValueError(
            f"unknown data {name!r}; expected 'diabetes', 'digits', 'breast_cancer' or 'cifar10'"
        )
    if not 1 <= n_train <= len(x) - n_eval:
        raise ValueError(f"n_train must lie between 1 and {len(x) - n_eval}, got {n_train}")
    order = np.random.default_rng(seed).permutation(len(x))
    train, held_out = order[:n_train], order[n_train : n_train + n_eval]
    x, y = x.astype(dtype), y.astype(dtype)
    return Data(name, x[train], y[train], x[held_out], y[held_out])


def as_images(data: Data) -> Data:
    """Digits as the images that they are, ``[n, 8, 8, 1]``."""
    x, x_eval = (a.reshape(-1, 8, 8, 1) for a in (data.x, data.x_eval))
    return data._replace(x=x, x_eval=x_eval)


def _cifar10(n_train: int, seed: int, n_eval: int, dtype: Any, data_dir: Path | None) -> Data:
    """Images ``[n, 32, 32, 3]``, standardised as a whole by the training batches."""
    if data_dir is None:
        raise ValueError("cifar10 needs data_dir (--data-dir), the folder cifar-10-batches-py")
    images, labels, test_images, test_labels = load_cifar10(data_dir)
    for name, count, most in (
        ("n_train", n_train, len(labels)),
        ("n_eval", n_eval, len(test_labels)),
    ):
        if not 1 <= count <= most:
            raise ValueError(f"{name} must lie between 1 and {most}, got {count}")
    rng = np.random.default_rng(seed)
    train = rng.permutation(len(labels))[:n_train]
    held_out = rng.permutation(len(test_labels))[:n_eval]
    mean, spread = images.mean(), images.std()
    x, x_eval = (
        ((part - mean) / spread).astype(dtype) for part in (images[train], test_images[held_out])
    )
    one_hot = np.eye(10) - 0.1
    y, y_eval = (one_hot[part].astype(dtype) for part in (labels[train], test_labels[held_out]))
    return Data("cifar10", x, y, x_eval, y_eval)
