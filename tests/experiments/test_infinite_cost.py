"""What kernels of infinite width cost: the table is written, kept and printed."""

import json
import math

import jax
import pytest

from experiments import infinite_cost
from experiments._rows import read_csv


def test_nothing_is_measured_twice(tmp_path, monkeypatch, capsys):
    measured = []

    def measure(kind, n, depth, repeats):
        measured.append(kind)
        if kind == infinite_cost.MEMORY:
            return {"memory": depth / 4}
        if kind == infinite_cost.DENSE:
            return dict(zip(infinite_cost.SECONDS, (2.0, 3.0, 1.5), strict=True))
        return {"itself_seconds": 0.25}

    monkeypatch.setattr(infinite_cost, "measure", measure)
    rows = infinite_cost.main(["--out", str(tmp_path)])
    assert len(measured) == len(rows) == 7
    printed = capsys.readouterr().out
    assert "1.50 times that" in printed
    assert "0.50 of x1 with x2" in printed
    assert "temporary memory at depth 12   3.00 of one kernel's" in printed
    assert "10,000 with itself" in printed
    monkeypatch.setattr(infinite_cost, "measure", None)
    again = infinite_cost.main(["--out", str(tmp_path)])
    assert repr(again) == repr(rows)
    assert capsys.readouterr().out == printed
    with pytest.raises(TypeError, match="not callable"):
        infinite_cost.main(["--quick", "--out", str(tmp_path)])
    columns = infinite_cost.COLUMNS
    written = read_csv(
        tmp_path / "infinite_cost.csv", columns, ("n", "depth", "repeats"), ("kind",)
    )
    assert repr(written) == repr(rows)
    assert (tmp_path / "infinite_cost.png").read_bytes().startswith(b"\x89PNG")
    settings = json.loads((tmp_path / "infinite_cost.json").read_text())
    assert settings["depth"] == 3
    assert settings["versions"]["jax"] == jax.__version__


@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        (infinite_cost.DENSE, infinite_cost.SECONDS),
        (infinite_cost.ITSELF, ("itself_seconds",)),
        (infinite_cost.MEMORY, ("memory",)),
        ("averaged", ("itself_seconds",)),
    ],
)
def test_figures_are_positive(kind, columns):
    with jax.enable_x64(False):
        found = infinite_cost.measure(kind, 2, 1, 1)
    assert tuple(found) == columns
    assert all(math.isfinite(value) and value >= 0 for value in found.values())
