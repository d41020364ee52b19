"""Class labels, as whole numbers from 0 and the names they stand for."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from bnnsample import _data

Label = str | int


def checked_classes(classes: Any) -> tuple[Label, ...] | None:
    """Class names as a tuple of distinct strings or ints, at least two; None: found in y.

    Raises:
        TypeError, ValueError: anything else.
    """
    if classes is None:
        return None
    if isinstance(classes, (str, bytes)) or not isinstance(classes, Iterable):
        raise TypeError(f"classes must be a sequence of labels, got {type(classes).__name__}")
    try:
        values = tuple(classes)
    except Exception:
        raise TypeError(
            f"classes must be a sequence of labels, got {type(classes).__name__}"
        ) from None
    labels = tuple(_label(value, "classes") for value in values)
    if len({type(label) for label in labels}) > 1:
        raise TypeError("classes must be all strings or all ints")
    if len(set(labels)) < len(labels):
        raise ValueError(f"classes must be distinct, got {list(labels)}")
    if len(labels) < 2:
        raise ValueError(f"classes: at least two are needed, got {list(labels)}")
    return labels


def as_labels(y: Any, num_points: int) -> np.ndarray:
    """Labels ``[n]`` as an array of Python strings or ints.

    Raises:
        TypeError, ValueError: not one label per data point, missing labels, or numbers that are
            not whole.
    """
    if hasattr(y, "to_numpy"):
        y = y.to_numpy()
    if np.ma.is_masked(y):
        raise ValueError("y is a masked array with missing values; remove or fill them")
    try:
        array = np.asarray(y)
    except ValueError:
        raise ValueError(
            "y must have one label per data point, got rows of several lengths"
        ) from None
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        hint = "; one-hot rows: pass y.argmax(1)" if array.ndim == 2 else ""
        raise ValueError(
            f"y must have one label per data point, shape [n], got {array.shape}{hint}"
        )
    _data.require_same_length(num_points, len(array))
    if array.size == 0:
        raise ValueError("y is empty")
    labels = np.empty(len(array), object)
    labels[:] = [_label(value, "y") for value in array.tolist()]
    if len({type(label) for label in labels}) > 1:
        raise TypeError("the labels y must be all strings or all whole numbers")
    return labels


def encoded(labels: np.ndarray, classes: tuple[Label, ...] | None) -> tuple[tuple, np.ndarray]:
    """The classes (those of ``labels``, sorted, where none are given) and codes ``[n]`` from 0.

    Raises:
        ValueError: a label outside the classes, or fewer than two classes.
    """
    if classes is None:
        classes = tuple(sorted(set(labels.tolist())))
        if len(classes) < 2:
            raise ValueError(f"y must have at least two classes, got {list(classes)} alone")
    code = {label: i for i, label in enumerate(classes or ())}
    outside = [label for label in labels if label not in code]
    if outside:
        raise ValueError(
            f"y has the label {outside[0]!r}, which is not among the classes {list(code)}"
        )
    return tuple(code), np.array([code[label] for label in labels])


def _label(value: Any, name: str) -> Label:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        raise ValueError(f"{name} has missing labels; remove or fill them")
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            raise ValueError(f"{name} has the label {value!r}, which is not UTF-8 text") from None
    if isinstance(value, (bool, int)):
        return int(value)
    if isinstance(value, float):
        if np.isnan(value):
            raise ValueError(f"{name} has missing labels (NaN); remove or fill them")
        if np.isinf(value):
            raise ValueError(f"{name} must be class labels, got {value!r}")
        if value != round(value):
            raise ValueError(f"{name} must be class labels, got {value!r}, not a whole number")
        return int(value)
    if isinstance(value, str):
        return str(value)
    raise TypeError(f"{name} must be strings or whole numbers, got {type(value).__name__}")
