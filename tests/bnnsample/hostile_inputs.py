"""A catalogue of bad inputs of ``run``: every argument times everything that can be wrong with it.

``python tests/bnnsample/hostile_inputs.py`` prints how many there are of each kind.
"""

import collections
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from hostile_values import (
    IMAGES,
    LABELS,
    NOT_FINITE,
    N,
    X,
    Y,
    neither,
    not_arrays,
    not_ints,
    not_names,
    not_numbers,
    of_wrong_dtype,
    ragged,
    with_missing,
)
from jax.sharding import Mesh

from bnnsample.coordinates import COORDINATES
from bnnsample.kernels._registry import COUNTS, KERNELS
from bnnsample.likelihoods import Bernoulli, Categorical, Poisson
from bnnsample.models import cnn, mlp

GOOD: dict[str, Any] = {
    "model": mlp(),
    "data": (X, Y),
    "width": 4,
    "num_chains": 2,
    "num_warmup": 0,
    "num_samples": 2,
    "progress": False,
}


@dataclass(frozen=True)
class Bad:
    """One bad input.

    Attributes:
        kind: what is wrong with it.
        argument: what is wrong; the message has its name.
        label: of the value.
        make: the arguments of ``run`` that differ from ``GOOD``; it may raise itself, where a
            part of the library is asked for something impossible.
    """

    kind: str
    argument: str
    label: str
    make: Callable[[], dict[str, Any]]

    @property
    def name(self) -> str:
        return f"{self.argument}: {self.kind}, {self.label}"


def cases(kind, argument, values, put=None) -> Iterator[Bad]:
    """One case per value; ``put`` makes arguments of a value."""
    put = put or (lambda value: {argument: value})
    for label, value in values.items():
        yield Bad(kind, argument, label, lambda value=value: put(value))


def counts() -> Iterator[Bad]:
    for name in ("num_chains", "num_warmup", "num_samples", "thin"):
        yield from cases("wrong type", name, not_ints())
        least = 0 if name == "num_warmup" else 1
        small = {str(v): v for v in (least - 1, -7, -(2**40))} | {"int8": np.int8(least - 1)}
        large = (
            {str(v): v for v in (2**31, 2**63, 10**30)}
            | {"5000 digits": 10**5000}
            | {"uint64": np.uint64(2**63)}
        )
        yield from cases("out of range", name, small | large)
    yield from cases("wrong type", "seed", not_ints())
    seeds = {str(v): v for v in (-1, -(2**63), 2**63, 2**64, 10**30)}
    yield from cases("out of range", "seed", seeds)


def names() -> Iterator[Bad]:
    coordinates = ("collapsed", *COORDINATES)
    for name, allowed in (
        ("coordinates", coordinates),
        ("kernel", tuple(KERNELS)),
        ("keep", ("auto", "all", "none")),
        ("tempering", ("posterior", "likelihood")),
        ("precision", ("float64", "float32", "mixed")),
    ):
        values = {**not_names(allowed), "None": None, "bits": 64, "dtype": np.float32}
        if name == "precision":
            del values["None"]
        put = (lambda v: {"tempering": v, "temperature": 1.5}) if name == "tempering" else None
        yield from cases("unknown name", name, values, put)
    for name in ("sgld", "SGHMC", "csgld"):
        yield Bad("unknown name", "kernel", name, lambda name=name: {"kernel": name})


def devices() -> Iterator[Bad]:
    one = jax.local_devices()[0]
    no_devices = {"platform": "cpu", "count": 2, "one": one, "one and a number": [one, 0]}
    yield from cases("wrong type", "devices", {**neither(), **no_devices})
    axes = {
        "axis": ("batch",),
        "two axes": ("chains", "rows"),
        "three axes": ("chains", "data", "x"),
    }
    meshes = {k: Mesh(np.asarray([one]).reshape([1] * len(v)), v) for k, v in axes.items()}
    yield from cases("out of range", "devices", {"one twice": [one, one], **meshes})


def numbers() -> Iterator[Bad]:
    for name, zero in (("temperature", ()), ("checkpoint_every", (0,))):
        yield from cases("wrong type", name, {**not_numbers(), "None": None})
        yield from cases("not finite", name, NOT_FINITE)
        wrong = {str(v): v for v in (0, -1, -0.5, -1e300) if v not in zero}
        yield from cases("out of range", name, wrong)
        yield from cases("out of range", name, {"huge int": 10**400})
    flags = {**neither(), "None": None, "text": "True", "0": 0, "1": 1, "float": 1.0, "NaN": np.nan}
    yield from cases("wrong type", "standardize", flags)
    progress = {k: v for k, v in flags.items() if k not in ("None",)}
    yield from cases("wrong type", "progress", progress)


