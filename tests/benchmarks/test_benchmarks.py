"""The table, what it is compared with, and the ratio of two calls."""

import json
import time

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import _cases


@pytest.fixture
def cases(monkeypatch):
    ratios = {"one": 0.5, "other": 2.0}
    found = {name: (lambda name=name: ratios[name]) for name in ratios}
    monkeypatch.setattr(benchmarks, "CASES", found)
    return ratios


def test_ratios_are_kept_and_compared(cases, tmp_path, capsys):
    last = tmp_path / "last.json"
    assert benchmarks.main(["--keep"], last) == 0
    assert json.loads(last.read_text())["ratios"] == cases
    cases["one"] = 0.7
    assert benchmarks.main([], last) == 0
    cases["one"] = 0.8
    assert benchmarks.main([], last) == 1
    assert "1.5 times the last release's: one\n" in capsys.readouterr().out
    assert benchmarks.main(["--only", "other"], last) == 0
    # Nothing is written but for a release.
    assert json.loads(last.read_text())["ratios"]["one"] == 0.5


def test_the_ratio_of_two_calls_in_turn(monkeypatch):
    """Sleeps of 4 and 1 ms on a clock that only they move."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def sleeper(seconds):
        def call():
            now[0] += seconds
            return ()

        return call

    assert _cases.in_turn(sleeper(0.004), sleeper(0.001)) == pytest.approx(4.0)


def test_every_case_says_what_it_is():
    assert all(case.__doc__ for case in _cases.CASES.values())
    assert set(json.loads(benchmarks.LAST.read_text())["ratios"]) == set(_cases.CASES)
