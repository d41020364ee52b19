"""The command line: ``python -m bnnsample report`` and ``run``."""

import inspect
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
from test_results_record import make_record

import bnnsample
from bnnsample._command import _run, main
from bnnsample._command._config import RUN_KEYS, read_config
from bnnsample._command._errors import CommandError
from bnnsample._command._files import write_text
from bnnsample.results import Result

ROOT = Path(__file__).parents[2]
RUN = "[run]\nwidth = 8\nnum_chains = 2\nnum_warmup = 4\nnum_samples = 8\nprogress = false\n"
DATA = '[data]\nfile = "data.csv"\ntarget = "y"\n'
INPUTS = 'inputs = ["a", "b"]\n'
MODEL = '[model]\nname = "mlp"\nactivation = "tanh"\n'


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "run.zarr"
    Result(make_record(keep_every=0, draws=8)).save(path)
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with data and a description of a run."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(12, 3)), columns=["a", "b", "y"])
    frame["z"] = frame.a - frame.y
    frame["label"] = np.where(frame.a > 0, "yes", "no")
    frame.to_csv(tmp_path / "data.csv", index=False)
    config(tmp_path, MODEL + DATA + INPUTS + RUN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config(folder, text):
    (folder / "c.toml").write_text(text)
    return folder / "c.toml"


def refusal(capsys, *arguments):
    """The one line that a refused command leaves."""
    assert main([str(argument) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# report


def test_a_stored_result_becomes_a_page(saved, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(saved)]) == 0
    assert capsys.readouterr().out == "report.html\n"
    page = (tmp_path / "report.html").read_text()
    assert page == bnnsample.load(saved).report(format="html")
    assert names(tmp_path) == ["report.html"]
    assert main(["report", str(saved), "--format", "text"]) == 0
    assert capsys.readouterr().out == bnnsample.load(saved).report() + "\n"
    (tmp_path / "mine.txt").write_text("mine")
    arguments = ["report", saved, "--format", "text", "--out", "mine.txt"]
    assert "mine.txt exists; --overwrite replaces it" in refusal(capsys, *arguments)
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert main([*map(str, arguments), "--overwrite"]) == 0
    assert "Verdict" in (tmp_path / "mine.txt").read_text()


def test_a_run_that_was_not_finished(tmp_path, capsys):
    """The folder of a run with checkpoint_dir, whose draws are those up to its last commit."""
    record = make_record(keep_every=0, draws=8, interrupted=True)
    settings = {**record.settings, "num_samples": 50}
    Result(make_record(keep_every=0, draws=8, interrupted=True, settings=settings)).save(
        tmp_path / "run" / "draws.zarr"
    )
    (tmp_path / "run" / "run.json").write_text("{}")
    assert main(["report", str(tmp_path / "run"), "--format", "text"]) == 0
    assert "interrupted after 8 of 50 draws" in " ".join(capsys.readouterr().out.split())
    shutil.rmtree(tmp_path / "run" / "draws.zarr")
    assert "has no draws yet" in refusal(capsys, "report", tmp_path / "run")


def test_what_is_no_run_is_refused(saved, tmp_path, capsys):
    out = tmp_path / "out.html"
    assert "no run at" in refusal(capsys, "report", tmp_path / "none", "--out", out)
    (tmp_path / "file").write_text("")
    assert "is a file" in refusal(capsys, "report", tmp_path / "file", "--out", out)
    (tmp_path / "foreign").mkdir()
    message = refusal(capsys, "report", tmp_path / "foreign", "--out", out)
    assert "not a bnnsample result" in message
    cut = tmp_path / "cut.zarr"
    shutil.copytree(saved, cut)
    chunk = next(path for path in (cut / "posterior" / "f" / "c").rglob("*") if path.is_file())
    chunk.unlink()
    assert "damaged or incomplete" in refusal(capsys, "report", cut, "--out", out)
    (cut / "zarr.json").write_text('{"attributes": ')
    assert "not a bnnsample result" in refusal(capsys, "report", cut, "--out", out)
    assert not out.exists()


def test_places_that_cannot_be_written_are_refused_first(saved, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    message = refusal(capsys, "report", saved, "--out", tmp_path / "file" / "a" / "page.html")
    assert "is a file" in message
    (tmp_path / "folder").mkdir()
    arguments = ["report", saved, "--overwrite", "--out", tmp_path / "folder"]
    assert "is a directory" in refusal(capsys, *arguments)


def test_a_file_is_whole_or_not_there(tmp_path, monkeypatch):
    (tmp_path / "page.html").write_text("old")

    def fails(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(CommandError, match="No space left"):
        write_text(tmp_path / "page.html", "new")
    assert names(tmp_path) == ["page.html"]
    assert (tmp_path / "page.html").read_text() == "old"


@pytest.mark.parametrize(
    "arguments", [[], ["draw"], ["report"], ["report", "a", "--format", "pdf"]]
)
def test_other_commands_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage: python -m bnnsample" in capsys.readouterr().err


# run


def test_a_run_is_called_as_described_and_written(folder, capsys, monkeypatch):
    calls = []

    def sample(*arguments, **options):
        calls.append((arguments, options))
        return Result(make_record(keep_every=0, draws=8))

    monkeypatch.setattr(_run, "sample", sample)
    noise = '[likelihood]\nname = "Gaussian"\nscale = 0.5\n'
    config(folder, (folder / "c.toml").read_text() + noise)
    assert main(["run", "c.toml"]) == 0
    (model, (x, y)), options = calls.pop()
    frame = pd.read_csv(folder / "data.csv")
    np.testing.assert_array_equal(x, frame[["a", "b"]])
    np.testing.assert_array_equal(y, frame.y)
    assert (model.name, model.description["activation"]) == ("mlp", "tanh")
    assert options.pop("likelihood").describe() == {"likelihood": "Gaussian", "scale": 0.5}
    assert options == {
        "width": 8,
        "num_chains": 2,
        "num_warmup": 4,
        "num_samples": 8,
        "progress": False,
        "precision": "float32",
    }
    printed = capsys.readouterr().out
    assert "Verdict" in printed
    assert "c-run/result.zarr, c-run/report.html" in printed
    assert names(folder / "c-run") == ["report.html", "result.zarr"]
    assert bnnsample.load(folder / "c-run" / "result.zarr").report() in printed
    assert "<!DOCTYPE html>" in (folder / "c-run" / "report.html").read_text()
    assert main(["report", "c-run", "--format", "text"]) == 0
    assert capsys.readouterr().out in printed
    assert "report.html exists; --overwrite replaces it" in refusal(capsys, "run", "c.toml")
    assert calls == []
    assert main(["run", "c.toml", "--overwrite"]) == 0
    assert len(calls) == 1
    assert names(folder / "c-run") == ["report.html", "result.zarr"]


@pytest.mark.slow
def test_a_described_run_is_that_of_python(folder, capsys, monkeypatch):
    text = (folder / "c.toml").read_text()
    config(folder, text + 'seed = 3\nprecision = "float64"\nkeep = "none"\nkernel = "pcn"\n')
    described = read_config(Path("c.toml"))
    # One model for both, so that the second run compiles nothing.
    monkeypatch.setattr(_run, "read_config", lambda path: described)
    assert main(["run", "c.toml"]) == 0
    stored = bnnsample.load(folder / "c-run" / "result.zarr")
    assert stored.report() in capsys.readouterr().out
    frame = pd.read_csv(folder / "data.csv")
    same = bnnsample.run(
        described.model,
        (frame[["a", "b"]].to_numpy(), frame.y.to_numpy()),
        width=8,
        num_chains=2,
        num_warmup=4,
        num_samples=8,
        seed=3,
        keep="none",
        kernel="pcn",
        progress=False,
        precision="float64",
    )
    np.testing.assert_array_equal(stored.record.draws["f"], same.record.draws["f"])
    assert stored.settings == same.settings


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[model", "is not TOML"),
        (MODEL + RUN, "has no table [data]"),
        (MODEL + DATA + RUN + "[plot]\n", "unknown table [plot]; expected model, likelihood"),
        ("model = 3\n" + DATA + RUN, "[model] must be a table, got 3"),
        (MODEL + DATA + RUN + "widht = 3\n", "unknown key 'widht' in [run]; expected width,"),
        (MODEL + DATA + RUN + "x_eval = 3\n", "unknown key 'x_eval' in [run]"),
        (MODEL + DATA + "[run]\n", "[run] needs width"),
        (MODEL + DATA + RUN + "checkpoint_dir = 3\n", "checkpoint_dir must be a path, got 3"),
        (MODEL + DATA + INPUTS + RUN + "seed = -1\n", "seed must lie between"),
        (MODEL + DATA + INPUTS + RUN + 'kernel = "nut"\n', "'nut'"),
        (
            MODEL + "width = 3\n" + DATA + RUN,
            "unknown key 'width' in [model]; expected name, depth",
        ),
        ('[model]\nname = "rnn"\n' + DATA + RUN, "name must be one of mlp, cnn, resnet, got 'rnn'"),
        ("[model]\n" + DATA + RUN, "[model] name must be one of mlp"),
        (MODEL + "depth = 0\n" + DATA + RUN, "[model] depth must be at least 1"),
        (
            MODEL + 'bias_std = {distribution = "Normal", loc = 0.0}\n' + DATA + RUN,
            "[model] bias_std: {'distribution': 'Normal', 'loc': 0.0} is not a prior; distribution "
            "must be one of Beta(",
        ),
        (
            MODEL + 'bias_std = {distribution = "HalfNormal", sd = 1.0}\n' + DATA + RUN,
            "HalfNormal(scale)",
        ),
        (
            MODEL + 'bias_std = {distribution = "HalfNormal", scale = -1.0}\n' + DATA + RUN,
            "invalid scale",
        ),
        (MODEL + "bias_std = {scale = 1.0}\n" + DATA + RUN, "[model] bias_std must be a number"),
        (
            MODEL + '[likelihood]\nname = "Cauchy"\n' + DATA + RUN,
            "[likelihood] name must be one of",
        ),
        (
            MODEL + '[likelihood]\nname = "Gaussian"\nsclae = 1.0\n' + DATA + RUN,
            "unknown key 'sclae' in [likelihood]; expected name, scale",
        ),
        (
            MODEL + '[likelihood]\nname = "Gaussian"\nscale = 0.0\n' + DATA + RUN,
            "[likelihood] scale must be positive",
        ),
        (MODEL + "[data]\n" + RUN, "[data] needs either file or builtin"),
        (MODEL + DATA + "sep = 3\n" + RUN, "unknown key 'sep' in [data]; expected file, target"),
        (MODEL + '[data]\nbuiltin = "iris"\n' + RUN, "builtin must be one of diabetes"),
        (MODEL + '[data]\nbuiltin = "digits"\n' + RUN, "[data] has labels as targets"),
        (MODEL + '[data]\nbuiltin = "diabetes"\ntarget = "y"\n' + RUN, "this is builtin"),
        (MODEL + '[data]\nfile = "data.json"\n' + RUN, "must end in .csv or .npz"),
        (MODEL + '[data]\nfile = "none.csv"\ntarget = "y"\n' + RUN, "cannot read"),
        (MODEL + '[data]\nfile = "data.csv"\n' + RUN, "target must be a column or a list"),
        (MODEL + '[data]\nfile = "data.csv"\ntarget = "w"\n' + RUN, "no column 'w'; the columns"),
        (MODEL + DATA + RUN, "column 'label' is not numeric"),
        (MODEL + DATA + 'inputs = ["a", "y"]\n' + RUN, "'y' is among both inputs and target"),
        (MODEL + DATA + 'inputs = ["a"]\ninput_shape = [2]\n' + RUN, "input_shape must be a list"),
        (MODEL + '[data]\nfile = "bad.npz"\n' + RUN, "cannot read"),
        (MODEL + '[data]\nfile = "x.npz"\n' + RUN, "has no array 'y'; its arrays are: x"),
    ],
)
def test_descriptions_that_cannot_be_meant(folder, capsys, monkeypatch, text, words):
    """Refused by name, before anything is compiled or written."""
    (folder / "bad.npz").write_bytes(b"PK\x03\x04 no")
    np.savez(folder / "x.npz", x=np.ones((3, 2)))
    before = names(folder)

    def compiled(*arguments, **options):
        raise AssertionError("something was compiled")

    monkeypatch.setattr(jax.stages.Lowered, "compile", compiled)
    config(folder, text)
    assert words in refusal(capsys, "run", "c.toml")
    assert names(folder) == before


def test_a_missing_description(folder, capsys):
    assert "cannot read" in refusal(capsys, "run", "none.toml")


def test_output_is_refused_before_the_run(folder, capsys):
    (folder / "out" / "result.zarr").mkdir(parents=True)
    assert "result.zarr exists" in refusal(capsys, "run", "c.toml", "--out", "out")
    message = refusal(capsys, "run", "c.toml", "--out", "out", "--overwrite")
    assert "is not a bnnsample result" in message
    assert "is a file" in refusal(capsys, "run", "c.toml", "--out", "data.csv")


def test_all_plain_arguments_of_run_are_keys():
    arguments = set(inspect.signature(bnnsample.run).parameters)
    assert arguments - set(RUN_KEYS) == {"model", "data", "likelihood", "x_eval", "init", "devices"}


def test_scales_of_every_kind(folder):
    model = (
        '[model]\nname = "mlp"\ndepth = 2\nweight_std = [{distribution = "HalfNormal", scale = 2}, '
        '1.5]\nreadout_weight_std = "empirical-bayes"\n'
    )
    noise = '[likelihood]\nname = "Gaussian"\nscale = {distribution = "Gamma", rate = 1.0, '
    text = model + noise + "concentration = 2.0}\n" + DATA + 'inputs = ["a"]\n' + RUN
    found = read_config(config(folder, text))
    assert list(found.model.unknowns) == ["weight_std_0"]
    assert found.model.to_fit == ("readout_weight_std",)
    assert found.likelihood.describe()["scale"] == {
        "distribution": "Gamma",
        "concentration": 2.0,
        "rate": 1.0,
    }
    assert found.arguments["precision"] == "float32"


def test_data_of_every_kind(folder):
    def data(text, likelihood=""):
        return read_config(config(folder, MODEL + likelihood + "[data]\n" + text + RUN)).data

    frame = pd.read_csv(folder / "data.csv")
    found = data('file = "data.csv"\ntarget = ["y", "z"]\ninputs = ["b", "a"]\n')
    np.testing.assert_array_equal(found.x, frame[["b", "a"]])
    np.testing.assert_array_equal(found.y, frame[["y", "z"]])
    frame.drop(columns="label").to_csv(folder / "numbers.csv", index=False)
    rest = data('file = "numbers.csv"\ntarget = "y"\n')
    np.testing.assert_array_equal(rest.x, frame[["a", "b", "z"]])
    assert rest.y.shape == (12,)
    labels = '[likelihood]\nname = "Bernoulli"\n'
    text = data('file = "data.csv"\ntarget = "label"\ninputs = ["a"]\n', labels)
    assert text.are_labels
    assert list(text.y) == list(frame.label)
    np.savez(folder / "d.npz", x=np.ones((3, 4, 4)), y=np.arange(3.0))
    assert data('file = "d.npz"\n').x.shape == (3, 4, 4)
    assert data('file = "d.npz"\ninput_shape = [4, 2, 2]\n').x.shape == (3, 4, 2, 2)
    images = data('builtin = "digits"\ninput_shape = [8, 8, 1]\n', labels)
    assert images.x.shape[1:] == (8, 8, 1)


def test_in_a_process_of_its_own(folder):
    """No traceback, and paths are relative to the description's folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "bnnsample", "report", "none"]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, "error: no run at none\n")


@pytest.mark.slow
def test_a_run_with_checkpoints_goes_on(folder):
    """By a process with a progress bar; the second finds the first one's draws."""
    text = (folder / "c.toml").read_text().replace("progress = false\n", "")
    (folder / "sub").mkdir()
    described = config(folder / "sub", text.replace("data.csv", "../data.csv"))
    described.write_text(described.read_text() + 'checkpoint_dir = "runs/first"\n')
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "bnnsample", "run", "sub/c.toml"]

    def run(*more):
        return subprocess.run(
            [*command, *more], cwd=folder, env=environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip

    done = run()
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "sampling: 100%" in done.stderr
    assert "Warning" not in done.stderr
    store = folder / "sub" / "runs" / "first"
    assert {"draws.zarr", "report.html", "run.json"} <= set(names(store))
    assert json.loads((store / "run.json").read_text())["precision"] == "float32"
    assert run().returncode == 2
    again = run("--overwrite")
    assert again.returncode == 0, again.stderr
    assert again.stdout == done.stdout
    described.write_text(described.read_text() + "seed = 1\n")
    other = run("--overwrite")
    assert other.returncode == 2
    assert "holds another run: seed: 0 there, 1 here" in other.stderr
    assert "Traceback" not in other.stderr
