"""A sweep shared out among tasks: every cell once, and one table of all."""

import argparse
from pathlib import Path

import pytest

from experiments import _tasks, likelihood_speed, predictive_quality, width_scaling


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
    assert _tasks.own(cells, options("--num-tasks", "4")) == cells


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
    assert files == [str(Path(f"task_{i}") / "width_scaling.csv") for i in range(2)]
    rows = width_scaling.main([*line, "--resume"])
    assert measured == [4, 16, 8]
    assert sorted(row["width"] for row in rows) == [4, 8, 16]
    assert (tmp_path / "width_scaling.png").exists()
