"""Bad models, likelihoods and starts, for the catalogue of hostile inputs."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from hostile_inputs import Bad, cases
from hostile_values import (
    IMAGES,
    LABELS,
    NOT_FINITE,
    N,
    X,
    Y,
    neither,
    not_ints,
    not_names,
    not_numbers,
    of_wrong_dtype,
)

from bnnsample.likelihoods import (
    Bernoulli,
    Categorical,
    Gaussian,
    Laplace,
    Poisson,
    StudentT,
    from_log_prob,
    from_numpyro,
)
from bnnsample.models import cnn, from_functions, from_layers, mlp, resnet


def parts() -> Iterator[Bad]:
    for group in (models, own_models, likelihoods, own_likelihoods, combinations):
        yield from group()


def models() -> Iterator[Bad]:
    wrong = {**neither(), "None": None, "text": "mlp", "factory": mlp, "int": 3}
    yield from cases("wrong type", "model", wrong)
    wrong = {k: v for k, v in wrong.items() if k != "None"} | {"class": Gaussian, "number": 0.1}
    yield from cases("wrong type", "likelihood", wrong)
    for factory in (mlp, cnn, resnet):
        name = factory.__name__
        data = {} if factory is mlp else {"data": (IMAGES, Y)}

        def put(argument, factory=factory, data=data):
            return lambda value: {"model": factory(**{argument: value}), **data}

        ints = {f"{name}, {k}": v for k, v in not_ints().items()}
        yield from cases("model", "depth", ints, put("depth"))
        small = {f"{name}, {v}": v for v in (0, -1, -(2**40))}
        yield from cases("model", "depth", small, put("depth"))
        activations = {
            k: v for k, v in not_names(("gelu",)).items() if k not in ("function", "class")
        }
        labelled = {f"{name}, {k}": v for k, v in activations.items()}
        yield from cases("model", "activation", labelled, put("activation"))
        scales = {k: v for k, v in not_numbers().items() if k not in ("list", "tuple")} | NOT_FINITE
        scales |= {"-1": -1.0, "None": None, "normal prior": dist.Normal(0.0, 1.0)}
        scales |= {"prior of two": dist.HalfNormal(np.ones(2)), "counts": dist.Poisson(1.0)}
        for scale in ("weight_std", "bias_std", "readout_weight_std", "readout_bias_std"):
            more = {} if "bias" in scale else {"0": 0.0}
            more |= {"one too many": [1.0] * 5, "list of text": ["a"] * 5}
            labelled = {f"{name}, {k}": v for k, v in (scales | more).items()}
            yield from cases("model", scale, labelled, put(scale))
    wrong = {
        "0": 0,
        "-1": -1,
        "NaN": np.nan,
        "text": "3",
        "None": None,
        "empty": (),
        "0, 3": (0, 3),
    }
    wrong |= {"float": (3.0, 3.0), "four axes": (3,) * 4, "too large": (9, 9)}
    for argument in ("window", "strides"):
        usable = {k: v for k, v in wrong.items() if (argument, k) != ("strides", "too large")}
        yield from cases(
            "model", argument, {f"cnn, {k}": v for k, v in usable.items()},
            lambda v, a=argument: {
                "model": cnn(1, padding="VALID", **{a: v}), "data": (IMAGES, Y)
            },
        )  # fmt: skip
    for argument, allowed in (("padding", ("SAME",)), ("pooling", ("flatten",))):
        values = not_names(allowed)
        yield from cases(
            "model", argument, {f"cnn, {k}": v for k, v in values.items()},
            lambda v, a=argument: {"model": cnn(1, **{a: v}), "data": (IMAGES, Y)},
        )  # fmt: skip
    layers = {**neither(), "text": "Dense"}
    del layers["function"], layers["class"]
    yield from cases("model", "network", layers, lambda v: {"model": from_layers(v)})


def _dense(key, x, width):
    return {"w": jax.random.normal(key, (x.shape[1], width), x.dtype)}


def _product(h, x):
    return x @ h["w"]


def _fails(*_):
    raise RuntimeError("out of cheese")


def own_models() -> Iterator[Bad]:
    """Functions of the user's own that return, or raise, what a run cannot use."""
    features = {
        "a vector": lambda h, x: x[:, 0],
        "transposed": lambda h, x: (x @ h["w"]).T,
        "fewer rows": lambda h, x: (x @ h["w"])[:-1],
        "one row": lambda h, x: (x @ h["w"])[:1],
        "3-d": lambda h, x: (x @ h["w"])[..., None],
        "no columns": lambda h, x: (x @ h["w"])[:, :0],
        "number": lambda h, x: jnp.sum(x),
        "tuple": lambda h, x: (x, x),
        "dict": lambda h, x: {"f": x},
        "None": lambda h, x: None,
        "text": lambda h, x: "features",
        "float32": lambda h, x: (x @ h["w"]).astype(jnp.float32),
        "ints": lambda h, x: (x @ h["w"]).astype(int),
        "complex": lambda h, x: (x @ h["w"]).astype(complex),
        "booleans": lambda h, x: x @ h["w"] > 0,
        "shapes that do not match": lambda h, x: x @ h["w"].T,
        "ranks that do not match": lambda h, x: x @ h["w"] + jnp.ones(3, x.dtype),
        "missing parameter": lambda h, x: x @ h["v"],
        "NumPy on traced arrays": lambda h, x: np.asarray(x) @ np.asarray(h["w"]),
        "a branch on values": lambda h, x: x if h["w"].sum() > 0 else -x,
        "one argument": lambda h: h,
        "three arguments": lambda h, x, k: x,
        "an error of its own": _fails,
    }
    yield from cases(
        "model of the user's own", "features", features,
        lambda v: {"model": from_functions(_dense, v)},
    )  # fmt: skip
    init = {
        "ints": lambda k, x, w: {"w": jnp.ones((2, w), int)},
        "booleans": lambda k, x, w: {"w": jnp.ones((2, w), bool)},
        "float32": lambda k, x, w: {"w": jnp.ones((2, w), jnp.float32)},
        "float16": lambda k, x, w: {"w": jnp.ones((2, w), jnp.float16)},
        "complex": lambda k, x, w: {"w": jnp.ones((2, w), complex)},
        "empty": lambda k, x, w: {"w": jnp.ones((2, 0), x.dtype)},
        "text": lambda k, x, w: {"w": "weights"},
        "function": lambda k, x, w: {"w": print},
        "NumPy on traced arrays": lambda k, x, w: {"w": np.asarray(k)},
        "one argument": lambda k: {"w": jnp.ones(2)},
        "an error of its own": _fails,
        "shapes that do not match": lambda k, x, w: {"w": x @ x},
    }
    yield from cases(
        "model of the user's own", "init", init, lambda v: {"model": from_functions(v, _product)}
    )
    wrong = {k: v for k, v in neither().items() if k not in ("function", "class")}
    wrong = {f"from_functions, {k}": v for k, v in wrong.items()}
    yield from cases("wrong type", "init", wrong, lambda v: {"model": from_functions(v, _product)})
    yield from cases(
        "wrong type", "features", wrong, lambda v: {"model": from_functions(_dense, v)}
    )


