"""Runs that are stopped, gone on with and extended end in the draws of one that was not."""

import dataclasses
import functools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import xarray as xr
import zarr

import bnnsample
from bnnsample import likelihoods, models
from bnnsample.chains._sink import Block
from bnnsample.checkpoints import CheckpointMismatchError
from bnnsample.checkpoints._identity import _program_digest
from bnnsample.checkpoints._saver import OrbaxCheckpoints
from bnnsample.coordinates import SurrogateRepriorised
from bnnsample.results._stream import DrawStream

RNG = np.random.default_rng(0)
X = RNG.normal(size=(7, 3)).astype("f")
Y, LABELS = np.sin(2 * X[:, 0]), np.array(list("abcabca"))
MODEL = models.mlp(1, "tanh")
EVERY = {
    # A reference of unknowns and trials of candidates.
    "infinite_hmc": (MODEL, Y, {"standardize": True}),
    # A surrogate, fitted anew.
    "alternating": (models.mlp(1, "tanh", weight_std=dist.HalfNormal(1.0)), LABELS, {}),
    # A metric.
    "hmc": (MODEL, Y, {"kernel": "hmc"}),
    # Options that shape the program, and states of pairs.
    "nuts": (MODEL, Y, {"kernel": "nuts", "coordinates": "standard"}),
    # A tuner of BlackJAX's, which is made again.
    "mclmc": (MODEL, Y, {"kernel": "mclmc"}),
    # A choice in the state, with a random key.
    "importance": (MODEL, Y, {"kernel": "importance", "num_warmup": 300}),
    "unitwise": (MODEL, Y, {"kernel": "unitwise"}),
    "pcn_thinned": (MODEL, Y, {"kernel": "pcn", "thin": 3, "keep": "none"}),
    "float64": (MODEL, Y.astype(float), {}),
}
SHORT, *LONG = EVERY
BOTH = [SHORT, *(pytest.param(name, marks=pytest.mark.slow) for name in LONG)]
NUM_WARMUP, NUM_SAMPLES = 40, 30


def run(name, **changes):
    model, y, options = EVERY[name]
    settings = {
        "width": 4,
        "num_chains": 2,
        "num_warmup": NUM_WARMUP,
        "num_samples": NUM_SAMPLES,
        "seed": 3,
        "keep": "all",
        "progress": False,
        "checkpoint_every": 0,
        "likelihood": likelihoods.Categorical() if y.dtype.kind == "U" else None,
        **options,
        **changes,
    }
    x = X.astype(float) if name == "float64" else X
    data = settings.pop("data", (x, y))
    return bnnsample.run(settings.pop("model", model), data, **settings)


@functools.cache
def whole(name):
    return run(name)


def assert_same(a, b):
    a, b = a.record, b.record
    assert list(a.draws) == list(b.draws)
    for name in a.draws:
        np.testing.assert_array_equal(a.draws[name], b.draws[name], err_msg=name)
    for name in a.sample_stats:
        np.testing.assert_array_equal(a.sample_stats[name], b.sample_stats[name], err_msg=name)
    kept = [None if r.kept is None else (r.kept.parameters, r.kept.draws) for r in (a, b)]
    jax.tree.map(np.testing.assert_array_equal, *kept)
    jax.tree.map(np.testing.assert_array_equal, a.moments, b.moments)
    assert a.adapted == b.adapted
    counted = [(r.num_gradients, r.warmup_gradients, r.interrupted) for r in (a, b)]
    assert counted[0] == counted[1]


class Stop:
    """Breaks a run off once so many steps of a phase are done."""

    def __init__(self, phase, at):
        self.stop, self.at, self.done = phase, at, 0

    def start(self, phase, total):
        self.phase = phase

    def update(self, steps, info):
        self.done += steps * (self.phase == self.stop)
        if self.done >= self.at:
            raise InterruptedError

    def close(self):
        pass


@pytest.mark.parametrize("name", BOTH)
def test_stopped_runs_end_in_the_same_draws(name, tmp_path):
    folder = tmp_path / "run"
    # Inside a window, among the trials of candidates, and between draws.
    for phase, at in (("warm-up", 15), ("warm-up", 32), ("sampling", 5)):
        if phase == "warm-up" and name in ("mclmc", "importance"):
            continue
        with pytest.raises(InterruptedError):
            run(name, checkpoint_dir=folder, progress=Stop(phase, at))
    resumed = run(name, checkpoint_dir=folder)
    assert_same(whole(name), resumed)
    assert_same(whole(name), bnnsample.load(folder, model=EVERY[name][0]))


