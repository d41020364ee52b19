"""CIFAR-10 from the user's copy, in the form in which it is handed out: Python batches."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

TRAINING = tuple(f"data_batch_{i}" for i in range(1, 6))
TEST = "test_batch"
EXPECTED = (
    "the folder cifar-10-batches-py of CIFAR-10's Python version, with "
    f"{', '.join((*TRAINING, TEST))}"
)
SHAPE = (3, 32, 32)
# What an array is pickled with, by NumPy of today and of 2009.
_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),
}


def load_cifar10(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images ``[n, 32, 32, 3]`` (uint8) and labels ``[n]`` of the training and the test batches.

    Raises:
        FileNotFoundError: a file that is missing, and which are expected.
        ValueError: one that is not a batch of CIFAR-10.
    """
    if missing := what_is_missing(folder):
        raise FileNotFoundError(missing)
    batches = [_batch(folder / name) for name in TRAINING]
    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return images, labels, *_batch(folder / TEST)


def what_is_missing(folder: Path) -> str | None:
    """Which batch is not there, and what is expected; None: all are."""
    for name in (*TRAINING, TEST):
        if not (folder / name).is_file():
            return f"{folder} has no {name}: expected {EXPECTED}"
    return None


def _batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of one file."""
    try:
        with path.open("rb") as file:
            found = _Arrays(file, encoding="bytes").load()
        data, labels = np.asarray(found[b"data"]), np.asarray(found[b"labels"])
        images = data.reshape(len(labels), *SHAPE).transpose(0, 2, 3, 1)
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a batch of CIFAR-10: {error!r}") from error
    if images.dtype != np.uint8 or labels.dtype.kind not in "iu":
        raise ValueError(
            f"{path} is not a batch of CIFAR-10: pixels of dtype {images.dtype}, labels of "
            f"{labels.dtype}"
        )
    if labels.size == 0 or labels.min() < 0 or labels.max() > 9:
        raise ValueError(f"{path} is not a batch of CIFAR-10: labels must be 0 to 9")
    return images, labels


class _Arrays(pickle.Unpickler):
    """Dicts, lists, numbers and NumPy arrays, and nothing that runs code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it holds {module}.{name}, not arrays alone")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)
