"""The soak in short form, and the experiment on the memory of a long run at its smallest."""

import csv

import jax
import numpy as np
import pytest

from experiments import long_run, soak


@pytest.mark.usefixtures("_configuration")
def test_repeated_runs_leave_nothing_behind():
    """Two rounds of a run: no more compiled programs, nor a tenth more memory."""
    assert soak.main(["--minutes", "0.001", "--per-round", "1"]) == 0


def test_what_has_grown_is_told(monkeypatch):
    alive = iter([1, 2])
    monkeypatch.setattr(soak, "run", lambda **_: 1)
    monkeypatch.setattr(soak, "live_programs", lambda: next(alive))
    assert soak.main(["--minutes", "0.001", "--per-round", "1"]) == 1


def test_a_streamed_run_is_measured_chunk_by_chunk(tmp_path, capsys):
    arguments = ["--width", "4", "--draws", "40", "--warmup", "20", "--out", str(tmp_path)]
    with jax.enable_x64(False):
        rows = long_run.main(arguments)
    assert rows[-1]["draws"] == 40
    assert [row["draws"] for row in rows] == sorted({row["draws"] for row in rows})
    assert all(row["mib"] > 100 for row in rows)
    with (tmp_path / "long_run.csv").open() as lines:
        assert len(list(csv.DictReader(lines))) == len(rows)
    assert "40 draws per chain" in capsys.readouterr().out
    assert {p.name for p in tmp_path.iterdir()} == {
        "long_run.csv", "long_run.json", "long_run.png",
    }  # fmt: skip


def test_memory_by_tenths_of_the_draws():
    draws = np.array([100, 150, 290, 300, 950, 1000])
    mib = np.array([1.0, 2.0, 3.0, 5.0, 7.0, 8.0])
    assert long_run.tenths_of(draws, mib) == [1.5, 3.0, 5.0, 7.5]


@pytest.fixture
def _configuration():
    """The soak compiles without optimisations."""
    before = jax.config.read("jax_disable_most_optimizations")
    yield
    jax.config.update("jax_disable_most_optimizations", before)