def test_a_finished_run_is_loaded(tmp_path, monkeypatch):
    first = run("infinite_hmc", checkpoint_dir=tmp_path)
    monkeypatch.setattr("bnnsample._run._warmed", None)
    again = run("infinite_hmc", checkpoint_dir=tmp_path)
    assert_same(first, again)
    np.testing.assert_array_equal(first.predict(X).mean, again.predict(X).mean)
    assert first.report() == again.report()


@pytest.mark.parametrize("name", BOTH)
def test_extended_runs_are_longer_ones(name, tmp_path):
    short = run(name, num_samples=NUM_SAMPLES - 10)
    on_disk = run(name, num_samples=NUM_SAMPLES - 10, checkpoint_dir=tmp_path / "run")
    if name == "importance":
        for result in (short, on_disk):
            with pytest.raises(ValueError, match="importance"):
                result.extend(10)
        # Draws that are chosen together are not gone on with.
        with pytest.raises(CheckpointMismatchError, match="num_samples: 20 there, 30 here"):
            run(name, checkpoint_dir=tmp_path / "run")
        return
    longer = short.extend(10)
    assert_same(whole(name), longer)
    assert short.record.draws["f"].shape[1] == NUM_SAMPLES - 10
    assert longer.settings["num_samples"] == NUM_SAMPLES
    # The draws of both are the whole of what the program ran for.
    ran = longer._extend.drawing.sampler.program.run_seconds
    assert longer.sampling_seconds == pytest.approx(ran, rel=1e-9)
    assert_same(longer.extend(3), on_disk.extend(13))


def test_what_cannot_be_extended_says_so(tmp_path, monkeypatch):
    result = whole("infinite_hmc")
    with monkeypatch.context() as changed:
        changed.setattr("bnnsample._draw.HELD_BYTES", 100)
        with pytest.raises(ValueError, match="above 1 GiB"):
            run("infinite_hmc").extend(5)
    result.save(tmp_path / "saved")
    with pytest.raises(ValueError, match=r"extend\(\) needs the state"):
        bnnsample.load(tmp_path / "saved").extend(5)
    with pytest.raises(ValueError, match="num_samples must be at least 1, got 0"):
        result.extend(0)


class Reading:
    """Loads the run while it goes on."""

    def __init__(self, folder):
        self.folder, self.seen = folder, []

    def start(self, phase, total):
        self.phase = phase

    def update(self, steps, info):
        if self.phase == "sampling" and (self.folder / "draws.zarr").exists():
            loaded = bnnsample.load(self.folder)
            tree = xr.open_datatree(self.folder / "draws.zarr", engine="zarr")
            assert tree["posterior"].sizes["draw"] == loaded.record.draws["f"].shape[1]
            self.seen.append(loaded.record.draws["f"])
            assert loaded.record.interrupted
            assert "interrupted" in loaded.report()

    def close(self):
        pass


def test_a_run_is_read_while_it_goes_on(tmp_path):
    reading = Reading(tmp_path)
    run("infinite_hmc", checkpoint_dir=tmp_path, progress=reading)
    complete = whole("infinite_hmc").record.draws["f"]
    assert len(reading.seen) >= 2
    for seen in reading.seen:
        assert 0 < seen.shape[1] < NUM_SAMPLES
        np.testing.assert_array_equal(seen, complete[:, : seen.shape[1]])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints") / "run"
    run("infinite_hmc", checkpoint_dir=folder)
    return folder


