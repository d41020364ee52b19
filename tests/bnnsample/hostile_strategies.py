"""Random good and bad arguments of ``run``, for hypothesis."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bnnsample.kernels._registry import KERNELS
from bnnsample.likelihoods import (
    Bernoulli,
    Categorical,
    Gaussian,
    HeteroscedasticGaussian,
    Laplace,
    Poisson,
    StudentT,
)
from bnnsample.models import cnn, from_functions, mlp

COUNT_NAMES = ("num_chains", "num_warmup", "num_samples", "thin")


def _targets(draw, likelihood, n, rng):
    """Targets that the likelihood can have."""
    if isinstance(likelihood, (Bernoulli, Categorical)):
        classes = 2 if isinstance(likelihood, Bernoulli) else draw(st.integers(2, 3))
        codes = np.arange(n) % classes
        return np.array(list("abc"))[codes] if draw(st.booleans()) else codes
    shape = (n,) if draw(st.booleans()) else (n, draw(st.integers(1, 2)))
    if isinstance(likelihood, Poisson):
        return rng.poisson(2.0, shape)
    return rng.normal(size=shape)


@st.composite
def good_calls(draw):
    """Arguments of a small run that can be meant."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(2, 6))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    images = draw(st.integers(0, 4)) == 0
    shape = (4, 4, 1) if images else draw(st.sampled_from([(), (1,), (3,), (2, 2)]))
    x = rng.normal(size=(n, *shape)).astype(dtype)
    depth = draw(st.integers(1, 2))
    activation = draw(st.sampled_from(["gelu", "relu", "tanh", "erf"]))
    bias = draw(st.sampled_from([0.0, 0.1]))
    model = (cnn if images else mlp)(depth, activation, readout_bias_std=bias)
    if not images and draw(st.integers(0, 4)) == 0:
        model = from_functions(lambda k, x, w: {}, lambda h, x: x.reshape(len(x), -1) + 1)
    likelihood = draw(
        st.sampled_from(
            [
                Gaussian(),
                Gaussian(0.3),
                Bernoulli(),
                Categorical(),
                Poisson(),
                Laplace(0.5),
                StudentT(),
                HeteroscedasticGaussian(),
            ]
        )
    )
    gaussian = likelihood.is_gaussian
    coordinates = ["auto", "standard", "repriorised"] + (["collapsed"] if gaussian else [])
    return {
        "model": model,
        "data": (x, _targets(draw, likelihood, n, rng)),
        "width": draw(st.integers(1, 6)),
        "likelihood": likelihood,
        "coordinates": draw(st.sampled_from(coordinates)),
        "num_chains": draw(st.integers(1, 2)),
        "num_warmup": draw(st.integers(0, 5)),
        "num_samples": draw(st.integers(1, 4)),
        "thin": draw(st.integers(1, 2)),
        "seed": draw(st.integers(0, 2**63 - 1)),
        "x_eval": draw(st.sampled_from([None, x[:1], np.concatenate([x, x])])),
        "keep": draw(st.sampled_from(["auto", "all", "none"])),
        "standardize": draw(st.booleans()),
        "temperature": draw(st.sampled_from([1.0, 2.0])),
        "tempering": draw(st.sampled_from(["posterior", "likelihood"])),
        "progress": False,
    }


def _not_ints():
    return st.one_of(
        st.none(), st.booleans(), st.floats(), st.text(), st.binary(), st.complex_numbers(),
        st.lists(st.integers()), st.dictionaries(st.text(), st.integers()), st.decimals(),
        st.fractions(), st.dates(), st.timedeltas(), st.functions(),
        hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_side=2)),
    )  # fmt: skip


def _outside(least):
    return st.one_of(st.integers(max_value=least - 1), st.integers(min_value=2**31))


def _not_names(*names):
    return st.one_of(_not_ints(), st.integers(), st.text().filter(lambda text: text not in names))


def _not_positive():
    bad = [0, -1, np.nan, np.inf, -np.inf]
    return st.one_of(
        st.sampled_from(bad), st.floats(max_value=0), st.text(), st.binary(), st.booleans(),
        st.complex_numbers(), st.lists(st.floats()), st.dates(),
    )  # fmt: skip


@st.composite
def _bad_arrays(draw, good):
    """An array in another dtype, with a hole, of another length, or none at all."""
    good = np.asarray(good)
    kind = draw(st.sampled_from(["hole", "dtype", "length", "shape", "value"]))
    if kind == "hole":
        bad = good.astype(object if good.dtype.kind in "US" else float)
        at = draw(st.integers(0, bad.size - 1))
        bad.flat[at] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
        return bad
    if kind == "dtype":
        dtypes = st.one_of(
            hnp.complex_number_dtypes(), hnp.datetime64_dtypes(), hnp.timedelta64_dtypes()
        )
        return np.zeros(good.shape, draw(dtypes))
    if kind == "length":
        return np.concatenate([good, good[: draw(st.integers(1, len(good)))]])
    if kind == "shape":
        return draw(
            st.sampled_from([good[:0], good[..., None, None, None, :0], 1.5, np.array(2.0)])
        )
    return draw(st.one_of(st.none(), st.text(), st.binary(), st.dates(), st.functions()))


@st.composite
def bad_calls(draw, num_bad=1):
    """Arguments of which ``num_bad`` cannot be meant, and the names of these."""
    call = draw(good_calls())
    x, y = call["data"]
    kernels = [k for k in KERNELS if KERNELS[k].defaults]
    # The functions here are of one width whatever they are told.
    no_width = (list, type(None)) if call["model"].name == "functions" else list
    bad = {
        **{name: _not_ints() | _outside(0 if name == "num_warmup" else 1) for name in COUNT_NAMES},
        "seed": _not_ints() | st.integers(max_value=-1) | st.integers(min_value=2**63),
        "width": _not_ints().filter(lambda v: not isinstance(v, no_width)) | _outside(1),
        "coordinates": _not_names("auto", "standard", "repriorised", "collapsed"),
        "kernel": _not_names("auto", *KERNELS),
        "keep": _not_names("auto", "all", "none"),
        "tempering": _not_names("posterior", "likelihood"),
        "temperature": _not_positive(),
        "standardize": _not_ints().filter(lambda v: not isinstance(v, bool)) | st.integers(),
        "progress": _not_ints().filter(lambda v: v is not None and not isinstance(v, bool)),
        "model": _not_ints(),
        "likelihood": _not_ints().filter(lambda v: v is not None),
        "init": _not_ints().filter(lambda v: v is not None),
        "x": _bad_arrays(x),
        "y": _bad_arrays(y),
        "x_eval": _bad_arrays(x[:1]).filter(lambda v: v is not None and np.shape(v)[:1] != (2,)),
        "kernel_options": st.dictionaries(st.text(), st.integers(), min_size=1),
        "step_size": _not_positive(),
    }  # fmt: skip
    names = draw(
        st.lists(
            st.sampled_from(sorted(bad)), min_size=num_bad, max_size=num_bad, unique=True
        ).filter(lambda names: not {"x", "y"} <= {*names})  # both longer are data
    )
    for name in names:
        value = draw(bad[name])
        if name in ("x", "y"):
            call["data"] = (value, call["data"][1]) if name == "x" else (call["data"][0], value)
        elif name == "step_size":
            stepping = [k for k in kernels if "step_size" in KERNELS[k].defaults]
            call["kernel"] = draw(st.sampled_from(stepping))
            call["kernel_options"] = {"step_size": value}
        else:
            call[name] = value
    return call, names