def likelihoods() -> Iterator[Bad]:
    usable = ("list", "tuple", "array of two", "JAX array of two", "series")
    for family, per_point in ((Gaussian, True), (Laplace, False), (StudentT, False)):
        wrong = {k: v for k, v in not_numbers().items() if not (per_point and k in usable)}
        wrong |= {**NOT_FINITE, "0": 0.0, "-1": -1, "with 0": [0.1, 0.0], "empty": []}
        wrong |= {"normal prior": dist.Normal(0.0, 1.0), "counts": dist.Poisson(1.0)}
        wrong |= {"prior of two": dist.HalfNormal(np.ones(2)), "matrix": np.ones((N, 1))}
        if not per_point:
            wrong |= {"empirical Bayes": "empirical-bayes", "per point": np.ones(N)}
        labelled = {f"{family.__name__}, {k}": v for k, v in wrong.items()}
        yield from cases(
            "likelihood", "scale", labelled, lambda v, f=family: {"likelihood": f(scale=v)}
        )
    lengths = {"one": [0.1], "fewer": np.ones(4), "more": np.ones(6)}
    yield from cases(
        "likelihood", "scale", {f"Gaussian, {k} entries": v for k, v in lengths.items()},
        lambda v: {"likelihood": Gaussian(v)},
    )  # fmt: skip
    wrong = {**not_numbers(), **NOT_FINITE, "0": 0, "-1": -1.0, "None": None}
    yield from cases("likelihood", "df", wrong, lambda v: {"likelihood": StudentT(v)})
    classes = {k: v for k, v in neither().items() if k not in ("tuple", "dict")}
    for usable in ("array of two", "JAX array of two", "series", "generator"):
        classes.pop(usable)
    classes |= {"text": "ab", "number": 2, "one": ["a"], "twice": ["a", "a"], "mixed": ["a", 1]}
    classes |= {"NaN": [0, np.nan], "halves": [0.5, 1.5], "None inside": [None, "a"]}
    for family in (Categorical, Bernoulli):
        labelled = {f"{family.__name__}, {k}": v for k, v in classes.items()}
        yield from cases(
            "likelihood", "classes", labelled,
            lambda v, f=family: {"likelihood": f(v), "data": (X, LABELS)},
        )  # fmt: skip