OTHER_Y = Y.copy()
OTHER_Y[2] += 1e-6
DIFFERENT = {
    "seed": {"seed": 4},
    "width": {"width": 5},
    "num_samples": {"num_samples": NUM_SAMPLES - 1},
    "thin": {"thin": 2},
    "x_eval": {"x_eval": X[:2]},
    "kernel": {"kernel": "pcn"},
    "kernel_options": {"kernel_options": {"step_size": 0.1}},
    "model.activation": {"model": models.mlp(1, "relu")},
    "scale": {"likelihood": likelihoods.Gaussian(0.1)},
    "temperature": {"temperature": 2.0},
    "y": {"data": (X, OTHER_Y)},
    "dtype": {"data": (X.astype(float), Y)},
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_another_run_is_refused(name, finished):
    with pytest.raises(CheckpointMismatchError, match=rf"(: |; ){name}: .* there, .* here"):
        run("infinite_hmc", checkpoint_dir=finished, **DIFFERENT[name])


def of_functions(slope):
    def init(key, x, width):
        return {"w": jax.random.normal(key, (x.shape[1], width), x.dtype)}

    return models.from_functions(init, lambda h, x: jnp.tanh(slope * (x @ h["w"])))


def test_functions_of_one_name_are_told_apart(tmp_path):
    run("infinite_hmc", model=of_functions(1.0), checkpoint_dir=tmp_path)
    run("infinite_hmc", model=of_functions(1.0), checkpoint_dir=tmp_path)
    with pytest.raises(CheckpointMismatchError, match="program"):
        run("infinite_hmc", model=of_functions(2.0), checkpoint_dir=tmp_path)


def test_all_functions_of_a_likelihood_are_told_apart():
    def digest_of(**changed):
        functions = {
            "log_prob": lambda y, f: -jnp.sum((y - f) ** 4, axis=1),
            "mean": lambda f: f,
            "sample": lambda key, f: f + jax.random.normal(key, f.shape, f.dtype),
            "surrogate": lambda y: (y, jnp.ones_like(y[:, 0])),
        }
        likelihood = likelihoods.from_log_prob(**{**functions, **changed})
        return _program_digest(SurrogateRepriorised(MODEL, likelihood, 3, X, Y[:, None]))

    digests = [
        digest_of(),
        digest_of(log_prob=lambda y, f: -jnp.sum((y - f) ** 2, axis=1)),
        digest_of(mean=lambda f: f + 100),
        digest_of(sample=lambda key, f: f),
        digest_of(surrogate=lambda y: (2 * y, jnp.ones_like(y[:, 0]))),
    ]
    assert len(set(digests)) == 5
    assert digest_of() == digests[0]


def test_folders_that_cannot_be_meant(finished, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("")
    shutil.copytree(finished, tmp_path / "torn")
    (tmp_path / "torn" / "run.json").write_text("{")
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "run.json").write_text("[]")
    for name, error, words in (
        ("file", NotADirectoryError, "checkpoint_dir=.*is a file"),
        ("other", ValueError, "something else"),
        ("torn", ValueError, "does not describe a run"),
        ("list", ValueError, "does not describe a run"),
    ):
        with pytest.raises(error, match=words):
            run("infinite_hmc", checkpoint_dir=tmp_path / name)
    for options, error in (
        ({"checkpoint_dir": 3}, TypeError),
        ({"checkpoint_every": -1}, ValueError),
        ({"checkpoint_every": np.nan}, ValueError),
        ({"checkpoint_every": "often"}, TypeError),
        ({"checkpoint_every": True}, TypeError),
    ):
        with pytest.raises(error, match=next(iter(options))):
            run("infinite_hmc", **options)


def test_one_process_at_a_time(finished):
    class Second:
        def start(self, phase, total):
            with pytest.raises(BlockingIOError, match="in use by another"):
                run("infinite_hmc", checkpoint_dir=finished, num_samples=NUM_SAMPLES + 1)
            raise InterruptedError

        def update(self, steps, info):
            pass

        def close(self):
            pass

    with pytest.raises(InterruptedError):
        run(
            "infinite_hmc",
            checkpoint_dir=finished,
            num_samples=NUM_SAMPLES + 1,
            progress=Second(),
        )


@pytest.mark.parametrize("stride", [1, 4])
def test_what_a_crash_left_half_written_is_cut_off(stride, tmp_path):
    """Arrays that have grown already, of which some have been filled, beyond what was committed."""
    record = whole("infinite_hmc").record
    at = np.flatnonzero((np.arange(NUM_SAMPLES) + 1) % stride == 0)
    parameters = jax.tree.map(lambda a: a[:, at], record.kept.parameters)

    def blocks(start, stop, width=5):
        for first in range(start, stop, width):
            mine = (at >= first) & (at < first + width)
            yield Block(
                {name: a[:, first : first + width] for name, a in record.draws.items()},
                {name: a[:, first : first + width] for name, a in record.sample_stats.items()},
                jax.tree.map(lambda a, mine=mine: a[:, mine], parameters) if mine.any() else None,
                at[mine],
            )

    frame = dataclasses.replace(record, draws={}, sample_stats={}, kept=None, moments=None)
    stream = DrawStream(tmp_path / "draws.zarr", frame, "then", stride)
    for block in blocks(0, 15):
        stream.add(block)
    stream.commit(frame)
    for block in blocks(15, 25):
        stream.add(block)
    stream._write()
    root = zarr.open_group(tmp_path / "draws.zarr", mode="r+", use_consolidated=False)
    for name, array in root.members(max_depth=None):
        # Grown, and not filled: every other one.
        if isinstance(array, zarr.Array) and zlib.crc32(name.encode()) % 2:
            shape = [
                n + 3 * (dim in ("draw", "kept_draw") and not name.startswith(("prior", "sampler")))
                for dim, n in zip(array.metadata.dimension_names, array.shape, strict=True)
            ]
            array.resize(tuple(shape))
    np.testing.assert_array_equal(
        bnnsample.load(tmp_path).record.draws["f"], record.draws["f"][:, :15]
    )
    stream = DrawStream(tmp_path / "draws.zarr", frame, "now", stride, 15)
    for block in blocks(15, NUM_SAMPLES):
        stream.add(block)
    got = stream.finish(dataclasses.replace(record, interrupted=False))
    for name, expected in record.draws.items():
        np.testing.assert_array_equal(got.draws[name], expected)
    np.testing.assert_array_equal(got.kept.draws, at)
    jax.tree.map(np.testing.assert_array_equal, got.kept.parameters, parameters)
    assert bnnsample.load(tmp_path).idata.posterior.attrs["created_at"] == "then"


def empty(path):
    shutil.rmtree(path)
    path.mkdir()


LOST = {
    "all draws": ("draws.zarr", shutil.rmtree),
    "what is in the folder": ("draws.zarr", empty),
    "the root": ("draws.zarr/zarr.json", pathlib.Path.unlink),
    "half of the root": ("draws.zarr/zarr.json", lambda p: p.write_text(p.read_text()[:500])),
    "a group": ("draws.zarr/posterior", shutil.rmtree),
    "an array": ("draws.zarr/sample_stats/lp", shutil.rmtree),
}


@pytest.mark.parametrize("lost", LOST)
def test_a_folder_that_lost_draws_is_not_gone_on_with(lost, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    name, lose = LOST[lost]
    lose(tmp_path / "run" / name)
    with pytest.raises(ValueError, match="has lost draws of its run, which cannot go on"):
        run("infinite_hmc", checkpoint_dir=tmp_path / "run", num_samples=NUM_SAMPLES + 5)


def test_a_damaged_state_is_named(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    states = tmp_path / "run" / "states"
    latest = max(states.iterdir(), key=lambda path: int(path.name))
    for file in latest.rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:3])
    with pytest.raises(ValueError, match=rf"states/{latest.name} is damaged"):
        run("infinite_hmc", checkpoint_dir=tmp_path / "run", num_samples=NUM_SAMPLES + 5)
    # As it says.
    shutil.rmtree(latest)
    longer = run("infinite_hmc", checkpoint_dir=tmp_path / "run", num_samples=NUM_SAMPLES + 5)
    expected = whole("infinite_hmc").record.draws["f"]
    np.testing.assert_array_equal(longer.record.draws["f"][:, :NUM_SAMPLES], expected)


def test_a_path_is_one_place(tmp_path, monkeypatch):
    """Libraries differ in what they make of ~ and of relative paths."""
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    result = run("infinite_hmc", checkpoint_dir="~/run")
    assert (tmp_path / "home" / "run" / "draws.zarr").is_dir()
    result.save("~/saved")
    assert_same(bnnsample.load("~/saved"), result)
    run("infinite_hmc", checkpoint_dir="run")
    assert {path.name for path in tmp_path.iterdir()} == {"home", "here"}
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["run"]
    assert {path.name for path in (tmp_path / "home").iterdir()} == {"run", "saved"}


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_damaged_chunks_are_seen(damage, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    chunks = tmp_path / "run" / "draws.zarr" / "sampler_units" / "draws" / "f" / "c"
    chunk = next(path for path in chunks.rglob("*") if path.is_file())
    if damage == "missing":
        chunk.unlink()
        with pytest.raises(ValueError, match="draws/f lacks chunks"):
            bnnsample.load(tmp_path / "run")
        return
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)
    with pytest.raises(ValueError, match=r"(?i)crc32c|checksum"):
        _ = bnnsample.load(tmp_path / "run").record.draws["f"]


def test_checkpoints_hold_every_kind_of_array(tmp_path):
    tree = {
        "key": jax.random.key(3),
        "half": jnp.arange(3, dtype=jnp.float32),
        "count": jnp.asarray(2**31 - 1, jnp.int32),
        "none": None,
        "empty": jnp.zeros((2, 0)),
        "flag": jnp.asarray([True, False]),
        "host": np.arange(4, dtype=np.int64),
    }
    checkpoints = OrbaxCheckpoints(tmp_path / "states", 0)
    assert checkpoints.notes("a") is None
    checkpoints.save("a", {"done": 1}, tree)
    checkpoints.save("b", {"done": 2, "share": 0.1 + 0.2}, {**tree, "half": tree["half"] + 1})
    checkpoints.close()
    again = OrbaxCheckpoints(tmp_path / "states", 0)
    assert again.notes("a") is None
    assert again.notes("b") == {"done": 2, "share": 0.1 + 0.2}
    got = again.restore(jax.eval_shape(lambda: {**tree, "host": jnp.asarray(tree["host"])}))
    assert jax.random.key_data(got.pop("key")).tolist() == jax.random.key_data(tree["key"]).tolist()
    tree = {**tree, "half": tree["half"] + 1}
    del tree["key"]
    jax.tree.map(np.testing.assert_array_equal, got, tree)
    assert jax.tree.map(lambda a: a.dtype, got) == jax.tree.map(lambda a: a.dtype, tree)


def test_checkpoints_take_a_small_share_of_the_time(tmp_path, monkeypatch):
    """One that took 3 s is not made again within 100 s, unless it is asked for at every chance."""
    clock = [0.0]
    monkeypatch.setattr("bnnsample.checkpoints._saver.time.monotonic", lambda: clock[0])
    checkpoints = OrbaxCheckpoints(tmp_path / "states", 10.0)
    assert not checkpoints.is_due()
    clock[0] = 11.0
    assert checkpoints.is_due()
    save = checkpoints._manager.save

    def slowly(*args, **kwargs):
        clock[0] += 3.0
        return save(*args, **kwargs)

    monkeypatch.setattr(checkpoints._manager, "save", slowly)
    checkpoints.save("a", {}, {"x": jnp.ones(2)})
    for now, due in ((20.0, False), (113.0, False), (115.0, True)):
        clock[0] = now
        assert checkpoints.is_due() == due
    always = OrbaxCheckpoints(tmp_path / "always", 0)
    assert always.is_due()


def test_the_identity_is_readable(finished):
    identity = json.loads((finished / "run.json").read_text())
    assert identity["seed"] == 3
    assert identity["versions"]["jax"] == jax.__version__


def killed_at_random(folder, cache, num_devices, num_kills, rng):
    """Runs ``killed_run`` until it is done, killed so many times; returns how often it was."""
    script = pathlib.Path(__file__).with_name("killed_run.py")
    kills = 0
    while True:
        with subprocess.Popen(
            [sys.executable, str(script), str(folder), str(cache), str(num_devices)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        ) as process:
            # It is past its preparations once it says something; how long it then lives is random.
            said = process.stdout.readline()
            if kills < num_kills and said.strip() != "finished":
                time.sleep(rng.exponential(0.4))
                process.kill()
            said += process.stdout.read()
        if "finished" in said:
            return kills
        assert process.returncode == -signal.SIGKILL, said
        kills += 1


def assert_survives(num_kills, tmp_path, num_devices=1):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    cache = tmp_path / "cache"
    assert killed_at_random(straight, cache, num_devices, 0, None) == 0
    kills, round_ = 0, 0
    while kills < num_kills:
        folder = killed / str(round_)
        kills += killed_at_random(
            folder,
            cache,
            num_devices,
            num_kills - kills,
            np.random.default_rng((num_kills, round_)),
        )
        round_ += 1
        assert_same(bnnsample.load(straight), bnnsample.load(folder))
        shutil.rmtree(folder)


def test_killed_runs_end_in_the_same_draws(tmp_path):
    assert_survives(3, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("num_devices", [1, 8])
def test_runs_killed_thirty_times_end_in_the_same_draws(tmp_path, num_devices):
    assert_survives(30, tmp_path, num_devices)
