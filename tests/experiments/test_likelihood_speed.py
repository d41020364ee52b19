"""The speed of likelihoods: what is counted, what is printed, and small runs end to end."""

import csv
import json

import jax
import numpy as np
import pytest

from experiments import _likelihood_table, large_data, likelihood_speed
from experiments._likelihood_table import COLUMNS, HMC, INFINITE, KNOWN, OURS
from experiments._rows import read_csv

LINE = "--widths 4 --n-train 10 --draws 20 --warmup 20 --gradients 100 --out"


def row_of(method, function=0.5, weights=0.5, scale=1.0, r_hat_function=1.0, r_hat_weights=1.0):
    return {
        **dict.fromkeys(COLUMNS, 1.0),
        "data": "breast_cancer",
        "readout_scale": scale,
        "width": 4,
        "num_draws": 1,
        "num_gradients": 1,
        "method": method,
        "ess_per_gradient_function": function,
        "ess_per_gradient_weights": weights,
        "r_hat_function": r_hat_function,
        "r_hat_weights": r_hat_weights,
        "setting": "{}",
    }


def run(out, data="breast_cancer"):
    with jax.enable_x64(False):
        return likelihood_speed.main(["--data", data, *LINE.split(), str(out)])


def check(row):
    assert set(row) == {*COLUMNS, "settings"}
    assert 0 < row["ess_per_gradient_function"] <= 1
    assert 0 < row["ess_per_gradient_weights"] <= 1
    assert row["r_hat_function"] > 0
    assert row["r_hat_weights"] > 0
    assert 0 < row["acceptance"] <= 1


def earlier_rows():
    return [row_of(INFINITE), *(row_of(m, scale=4.0) for m in (OURS, INFINITE, HMC))]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """Ours and HMC at readout scale 1, beside all other rows, which an earlier run left."""
    out = tmp_path_factory.mktemp("likelihoods")
    earlier = earlier_rows()
    sweep = likelihood_speed.sweep_of(likelihood_speed.parse([*LINE.split(), str(out)]))
    for row in earlier:
        sweep.keep(row)
    return run(out), out


def test_what_is_missing_is_measured_and_nothing_else(outcome):
    rows, _ = outcome
    kept = [INFINITE, OURS, HMC, OURS, INFINITE, HMC]
    assert [row["method"] for row in rows] == kept
    assert [row["readout_scale"] for row in rows] == [1, 1, 1, 4, 4, 4]
    for row, expected in zip(rows[:1] + rows[3:], earlier_rows(), strict=True):
        assert {column: row[column] for column in COLUMNS} == expected
    for row in rows[1:3]:
        check(row)


def test_files_are_written_and_read_back(outcome):
    rows, out = outcome
    again = read_csv(out / "likelihood_speed.csv", rows[0], _likelihood_table.WHOLE)
    told = {repr({**row, "setting": str(row["setting"])}) for row in rows}
    assert {repr(row) for row in again} == told
    assert (out / "likelihood_speed.png").read_bytes()[:4] == b"\x89PNG"
    settings = json.loads((out / "likelihood_speed.json").read_text())
    assert settings["widths"] == [4]
    assert settings["versions"]["jax"] == jax.__version__
    assert not list(out.glob("*.part*"))


def test_nothing_is_measured_twice(outcome, monkeypatch):
    rows, out = outcome
    monkeypatch.setattr(likelihood_speed.bnnsample, "run", None)
    monkeypatch.setattr(likelihood_speed, "of_hmc", None)
    assert [row["method"] for row in run(out)] == [row["method"] for row in rows]


@pytest.mark.slow
def test_every_method_has_a_row_with_finite_figures(tmp_path):
    rows = run(tmp_path, "diabetes")
    assert [row["method"] for row in rows] == [OURS, KNOWN, INFINITE, HMC]
    for row in rows:
        check(row)


def test_rows_of_a_table_without_a_column_are_read(tmp_path):
    path = tmp_path / "old.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [c for c in COLUMNS if c != "r_hat_weights"])
        writer.writeheader()
        writer.writerow(
            dict.fromkeys(writer.fieldnames, 2)
            | {"data": "digits", "method": OURS, "setting": "{}"}
        )
    (row,) = read_csv(path, COLUMNS, _likelihood_table.WHOLE)
    assert np.isnan(row["r_hat_weights"])
    assert row["width"] == 2
    assert row["setting"] == "{}"


def test_a_chain_that_did_not_mix_is_marked_for_that_quantity_alone():
    rows = [row_of(OURS, 0.3, 0.2), row_of(HMC, 0.1, 0.05, r_hat_weights=1.2)]
    last = _likelihood_table.ratios(rows).splitlines()[-1]
    assert "| 0.300 / 0.200 |" in last
    assert "| 0.100 / <= 0.050 |" in last
    assert "| 3.0 / 4.0 |" in last


@pytest.mark.parametrize(("name", "outputs"), [("digits", 10), ("breast_cancer", 1)])
def test_labels_are_codes_and_held_out_points_are_others(name, outputs):
    options = likelihood_speed.parse(["--n-train", "60"])
    data, likelihood = likelihood_speed.problem(name, options)
    assert likelihood.num_outputs(data.y) == outputs
    assert data.x.shape[0] == len(data.y) == 60
    labels = likelihood_speed.labels_of(likelihood, data)
    assert set(labels.tolist()) <= set(likelihood.classes)
    assert not {tuple(x) for x in data.x} & {tuple(x) for x in data.x_eval}


def test_gradients_of_many_points(capsys):
    """Both likelihoods in three precisions, near float64."""
    rows = large_data.main(["--n", "30", "--width", "5", "60", "--repeats", "1"])
    assert len(rows) == 12
    assert all(r["gradient_error"] < 1e-3 for r in rows)
    assert {r["gradient_error"] for r in rows if r["precision"] == "float64"} == {0.0}