def own_likelihoods() -> Iterator[Bad]:
    returned = {
        "number": lambda y, f: jnp.sum(f),
        "matrix": lambda y, f: f,
        "fewer": lambda y, f: f[:-1, 0],
        "None": lambda y, f: None,
        "ints": lambda y, f: jnp.zeros(len(f), int),
        "complex": lambda y, f: f[:, 0].astype(complex),
        "shapes that do not match": lambda y, f: jnp.sum(f @ y, axis=1),
        "one argument": lambda y: y,
        "an error of its own": _fails,
        "NumPy on traced arrays": lambda y, f: np.asarray(f)[:, 0],
    }
    yield from cases("likelihood", "log_prob", returned, lambda v: {"likelihood": from_log_prob(v)})
    wrong = {k: v for k, v in neither().items() if k not in ("function", "class")}
    yield from cases("wrong type", "log_prob", wrong, lambda v: {"likelihood": from_log_prob(v)})
    own = {
        "not a distribution": lambda f: f,
        "None": lambda f: None,
        "other shape": lambda f: dist.Normal(jnp.sum(f), 1.0),
        "at n points alone": lambda f: dist.Normal(f, jnp.ones((N, 1))),
        "two arguments": lambda f, g: dist.Normal(f + g, 1.0),
        "an error of its own": _fails,
    }
    yield from cases(
        "likelihood", "distribution", own,
        lambda v: {"likelihood": from_numpyro(v), "data": (X, -abs(Y))},
    )  # fmt: skip
    outputs = {**not_ints(), "0": 0, "-1": -1}
    del outputs["None"]
    yield from cases(
        "likelihood", "num_outputs", outputs,
        lambda v: {"likelihood": from_log_prob(lambda y, f: f[:, 0], num_outputs=v)},
    )  # fmt: skip
    priors = {"number": 1.0, "text": "HalfNormal", "normal": dist.Normal(0.0, 1.0)}
    priors |= {"of two": dist.HalfNormal(np.ones(2)), "None": None}
    yield from cases(
        "likelihood", "unknowns", priors,
        lambda v: {"likelihood": from_log_prob(lambda y, f, s: f[:, 0], unknowns={"s": v})},
    )  # fmt: skip


def combinations() -> Iterator[Bad]:
    """Arguments each of which is good, but not together."""
    binary = {"data": (X, LABELS), "likelihood": Bernoulli()}
    one = from_functions(lambda k, x, w: {}, lambda h, x: x)
    together = {
        "collapsed and Bernoulli": ("coordinates", {**binary, "coordinates": "collapsed"}),
        "collapsed and Poisson": (
            "coordinates",
            {"data": (X, LABELS), "likelihood": Poisson(), "coordinates": "collapsed"},
        ),
        "unitwise and standard": ("unitwise", {"kernel": "unitwise", "coordinates": "standard"}),
        "unitwise and Bernoulli": ("unitwise", {**binary, "kernel": "unitwise"}),
        "unitwise and no units": (
            "unitwise", {"kernel": "unitwise", "model": from_functions(_dense, _product)}
        ),
        "alternating and Gaussian": ("alternating", {"kernel": "alternating"}),
        "alternating and standard": (
            "alternating", {**binary, "kernel": "alternating", "coordinates": "standard"}
        ),
        "importance and standard": (
            "importance", {"kernel": "importance", "coordinates": "standard"}
        ),
        "importance and thin": ("thin", {"kernel": "importance", "num_warmup": 50, "thin": 2}),
        "importance and too few": ("num_warmup", {"kernel": "importance", "num_warmup": 3}),
        "importance and init": (
            "init", {"kernel": "importance", "num_warmup": 50, "init": start(2)}
        ),
        "empirical Bayes and Bernoulli": (
            "weight_std", {**binary, "model": mlp(weight_std="empirical-bayes")}
        ),
        "cold and half-normal noise": ("temperature", {"temperature": 0.5, "width": 64}),
        "one name twice": (
            "noise_scale",
            {"model": from_functions(lambda k, x, w: {}, lambda h, x, noise_scale: x,
                                     scales={"noise_scale": dist.HalfNormal(1.0)})},
        ),
        "a reserved name": (
            "f",
            {"model": from_functions(lambda k, x, w: {}, lambda h, x, f: x,
                                     scales={"f": dist.HalfNormal(1.0)})},
        ),
        "keep='all' beyond memory": ("keep", {"keep": "all", "num_samples": 10**9}),
        "draws beyond memory": ("num_samples", {"num_samples": 10**9}),
        "chains beyond memory": ("num_chains", {"num_chains": 2**31 - 1}),
        "empirical Bayes and keep": (
            "keep", {"likelihood": Gaussian("empirical-bayes"), "keep": "most"}
        ),
        "empirical Bayes and init": (
            "init", {"likelihood": Gaussian("empirical-bayes"), "init": 3}
        ),
        "minibatches": ("kernel_options", {"kernel_options": {"batch_size": 2}}),
    }  # fmt: skip
    for kernel in ("hmc", "nuts", "ghmc", "mala", "mclmc", "adjusted_mclmc"):
        alone = {"model": one, "likelihood": Gaussian(0.1), "kernel": kernel}
        together[f"{kernel} and nothing to move"] = (kernel, alone)
    for label, (argument, given) in together.items():
        yield Bad("do not go together", argument, label, lambda given=given: given)


