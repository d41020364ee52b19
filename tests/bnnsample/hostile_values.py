"""Values that cannot be meant, by what is wrong with them, for the catalogue of hostile inputs."""

import datetime
import decimal
import fractions

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import scipy.sparse

N = 5
X = np.random.default_rng(0).normal(size=(N, 2))
Y = X[:, 0] - 0.5 * X[:, 1]
LABELS = np.array([0, 1, 0, 1, 1])
IMAGES = np.random.default_rng(1).normal(size=(N, 4, 4, 1))


def changed(array, index, value):
    """A copy with one entry replaced."""
    array = np.array(array)
    array[index] = value
    return array


class Raises:
    """Whatever is done with it fails."""

    def _fail(self, *_):
        raise RuntimeError("do not touch")

    __repr__ = __str__ = __float__ = __int__ = __index__ = __array__ = __len__ = __iter__ = _fail
    __eq__ = __bool__ = __hash__ = __getitem__ = __lt__ = to_numpy = _fail


# Nothing that a count, a number, a name or a flag could be; fresh ones, for some are used up.
def neither():
    return {
        "bytes": b"1",
        "list": [2],
        "empty list": [],
        "tuple": (1, 2),
        "dict": {"a": 1},
        "set": {1},
        "object": object(),
        "function": print,
        "class": int,
        "complex": 2 + 1j,
        "array of two": np.ones(2),
        "array of objects": np.array([None, object()], dtype=object),
        "JAX array of two": jnp.ones(2),
        "datetime": datetime.datetime(2026, 1, 1),
        "datetime64": np.datetime64("2026-01-01"),
        "timedelta64": np.timedelta64(1, "s"),
        "generator": (i for i in range(2)),
        "random key": jax.random.key(0),
        "pandas NA": pd.NA,
        "pandas NaT": pd.NaT,
        "series": pd.Series([1, 2]),
        "sparse": scipy.sparse.csr_matrix(np.eye(2)),
        "slice": slice(2),
        "ellipsis": ...,
        "object that raises": Raises(),
    }


def not_ints():
    """Beside those, numbers that are no ints, and text."""
    return {
        **neither(),
        "None": None,
        "text": "2",
        "empty text": "",
        "float": 2.0,
        "NaN": np.nan,
        "infinity": np.inf,
        "NumPy float": np.float64(2),
        "True": True,
        "NumPy True": np.bool_(True),
        "text of a number": np.str_("2"),
        "array of text": np.array("2"),
        "decimal": decimal.Decimal(2),
        "fraction": fractions.Fraction(2),
    }


def not_numbers():
    return {
        **neither(),
        "text": "0.1",
        "empty text": "",
        "True": True,
        "NumPy text": np.str_("0.1"),
        "array of text": np.array("0.1"),
    }


NOT_FINITE = {"NaN": np.nan, "infinity": np.inf, "minus infinity": -np.inf}


def not_names(allowed):
    """No name of those ``allowed``, near misses among them."""
    some = allowed[0]
    return {
        **neither(),
        "number": 1,
        "float": 0.5,
        "NaN": np.nan,
        "True": True,
        "empty text": "",
        "unknown name": "no such thing",
        "upper case": some.swapcase(),
        "with a space": some + " ",
        "two names": ", ".join([some, some]),
        "name in bytes": some.encode(),
        "name in a list": [some],
        "name in an array": np.array([some, some]),
        "NUL": some + "\0",
    }


def not_arrays():
    """Nothing that data could be made of, whatever its shape."""
    return {
        "None": None,
        "text": "data",
        "bytes": b"data",
        "object": object(),
        "function": print,
        "dict": {"a": X},
        "set": {1.0, 2.0},
        "datetime": datetime.datetime(2026, 1, 1),
        "sparse": scipy.sparse.csr_matrix(X),
        "sparse, by columns": scipy.sparse.csc_array(X),
        "ellipsis": ...,
        "object that raises": Raises(),
    }


def of_wrong_dtype(array):
    """``array`` in dtypes that are neither floating point nor whole numbers."""
    array = np.asarray(array)
    moments = pd.date_range("2026-01-01", periods=len(array)).to_numpy()
    moments = np.broadcast_to(moments.reshape(-1, *[1] * (array.ndim - 1)), array.shape)
    return {
        "strings": array.astype(str),
        "bytes": array.astype("S8"),
        "strings as objects": array.astype(str).astype(object),
        "objects": np.array([object()] * array.size, dtype=object).reshape(array.shape),
        "complex": array.astype(complex),
        "complex64": array.astype(np.complex64),
        "complex in JAX": jnp.asarray(array.astype(complex)),
        "datetimes": moments,
        "timedeltas": moments - moments.min(),
        "records": np.zeros(array.shape, [("a", float), ("b", int)]),
        "void": np.zeros(array.shape, "V4"),
        "lists of text": array.astype(str).tolist(),
        "one text among numbers": changed(array.astype(object), (0,) * array.ndim, "1.0"),
        "one complex among numbers": changed(array.astype(object), (0,) * array.ndim, 1j),
        "one list among numbers": changed_object(array, [1.0, 2.0]),
        "frame of text": pd.DataFrame(array.reshape(len(array), -1).astype(str)),
        "categories": pd.Series(pd.Categorical(list("abcab")[: len(array)])),
        "keys": jax.random.split(jax.random.key(0), len(array)),
    }


def changed_object(array, value):
    result = np.asarray(array).astype(object)
    result[(0,) * result.ndim] = value
    return result


def with_missing(array):
    """``array`` with a value that is not there, as every library has it."""
    array = np.asarray(array, float)
    first = (0,) * array.ndim
    flat = array.reshape(len(array), -1)
    frame = pd.DataFrame(flat)
    nullable = frame.astype("Float64")
    nullable.iloc[1, 0] = pd.NA
    return {
        "NaN": changed(array, first, np.nan),
        "infinity": changed(array, first, np.inf),
        "minus infinity": changed(array, first, -np.inf),
        "all NaN": np.full_like(array, np.nan),
        "NaN in JAX": jnp.asarray(changed(array, first, np.nan)),
        "NaN in float32": changed(array, first, np.nan).astype(np.float32),
        "NaN in half precision": changed(array, first, np.nan).astype(np.float16),
        "NaN in bfloat16": jnp.asarray(changed(array, first, np.nan), jnp.bfloat16),
        "NaN in lists": changed(array, first, np.nan).tolist(),
        "None in an object array": changed(array.astype(object), first, None),
        "NaN in an object array": changed(array.astype(object), first, np.nan),
        "frame with NaN": pd.DataFrame(changed(flat, (1, 0), np.nan)),
        "nullable frame": nullable,
        "masked array": np.ma.masked_array(array, np.arange(array.size).reshape(array.shape) == 1),
        "masked, all": np.ma.masked_all(array.shape),
        "number too large": changed(array.astype(object), first, 10**400),
        "decimal NaN": changed(array.astype(object), first, decimal.Decimal("nan")),
    }


def ragged(array):
    """Rows of several lengths."""
    rows = np.asarray(array).reshape(len(array), -1).tolist()
    return {
        "one row longer": [[*rows[0], 1.0], *rows[1:]],
        "one row empty": [[], *rows[1:]],
        "one row a number": [1.0, *([r, r] for r in rows[1:])],
        "one row nested": [[rows[0]], *rows[1:]],
        "arrays of several lengths": [np.ones(i + 1) for i in range(len(rows))],
        "series of lists": pd.Series([[1.0], [1.0, 2.0], [3.0], [1.0], []][: len(rows)]),
    }