def widths() -> Iterator[Bad]:
    ints = {k: v for k, v in not_ints().items() if k not in ("tuple", "list", "empty list")}
    yield from cases("wrong type", "width", ints)
    yield from cases("wrong type", "width", {f"[{k}]": [v] for k, v in ints.items()})
    small = {str(v): v for v in (0, -1, -(2**40), [0], [-3], np.int64(0))}
    large = {str(v): v for v in (2**31, 10**30, [2**31], [2**62])}
    yield from cases("out of range", "width", small | large)
    lengths = {"none": [], "two": [4, 4], "nested": [[4]], "many": [4] * 1000}
    yield from cases("wrong shape", "width", lengths)
    memory = {str(v): v for v in (2**31 - 1, 2**30)}
    yield from cases("beyond memory", "width", memory)


def options() -> Iterator[Bad]:
    for kernel, spec in KERNELS.items():
        valid = [*spec.defaults, *(["target_acceptance"] if spec.target_acceptance else [])]

        def put(option, value, kernel=kernel, surrogate=spec.needs_surrogate):
            given = {"kernel": kernel, "kernel_options": {option: value}}
            if surrogate:
                given |= {"data": (X, LABELS), "likelihood": Bernoulli()}
            return given

        for option in valid:
            yield from _of_option(kernel, option, lambda v, o=option, put=put: put(o, v))
        unknown = {
            "epsilon": "epsilon",
            "upper case": "STEP_SIZE",
            "3": 3,
            "empty": "",
            "None": None,
        }
        yield from cases(
            "unknown name",
            kernel,
            {f"option {k}": v for k, v in unknown.items()},
            lambda v, put=put: put(v, 1),
        )
        batch = {f"{kernel}, option batch_size": "batch_size"}
        yield from cases("unknown name", "kernel_options", batch, lambda v, put=put: put(v, 32))
    bad = {k: v for k, v in neither().items() if k not in ("dict",)}
    yield from cases("wrong type", "kernel_options", {**bad, "text": "step_size", "int": 3})


def _of_option(kernel, option, put) -> Iterator[Bad]:
    wrong = dict(neither(), **{"text": "0.1", "True": True})
    outside = {"0": 0, "-1": -1, "huge": 10**400}
    label = f"{kernel}, "
    if option == "inverse_mass_matrix":
        keep = ("object", "function", "dict", "complex", "datetime", "text", "random key")
        wrong = {k: v for k, v in wrong.items() if k in keep}
        shapes = {"number": 1.0, "matrix": np.eye(3), "empty": [], "ragged": [[1], [1, 2]]}
        shapes |= {"too short": np.ones(3), "too long": np.ones(1000)}
        yield from cases("wrong shape", option, {label + k: v for k, v in shapes.items()}, put)
        vectors = {f"with {k}": [1.0, v] for k, v in NOT_FINITE.items()}
        vectors |= {"with 0": [1.0, 0.0], "with -1": [1.0, -1.0]}
        yield from cases("out of range", option, {label + k: v for k, v in vectors.items()}, put)
        outside = {}
    elif option in COUNTS:
        wrong |= {"float": 2.0, "NaN": np.nan}
        outside |= {"2**31": 2**31}
    else:
        yield from cases("not finite", option, {label + k: v for k, v in NOT_FINITE.items()}, put)
        if option in ("jitter", "damping"):
            outside.pop("0")
        if option in ("jitter", "target_acceptance"):
            outside |= {"1": 1, "1.5": 1.5}
    yield from cases("wrong type", option, {label + k: v for k, v in wrong.items()}, put)
    yield from cases("out of range", option, {label + k: v for k, v in outside.items()}, put)


def data() -> Iterator[Bad]:
    places = {
        "x": lambda v: {"data": (v, Y)},
        "y": lambda v: {"data": (X, v)},
        "x_eval": lambda v: {"x_eval": v},
    }
    for name, put in places.items():
        good = Y if name == "y" else X
        wrong = not_arrays()
        if name == "x_eval":
            del wrong["None"]
        yield from cases("wrong type", name, wrong, put)
        yield from cases("wrong dtype", name, of_wrong_dtype(good), put)
        yield from cases("missing or not finite", name, with_missing(good), put)
        yield from cases("ragged", name, ragged(good), put)
        one = {"generator": (row for row in good), "iterator": iter(good), "map": map(abs, good)}
        yield from cases("wrong type", name, one, put)
        empty = {
            "list": [],
            "no rows": good[:0],
            "no columns": np.zeros((N, 0)),
            "0": np.zeros((0, 0)),
        }
        yield from cases("empty", name, empty, put)
    shapes = {"number": 3.0, "0-d": np.array(1.0), "fewer": X[:4], "more": np.ones((6, 2))}
    yield from cases("wrong shape", "x", shapes, places["x"])
    shapes = {
        "number": 3.0,
        "0-d": np.array(1.0),
        "fewer": Y[:4],
        "row": Y[None],
        "3-d": Y[:, None, None],
    }
    yield from cases("wrong shape", "y", shapes, places["y"])
    shapes = {
        "number": 3.0,
        "one column": X[:, :1],
        "row": X[0],
        "3-d": X[None],
        "wide": np.ones((5, 3)),
    }
    yield from cases("wrong shape", "x_eval", shapes, places["x_eval"])
    pairs = dict(
        neither(), **{"None": None, "text": "xy", "array": X, "one": (X,), "three": (X, Y, Y)}
    )
    yield from cases("wrong type", "data", {k: v for k, v in pairs.items() if k != "tuple"})
    single = X.astype(np.float32)
    yield from cases("out of range", "y", {"float32": Y * 1e300}, lambda v: {"data": (single, v)})
    far = {"float32": X * 1e300}
    yield from cases("out of range", "x_eval", far, lambda v: {"data": (single, Y), "x_eval": v})