def start(chains=None, **changes):
    """A good start of ``GOOD``'s network, for one chain or with an axis of them."""
    lead = () if chains is None else (chains,)
    layer = {"weight": np.zeros((*lead, 2, 4)), "bias": np.zeros((*lead, 4))}
    return {"hidden": [layer], "readout": np.zeros((*lead, 5, 1)), **changes}


def starts() -> Iterator[Bad]:
    """Starts of chains."""
    wrong = {k: v for k, v in neither().items() if k not in ("dict",)}
    yield from cases(
        "wrong type", "init", {**wrong, "text": "zero", "int": 3, "array": np.zeros(2)}
    )
    structure = {
        "empty dict": {},
        "no chain axis": start(),
        "three chains": start(3),
        "no readout": {"hidden": start(2)["hidden"]},
        "no hidden": {"readout": start(2)["readout"]},
        "surplus": start(2, noise=np.ones(2)),
        "one start": [start()],
        "three starts": [start()] * 3,
        "a start is a number": [start(), 3],
        "a start is None": [start(), None],
        "a start is a list": [start(), [1.0]],
        "hidden empty": [start(), start(hidden=[])],
        "hidden None": [start(), start(hidden=None)],
        "hidden a dict": [start(), start(hidden={"0": start()["hidden"][0]})],
        "two layers": [start(), start(hidden=start()["hidden"] * 2)],
        "starts that differ": [start(), {"hidden": {}, "unknowns": {}}],
        "unknowns a number": [{"hidden": start()["hidden"], "unknowns": 3}] * 2,
        "unknowns empty": [{"hidden": start()["hidden"], "unknowns": {}}] * 2,
        "unknown of another name": [{"hidden": start()["hidden"], "unknowns": {"s": 0.0}}] * 2,
        "surplus in a position": [
            {"hidden": start()["hidden"], "unknowns": {"noise_scale": 0.0}, "more": 1.0}
        ] * 2,
        "keys that are no names": [start(), {**start(), 3: 1.0}],
        "no keys that are names": [start(), {1: 1.0, 2: 2.0}],
    }  # fmt: skip
    yield from cases("wrong structure", "init", structure)
    readouts = {
        **{k: v for k, v in of_wrong_dtype(np.zeros((5, 1))).items() if "frame" not in k},
        "text": "zero", "None": None, "object": object(), "function": print,
        "NaN": np.full((5, 1), np.nan), "infinity": np.full((5, 1), np.inf),
        "too short": np.zeros((4, 1)), "too long": np.zeros((6, 1)), "vector": np.zeros(5),
        "two outputs": np.zeros((5, 2)), "number": 0.0, "3-d": np.zeros((5, 1, 1)),
        "lists": [[0.0]] * 5, "empty": np.zeros((0, 1)),
        "too large": np.full((5, 1), 10**400, object),
    }  # fmt: skip
    readouts.pop("categories")
    yield from cases(
        "start, readout", "init", readouts, lambda v: {"init": [start(), start(readout=v)]}
    )
    biases = {"NaN": np.full(4, np.nan), "too short": np.zeros(3), "text": ["a"] * 4, "None": None}
    biases |= {"number": 0.0, "infinity": np.full(4, -np.inf), "complex": np.zeros(4, complex)}

    def with_bias(value):
        layer = {**start()["hidden"][0], "bias": value}
        return {"init": [start(), start(hidden=[layer])]}

    yield from cases("start, hidden", "init", biases, with_bias)
    scales = {"-1": -1.0, "0": 0.0, **NOT_FINITE, "two": [0.1, 0.2], "text": "0.1", "None": None}
    scales |= {"array": np.ones(2), "complex": 1j, "object": object(), "huge": 10**400}
    yield from cases(
        "start, unknown", "init", scales, lambda v: {"init": [start(), start(noise_scale=v)]}
    )
    coordinate = {"NaN": np.nan, "infinity": np.inf, "text": "0", "vector": np.zeros(2)}
    yield from cases(
        "start, unknown", "init", {f"coordinate, {k}": v for k, v in coordinate.items()},
        lambda v: {"init": [{"hidden": start()["hidden"], "unknowns": {"noise_scale": v}}] * 2},
    )  # fmt: skip
