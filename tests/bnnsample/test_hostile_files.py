"""Stored results that are not what they should be: refused, and nothing in them is run."""

import json
import pickle
import shutil

import pytest
from test_results_record import make_record

import bnnsample
from bnnsample.results import Result

RAN = []


class Payload:
    """Unpickled, it leaves a trace."""

    def __reduce__(self):
        return RAN.append, (1,)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "run"
    Result(make_record()).save(path)
    return path


@pytest.fixture
def copy(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "run")
    return tmp_path / "run"


def edit(path, change):
    root = json.loads((path / "zarr.json").read_text())
    change(root)
    (path / "zarr.json").write_text(json.dumps(root))


def metadata(change):
    """A change of the metadata that is in the root as JSON."""

    def of_root(path):
        def changed(root):
            stored = json.loads(root["attributes"]["bnnsample"])
            root["attributes"]["bnnsample"] = json.dumps(change(stored))

        edit(path, changed)

    return of_root


def attribute(name, value):
    return lambda path: edit(path, lambda root: root["attributes"].update({name: value}))


def without(key):
    return metadata(lambda stored: {k: v for k, v in stored.items() if k != key})


def replaced(key, value):
    return metadata(lambda stored: {**stored, key: value})


KEYS = ("settings", "counters", "draws", "prior", "sample_stats", "adapted", "created_at")
DAMAGE = {
    "empty root": lambda p: (p / "zarr.json").write_text(""),
    "root is a list": lambda p: (p / "zarr.json").write_text("[]"),
    "root is a number": lambda p: (p / "zarr.json").write_text("3"),
    "root is binary": lambda p: (p / "zarr.json").write_bytes(b"\xff\xfe\x00"),
    "root is a pickle": lambda p: (p / "zarr.json").write_bytes(pickle.dumps(Payload())),
    "newer": attribute("bnnsample_format", 99),
    "format is text": attribute("bnnsample_format", "new"),
    "format is None": attribute("bnnsample_format", None),
    "format is a list": attribute("bnnsample_format", [1]),
    "metadata is no JSON": attribute("bnnsample", "{"),
    "metadata is a number": attribute("bnnsample", 3),
    "metadata is a list": attribute("bnnsample", "[]"),
    "metadata is null": attribute("bnnsample", "null"),
    **{f"no {key}": without(key) for key in (*KEYS, "checksums")},
    **{f"{key} is a number": replaced(key, 3) for key in (*KEYS[:-1], "checksums")},
    **{f"{key} is None": replaced(key, None) for key in (*KEYS[:-1], "checksums")},
    "draws of another name": replaced("draws", ["nothing"]),
    "parameters of another kind": replaced("parameters", {"structure": {"code": []}}),
    "moments of another kind": replaced("moments", {"evil": 1}),
    "a chunk is a pickle": lambda p: (p / "posterior/f/c/0/0/0/0").write_bytes(
        pickle.dumps(Payload())
    ),
    "a chunk is empty": lambda p: (p / "posterior/f/c/0/0/0/0").write_bytes(b""),
    "array metadata is cut": lambda p: (p / "posterior/f/zarr.json").write_text('{"shape"'),
    "array metadata is a pickle": lambda p: (p / "posterior/f/zarr.json").write_bytes(
        pickle.dumps(Payload())
    ),
    "an array of Zarr 2 with pickled objects": lambda p: (p / "posterior/.zarray").write_text(
        json.dumps({"dtype": "|O", "filters": [{"id": "pickle"}]})
    ),
    "chunks beside": lambda p: shutil.rmtree(p / "constant_data"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_no_whole_result_is_refused(copy, damage):
    DAMAGE[damage](copy)
    with pytest.raises(ValueError, match=r"run (is|has|cannot)"):
        bnnsample.load(copy)
    assert RAN == []


def test_a_pickle_is_not_read(tmp_path):
    (tmp_path / "run").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(ValueError, match="run is not a bnnsample result"):
        bnnsample.load(tmp_path / "run")
    assert RAN == []


@pytest.mark.parametrize("path", [None, 3, 1.5, ["run"], object(), {"a": 1}])
def test_what_is_no_path(path):
    with pytest.raises(TypeError, match="path must be"):
        bnnsample.load(path)


def test_a_link_to_nowhere_and_one_to_a_result(copy, tmp_path):
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        bnnsample.load(tmp_path / "nowhere")
    (tmp_path / "link").symlink_to(copy)
    assert bnnsample.load(tmp_path / "link").num_gradients == 320