def targets() -> Iterator[Bad]:
    """Targets that the likelihood cannot have."""
    labels = {
        "halves": LABELS + 0.5,
        "one-hot": np.eye(2)[LABELS],
        "one class": np.zeros(N, int),
        "mixed": np.array([0, "a", 1, "b", 1], dtype=object),
        "NaN": np.where(LABELS == 0, np.nan, 1.0),
        "infinity": np.where(LABELS == 0, np.inf, 1.0),
        "None": np.array([None, "a", "b", "a", "b"], dtype=object),
        "complex": LABELS + 0j,
        "lists": np.array([[0], [1], None, [0], [1]], dtype=object),
        "fewer": LABELS[:4],
        "number": 1,
        "empty": LABELS[:0],
        "datetimes": np.array(["2026-01-01"] * N, "datetime64[D]"),
        "bytes that are no text": np.array([b"\xff", b"a", b"b", b"a", b"b"]),
        "text": "abcab",
    }
    for family in (Categorical, Bernoulli):
        label = {f"{family.__name__}, {k}": v for k, v in labels.items()}
        if family is Bernoulli:
            label |= {"Bernoulli, three classes": np.array([0, 1, 2, 1, 0])}
            label |= {"Bernoulli, columns of 2": np.full((N, 2), 2.0)}
            label.pop("Bernoulli, one-hot")
            label.pop("Bernoulli, one class")
        yield from cases(
            "targets and likelihood", "y", label,
            lambda v, family=family: {"data": (X, v), "likelihood": family()},
        )  # fmt: skip
    outside = {
        "ints": ((0, 2), LABELS), "text": (("a", "b"), np.array(list("abcab"))),
        "ints for text": (("a", "b"), LABELS), "text for ints": ((0, 1), np.array(list("ababa"))),
    }  # fmt: skip
    for family in (Categorical, Bernoulli):
        yield from cases(
            "targets and likelihood", "y",
            {f"{family.__name__}, outside, {k}": v for k, v in outside.items()},
            lambda v, family=family: {"data": (X, v[1]), "likelihood": family(v[0])},
        )  # fmt: skip
    bad_counts = {
        "negative": np.array([0, 1, -1, 2, 3]), "halves": np.array([0.5, 1, 2, 3, 4]),
        "NaN": np.array([np.nan, 1, 2, 3, 4]), "text": np.array(list("01234")),
    }  # fmt: skip
    yield from cases(
        "targets and likelihood", "y", {f"Poisson, {k}": v for k, v in bad_counts.items()},
        lambda v: {"data": (X, v), "likelihood": Poisson()},
    )  # fmt: skip
    flat = {"vectors": X, "no axes": X[:, 0], "5-d": IMAGES[..., None]}
    yield from cases(
        "model and data", "x", {f"cnn, {k}": v for k, v in flat.items()},
        lambda v: {"data": (v, Y), "model": cnn(1)},
    )  # fmt: skip


def every() -> list[Bad]:
    """The whole catalogue; with those of ``hostile_parts``."""
    from hostile_parts import parts, starts

    groups = (counts, names, devices, numbers, widths, options, data, targets, parts, starts)
    return [bad for group in groups for bad in group()]


def table(bads: list[Bad]) -> str:
    """How many bad inputs there are of each kind and argument."""
    by_kind = collections.Counter(bad.kind for bad in bads)
    by_argument = collections.Counter(bad.argument for bad in bads)
    lines = [f"{len(bads)} bad inputs", "", "by kind:"]
    lines += [f"  {count:5d}  {kind}" for kind, count in by_kind.most_common()]
    lines += ["by argument:"]
    lines += [f"  {count:5d}  {argument}" for argument, count in by_argument.most_common()]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(every()))
