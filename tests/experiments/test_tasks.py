"""A sweep shared out among tasks: every cell once, and one table of all."""

import argparse
import io
import json
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
        row = dict.fromkeys(width_scaling.COLUMNS, 1)
        return [
            {**row, "data": data.name, "width": width, "method": "collapsed + pCN", "setting": "{}"}
        ], None

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
    assert sorted(row["width"] for row in rows) == [4, 8, 16]
    assert (tmp_path / "width_scaling.png").exists()
    settings = json.loads((tmp_path / "width_scaling.json").read_text())
    assert settings["widths"] == [4, 8, 16]
    assert settings["data_dir"] is None
    # Rows that are in the tasks' tables and in that of the whole are one.
    again = width_scaling.main([*line, "--resume", "--data-dir", str(tmp_path)])
    assert measured == [4, 16, 8]
    assert sorted(row["width"] for row in again) == [4, 8, 16]
    settings = json.loads((tmp_path / "width_scaling.json").read_text())
    assert settings["data_dir"] == str(tmp_path)


def test_rows_of_other_settings_are_not_mixed_in(tmp_path, monkeypatch):
    measured = []

    def measure(network, options):
        measured.append(network)
        return [
            {**dict.fromkeys(peers.COLUMNS, 1), **cell_of(network), "method": method}
            for method in peers.METHODS
        ]

    def cell_of(task):
        return {"data": task.data.name, "width": task.width}

    monkeypatch.setattr(peers, "measure_own", measure)
    line = ["--quick", "--data", "diabetes", "--out", str(tmp_path)]
    assert len(peers.main(line)) == len(peers.METHODS)
    assert len(measured) == 1
    with pytest.raises(SystemExit, match=r"--draws 120 \(now 50\): give those, or another --out"):
        peers.main([*line, "--draws", "50"])
    # Nothing was measured, and what is there is as it was.
    assert len(measured) == 1
    assert json.loads((tmp_path / "peers.json").read_text())["draws"] == 120
    assert len(peers.main([*line, "--widths", "512", "64"])) == 2 * len(peers.METHODS)
    assert len(measured) == 2
    # A task's rows too.
    width_line = ["--data", "diabetes", "--seed", "3", "--out", str(tmp_path)]
    folder = tmp_path / "task_0"
    folder.mkdir()
    (folder / "width_scaling.json").write_text('{"seed": 4}')
    row = dict.fromkeys(width_scaling.COLUMNS, 1)
    write_csv(folder / "width_scaling.csv", [row], width_scaling.COLUMNS)
    with pytest.raises(SystemExit, match=r"--seed 4 \(now 3\)"):
        width_scaling.main([*width_line, "--resume"])


def test_rows_that_hold_nan_are_counted_once(tmp_path):
    columns = ("data", "width", "acceptance")
    row = {"data": "a", "width": 4, "acceptance": float("nan")}
    for folder in (tmp_path, tmp_path / "task_0", tmp_path / "task_1"):
        folder.mkdir(exist_ok=True)
        write_csv(folder / "t.csv", [row], columns)

    def read(path):
        return read_csv(path, columns, ("width",))

    assert len(_tasks.earlier(tmp_path, "t.csv", read, tmp_path / "t.csv")) == 1
