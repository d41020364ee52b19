"""Predictions against their cost: differences in pairs, and rows that are kept."""

import jax
import numpy as np
import pytest

from experiments import predictive_budget
from experiments.predictive_quality import OURS, STANDARD


def rows_of(nlls):
    """Rows of one number of steps: ``{method: nll of each split}``."""
    return [
        {"data": "d", "split": split, "steps": 30, "method": method, "nll": nll}
        | {"error": 0.1, "gradients": 1000 * (split + 1), "seconds": 1.0}
        for method, values in nlls.items()
        for split, nll in enumerate(values)
    ]


def test_differences_are_of_the_same_split(tmp_path):
    infinite, hmc = STANDARD
    # Splits differ by far more than methods do.
    rows = rows_of({OURS: (1.0, 5.0), infinite: (1.2, 5.4), hmc: (0.9, 4.9)})
    mean, error = predictive_budget.above_ours(rows, "d", 30, infinite)
    np.testing.assert_allclose((mean, error), (0.3, 0.1), rtol=1e-12)
    line = predictive_budget.table(rows).splitlines()[-1]
    assert line == "| d | 30 | 1,500 | 3.0000 | +0.3000 ± 0.1000 | -0.1000 ± 0.0000 |"
    predictive_budget.plot(rows, tmp_path / "f.png")
    single = [row for row in rows if row["split"] == 0]
    line = predictive_budget.table(single).splitlines()[-1]
    assert line == "| d | 30 | 1,000 | 1.0000 | +0.2000 | -0.1000 |"
    assert (tmp_path / "f.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    "line", ["--steps 5", "--temperature 0", "--splits 0", "--width 0", "--data iris"]
)
def test_impossible_options_are_refused(line, capsys):
    with pytest.raises(SystemExit):
        predictive_budget.parse(line.split())
    assert line.split()[0] in capsys.readouterr().err


@pytest.mark.slow
def test_end_to_end(tmp_path):
    arguments = ["--data", "breast_cancer", "--splits", "1", "--width", "4", "--steps", "30"]
    arguments += ["--most-training", "20", "--out", str(tmp_path)]
    with jax.enable_x64(False):
        rows = predictive_budget.main(arguments)
        # Nothing is measured again.
        again = predictive_budget.main(arguments)
    assert [row["method"] for row in rows] == [OURS, *STANDARD]
    assert [row["nll"] for row in again] == [row["nll"] for row in rows]
    ours, *others = rows
    assert all(row["gradients"] >= ours["gradients"] for row in others)
    names = {"predictive_budget.csv", "predictive_budget.json", "predictive_budget.png"}
    assert {path.name for path in tmp_path.iterdir()} == names
