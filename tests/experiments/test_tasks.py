"""A sweep shared out among tasks: every cell once, and one table of all."""

import argparse
import io
import json
import types
from pathlib import Path

import pytest

from experiments import _tasks, likelihood_speed, peers, predictive_quality, width_scaling
from experiments._rows import read_csv, write_csv


def options(*arguments):
    parser = argparse.ArgumentParser()
    _tasks.add_options(parser)
    found = parser.parse_args(arguments)
    _tasks.check(parser, found)
    return found


def test_every_cell_is_some_tasks():
    cells = list(range(11))
    shares = [
        _tasks.own(cells, options("--num-tasks", "4", "--task-index", str(i))) for i in range(4)
    ]
    assert sorted(cell for share in shares for cell in share) == cells
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert list(_tasks.own(cells, options("--num-tasks", "4"))) == cells


def test_the_bar_is_silent_where_nobody_looks(monkeypatch, capsys):
    assert list(_tasks.progress([1, 2])) == [1, 2]
    _tasks.say("a row")
    assert capsys.readouterr() == ("a row\n", "")

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    for cell in _tasks.progress([1, 2]):
        _tasks.say(f"row {cell}")
    assert "2/2" in terminal.getvalue()
    assert "cell" in terminal.getvalue()
    assert capsys.readouterr().out == "row 1\nrow 2\n"


@pytest.mark.parametrize("script", [likelihood_speed, predictive_quality, width_scaling])
def test_a_task_beyond_the_last_is_refused(script, capsys):
    with pytest.raises(SystemExit):
        script.parse(["--task-index", "2", "--num-tasks", "2"])
    assert "--task-index must be below --num-tasks 2, got 2" in capsys.readouterr().err


def test_tasks_write_beside_one_another_and_the_whole_finds_all(tmp_path, monkeypatch):
    measured = []

    def measure(data, width, noise, options):
        measured.append(width)
        row = {**dict.fromkeys(width_scaling.COLUMNS, 1), "data": data.name, "width": width}
        methods = [*width_scaling.COLLAPSED.values(), *options.baselines]
        return [{**row, "method": method, "setting": "{}"} for method in methods], None

    monkeypatch.setattr(width_scaling, "measure_width", measure)
    line = ["--data", "diabetes", "--widths", "4", "8", "16", "--out", str(tmp_path)]
    for i in range(2):
        width_scaling.main([*line, "--num-tasks", "2", "--task-index", str(i)])
    assert measured == [4, 16, 8]
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*"))
    assert files == [
        str(Path(f"task_{i}") / f"width_scaling.{kind}")
        for i in range(2)
        for kind in ("csv", "json")
    ]
    rows = width_scaling.main([*line, "--resume"])
    assert measured == [4, 16, 8]
    assert [row["width"] for row in rows] == [4] * 6 + [8] * 6 + [16] * 6
    assert (tmp_path / "width_scaling.png").exists()
    settings = json.loads((tmp_path / "width_scaling.json").read_text())
    assert settings["widths"] == [4, 8, 16]
    assert settings["data_dir"] is None
    # Rows that are in the tasks' tables and in that of the whole are one.
    again = width_scaling.main([*line, "--resume", "--data-dir", str(tmp_path)])
    assert measured == [4, 16, 8]
    assert [row["width"] for row in again] == [4] * 6 + [8] * 6 + [16] * 6
    settings = json.loads((tmp_path / "width_scaling.json").read_text())
    assert settings["data_dir"] == str(tmp_path)


def fake_peers(monkeypatch, stop_after=None):
    """``peers`` whose rows come at once; the cells that were measured."""
    measured = []

    def measure(task, options):
        measured.append((task.data.name, task.width, options.draws))
        for count, method in enumerate(peers.METHODS):
            if count == stop_after:
                raise KeyboardInterrupt
            own = {"data": task.data.name, "width": task.width, "method": method}
            yield {**dict.fromkeys(peers.COLUMNS, 1), **own, "seconds": float(len(measured))}

    def of_cell(name, width, options, done):
        task = types.SimpleNamespace(data=types.SimpleNamespace(name=name), width=width)
        return () if done else measure(task, options)

    monkeypatch.setattr(peers, "measure", of_cell)
    return measured


def test_rows_of_other_settings_stay_and_are_not_shown(tmp_path, monkeypatch):
    measured = fake_peers(monkeypatch)
    line = ["--quick", "--data", "diabetes", "--out", str(tmp_path)]
    assert len(peers.main(line)) == len(peers.METHODS)
    assert len(peers.main([*line, "--draws", "50"])) == len(peers.METHODS)
    assert len(peers.main([*line, "--widths", "64"])) == len(peers.METHODS)
    cells = [("diabetes", 512, 120), ("diabetes", 512, 50), ("diabetes", 64, 120)]
    assert measured == cells
    # All is there, and nothing is measured again; a cell that is asked for twice is one.
    rows = peers.main([*line, "--widths", "64", "512", "64"])
    assert [row["width"] for row in rows] == [64] * 11 + [512] * 11
    assert measured == cells
    assert len((tmp_path / "peers.csv").read_text().splitlines()) == 1 + 3 * 11


def test_a_stopped_sweep_has_each_row_once(tmp_path, monkeypatch):
    """A task is stopped within a cell, the whole measures it, and asks again."""
    line = ["--quick", "--data", "diabetes", "--out", str(tmp_path)]
    fake_peers(monkeypatch, stop_after=8)
    with pytest.raises(KeyboardInterrupt):
        peers.main([*line, "--task-index", "0"])
    measured = fake_peers(monkeypatch)
    for _ in range(2):
        assert [row["method"] for row in peers.main(line)] == list(peers.METHODS)
    assert len(measured) == 1
    # A task measures nothing that the whole has, and no cell of another setting's is taken for its.
    assert len(peers.main([*line, "--num-tasks", "2", "--task-index", "0"])) == 11
    assert len(measured) == 1
    # What was left of a cell that is no longer asked for is not in the table.
    fake_peers(monkeypatch, stop_after=2)
    with pytest.raises(KeyboardInterrupt):
        peers.main([*line, "--widths", "128"])
    fake_peers(monkeypatch)
    assert len(peers.main(line)) == 11


def test_a_torn_table_is_refused_in_one_line(tmp_path):
    line = "diabetes,512,ours,1.0e-"
    (tmp_path / "peers.csv").write_text("data,width,method,ess_per_gradient\n" + line)
    with pytest.raises(SystemExit, match=r"peers\.csv is not a table of this script: .*1\.0e-"):
        peers.main(["--quick", "--out", str(tmp_path)])
    assert (tmp_path / "peers.csv").read_text().endswith(line)


def test_rows_that_hold_nan_are_counted_once(tmp_path):
    columns = ("data", "width", "acceptance")
    row = {"data": "a", "width": 4, "acceptance": float("nan")}
    for folder in (tmp_path, tmp_path / "task_0", tmp_path / "task_1"):
        folder.mkdir(exist_ok=True)
        write_csv(folder / "t.csv", [row], columns)

    def read(path):
        return read_csv(path, columns, ("width",))

    assert len(_tasks.earlier(tmp_path, "t.csv", read, tmp_path / "t.csv")) == 1
