"""Results on disk: exact round trips, and refusal of everything that is not a whole result."""

import dataclasses
import json
import shutil
from typing import NamedTuple

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
import xarray as xr
from test_results_record import fixed_features, make_record

import bnnsample
from bnnsample._scale import PRIORS
from bnnsample.likelihoods import Gaussian
from bnnsample.models import from_functions, mlp
from bnnsample.results import Result, load
from bnnsample.results._pytree import assemble, describe, leaf_paths, leaves_by_path
from bnnsample.results._rebuild import rebuild_likelihood

NOT_COMPARED = ("posterior", "standardizer", "kept", "settings")


def assert_same_tree(first, second):
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        assert_same_bits(a, b)


def assert_same_bits(a, b):
    a, b = np.asarray(a), np.asarray(b)
    assert (a.dtype, a.shape) == (b.dtype, b.shape)
    assert a.tobytes() == b.tobytes()


def assert_same_record(a, b):
    for field in dataclasses.fields(a):
        if field.name not in NOT_COMPARED:
            one, other = getattr(a, field.name), getattr(b, field.name)
            assert_same_tree(one, other)
            assert type(one) is type(other) or not np.isscalar(one), field.name
    assert list(a.draws) == list(b.draws)
    assert_same_tree(vars(a.standardizer), vars(b.standardizer))
    assert_same_tree(vars(a.kept), vars(b.kept))


def assert_same_group(a, b):
    assert dict(a.attrs) == dict(b.attrs)
    assert list(a.variables) == list(b.variables)
    for name in a.variables:
        assert a[name].dims == b[name].dims
        assert dict(a[name].attrs) == dict(b[name].attrs)
        assert_same_bits(a[name].values, b[name].values)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A stored result, to be copied."""
    path = tmp_path_factory.mktemp("saved") / "run"
    Result(make_record()).save(path)
    return path


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_round_trip_is_exact(tmp_path, dtype, standardize):
    record = make_record(dtype=dtype, standardize=standardize, vector=True)
    record.draws["f"].flat[:4] = np.nan, np.inf, -np.inf, -0.0
    result = Result(record)
    result.save(tmp_path / "run.zarr")
    loaded = load(tmp_path / "run.zarr")
    assert_same_record(record, loaded._record)
    x = np.linspace(0, 1, 12).reshape(4, 3)
    assert_same_tree(result.predict(x, True), loaded.predict(x, True))
    assert_same_tree(result.parameters(1, 9), loaded.parameters(1, 9))
    for group in ("posterior", "log_likelihood", "prior", "constant_data"):
        assert_same_group(result.idata[group], loaded.idata[group])
    assert loaded.settings["kernel_options"] == {"kick_scale": 1}
    assert result.report() == loaded.report()


def test_numpy_scalars_and_flags_survive(tmp_path):
    record = make_record(num_gradients=np.int64(7), interrupted=np.bool_(True))
    record.adapted["step_size"] = np.float32(0.1)
    Result(record).save(tmp_path / "run")
    loaded = load(tmp_path / "run")
    assert (loaded.num_gradients, loaded._record.interrupted) == (7, True)
    assert loaded.adapted["step_size"] == float(np.float32(0.1))


def test_nothing_kept_and_no_moments(tmp_path):
    Result(make_record(keep_every=0, moments=None)).save(tmp_path / "run")
    record = load(tmp_path / "run")._record
    assert record.kept is None
    assert record.moments is None


def test_float64_survives_without_64_bit_mode(saved):
    x = np.ones((2, 3))
    expected = Result(make_record()).predict(x)
    with jax.enable_x64(False):
        loaded = load(saved)
        assert_same_tree(expected, loaded.predict(x))
        assert loaded.parameters(0, 9)["readout"].dtype == np.float64


def test_xarray_reads_it(saved):
    record = make_record()
    with xr.open_datatree(saved, engine="zarr") as tree:
        assert tree["posterior"]["f"].dims == ("chain", "draw", "eval_point", "output")
        weight = tree["parameters/hidden/0"]["weight"]
        assert weight.dims[:2] == ("chain", "kept_draw")
        assert_same_bits(weight.values, record.kept.parameters["hidden"][0]["weight"])
        assert_same_bits(
            tree["moments/variance"]["readout"].values, record.moments["variance"]["readout"]
        )


class Layer(NamedTuple):
    w: jax.Array
    b: jax.Array


def _module_model():
    def init(key, x, width):
        w = jax.random.normal(key, (x.shape[1], width), x.dtype)
        return {"net": (Layer(w, w[0, :2]), None), "odd/ name": [w[0, 0]], "chain": w[0]}

    return from_functions(init, lambda h, x: np.tanh(1) * (x @ h["net"][0].w) * h["odd/ name"][0])


def test_a_model_of_the_users_own_is_passed_again(tmp_path):
    model = _module_model()
    result = Result(make_record(model=model))
    result.save(tmp_path / "run")
    alone = load(tmp_path / "run")
    with pytest.raises(ValueError, match="model="):
        alone.predict(np.ones((2, 3)))
    plain = alone.parameters(0, 9)["hidden"]["net"][0]
    assert_same_bits(plain["b"], result.parameters(0, 9)["hidden"]["net"][0].b)
    assert alone.report() == result.report()
    alone.save(tmp_path / "again")
    loaded = load(tmp_path / "again", model=model)
    assert_same_record(result._record, loaded._record)
    assert_same_tree(result.predict(np.ones((2, 3))), loaded.predict(np.ones((2, 3))))


def test_a_model_that_does_not_fit_is_refused(saved):
    with pytest.raises(ValueError, match=r"run cannot be loaded: the model does not fit"):
        load(saved, model=mlp(2))


def test_an_empty_hidden_tree_survives(tmp_path):
    model = fixed_features()
    Result(make_record(model=model, likelihood=Gaussian(0.5))).save(tmp_path / "run")
    assert load(tmp_path / "run").parameters(0, 9)["hidden"] == {}
    assert load(tmp_path / "run", model=model).predict(np.ones((2, 3))).mean.shape == (2, 2)


@pytest.mark.parametrize(
    "tree",
    [
        {"b": np.ones(2), "a": [np.zeros(()), (np.ones(1), None)], "c": {}},
        [],
        np.ones(3),
        {1: np.ones(1), 2: np.ones(2)},
        {"A": np.ones(1), "a": np.ones(2), "x y": np.ones(3), "x/y": np.ones(4)},
    ],
)
def test_pytrees_come_back(tree):
    structure = json.loads(json.dumps(describe(tree, "root")))
    paths = leaf_paths(structure)
    assert len({path.lower() for path in paths}) == len(paths)
    assert_same_tree(tree, assemble(structure, leaves_by_path(tree, structure), None))


@pytest.mark.parametrize("name", sorted(PRIORS))
def test_known_priors_are_rebuilt_by_name(name):
    family = PRIORS[name]
    arguments = {argument: i + 1.5 for i, argument in enumerate(family.arg_constraints)}
    described = Gaussian(family(**arguments)).describe()
    rebuilt = rebuild_likelihood(json.loads(json.dumps(described)))
    assert rebuilt.describe() == described


@pytest.mark.parametrize("scale", [0.25, [0.5, 1.0, 2.0]])
def test_known_scales_are_rebuilt(scale):
    assert rebuild_likelihood(Gaussian(scale).describe()).describe()["scale"] == scale


def test_an_unknown_prior_is_passed_again(tmp_path):
    likelihood = Gaussian(dist.TruncatedNormal(1.0, 1.0, low=0.0))
    Result(make_record(likelihood=likelihood)).save(tmp_path / "run")
    x = np.ones((2, 3))
    with pytest.raises(ValueError, match="likelihood"):
        load(tmp_path / "run").predict(x)
    assert load(tmp_path / "run", likelihood=likelihood).predict(x).mean.shape == (2, 2)


def test_an_existing_path_is_refused(tmp_path, saved):
    second = Result(make_record(num_gradients=11))
    shutil.copytree(saved, tmp_path / "run")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        second.save(tmp_path / "run")
    second.save(tmp_path / "run", overwrite=True)
    assert load(tmp_path / "run").num_gradients == 11
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("make", [lambda p: p.mkdir(), lambda p: p.write_text("keep me")])
def test_only_results_are_overwritten(tmp_path, make):
    make(tmp_path / "mine")
    with pytest.raises(FileExistsError, match="not a bnnsample result"):
        Result(make_record()).save(tmp_path / "mine", overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_a_failed_save_leaves_the_old_result_and_nothing_else(tmp_path, saved, monkeypatch):
    shutil.copytree(saved, tmp_path / "run")
    written = xr.DataTree.to_zarr

    def fail(tree, path, **options):
        written(tree, path, **options)
        raise OSError("disk full")

    monkeypatch.setattr(xr.DataTree, "to_zarr", fail)
    for name in ("run", "new"):
        with pytest.raises(OSError, match="disk full"):
            Result(make_record()).save(tmp_path / name, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    assert load(tmp_path / "run").num_gradients == 320


DAMAGE = {
    "chunk gone": lambda p: shutil.rmtree(p / "posterior/f/c"),
    "chunk of other values": lambda p: shutil.copy(
        p / "posterior/f/c/0/0/0/0", p / "posterior/f_mean/c/0/0/0/0"
    ),
    "array gone": lambda p: shutil.rmtree(p / "parameters/readout"),
    "group gone": lambda p: shutil.rmtree(p / "moments"),
    "chunk cut": lambda p: (p / "posterior/f/c/0/0/0/0").write_bytes(b"12"),
    "root cut": lambda p: (p / "zarr.json").write_text('{"attributes": {"bnn'),
    "root gone": lambda p: (p / "zarr.json").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found(tmp_path, saved, damage):
    shutil.copytree(saved, tmp_path / "run")
    DAMAGE[damage](tmp_path / "run")
    with pytest.raises(ValueError, match=r"run is (damaged|not a bnnsample result)"):
        load(tmp_path / "run")


def test_foreign_directories_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("text")
    xr.Dataset({"a": ("x", np.ones(3))}).to_zarr(tmp_path / "zarr", consolidated=False)
    for name in ("empty", "file", "zarr"):
        with pytest.raises(ValueError, match=f"{name} is not a bnnsample result"):
            load(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load(tmp_path / "nowhere")


def _edit_root(path, change):
    root = json.loads((path / "zarr.json").read_text())
    change(root)
    (path / "zarr.json").write_text(json.dumps(root))


def test_a_newer_format_is_refused(tmp_path, saved):
    shutil.copytree(saved, tmp_path / "run")
    _edit_root(tmp_path / "run", lambda root: root["attributes"].update(bnnsample_format=2))
    with pytest.raises(ValueError, match=r"run has format version 2.*newer bnnsample"):
        load(tmp_path / "run")


def test_codecs_that_could_run_code_are_refused(tmp_path, saved):
    shutil.copytree(saved, tmp_path / "run")
    array = tmp_path / "run/posterior/f/zarr.json"
    metadata = json.loads(array.read_text())
    metadata["codecs"].append({"name": "numcodecs.pickle"})
    array.write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match=r"damaged.*numcodecs.pickle"):
        load(tmp_path / "run")


def test_parents_are_made_and_text_paths_taken(tmp_path):
    Result(make_record()).save(str(tmp_path / "a/b/run"))
    assert bnnsample.load(str(tmp_path / "a/b/run")).num_gradients == 320
