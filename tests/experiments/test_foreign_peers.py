"""Peers of other environments: what is handed over and read back, and interpreters that fail."""

import stat
import sys
import textwrap

import jax
import numpy as np
import pytest

from experiments import _foreign, _peers, peers
from experiments._data import load

TASK = _peers.Task(load("diabetes", 12, seed=0), 8, noise=0.3, warmup=20, draws=40, seed=0)


@pytest.fixture
def interpreter(tmp_path):
    """A program that takes an interpreter's arguments and runs a peer of its own."""

    def make(body):
        path = tmp_path / "python"
        code = textwrap.dedent(body).strip()
        path.write_text(f"#!{sys.executable}\nimport sys\nimport numpy as np\n{code}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    return make


CHAINS = """
    if len(sys.argv) == 3:
        print("sklearn-contrib-bde 1")
        sys.exit()
    task = np.load(sys.argv[3])
    mean = np.tile(task["x_eval"][:, 0], (4, 30, 1)) + np.random.default_rng(0).normal(
        size=(4, 30, 32))
    np.savez(open(sys.argv[4], "wb"), f=mean.reshape(120, 32, 1), f_mean=mean,
             noise=np.full((120, 32, 1), 0.5), gradients=task["budget"], sampling_gradients=90,
             warmup_seconds=1.0, seconds=2.0)
"""


def test_chains_come_back_with_the_noise_they_learned(interpreter):
    python = interpreter(CHAINS)
    assert _foreign.name(python) == "sklearn-contrib-bde 1"
    found = _foreign.find(python, TASK, 500)
    assert found.gradients == 500
    np.testing.assert_allclose(found.f_mean.mean((0, 1)), TASK.data.x_eval[:, 0], atol=0.5)
    row = peers.row_of("bde", TASK, found)
    assert row["ess_per_gradient"] > 0.5
    expected = peers.scores(found.f, TASK.data.y_eval, 0.5, TASK.seed)
    assert {name: row[name] for name in expected} == expected


def test_a_gaussian_comes_back_as_draws(interpreter):
    python = interpreter(
        """
        np.savez(open(sys.argv[4], "wb"), mean=np.full((32, 1), 3.0), variance=np.full(32, 4.0),
                 seconds=1.5)
        """
    )
    found = _foreign.find(python, TASK, 500)
    assert found.f_mean is None
    assert found.seconds == 1.5
    n = found.f.size
    assert abs(found.f.mean() - 3) < 4.5 * 2 / n**0.5
    assert abs(found.f.var() / 4 - 1) < 4.5 * (2 / n) ** 0.5


def test_what_fails_is_said(interpreter, tmp_path, capsys):
    with pytest.raises(_foreign.PeerError, match="No such file"):
        _foreign.name(str(tmp_path / "none"))
    with pytest.raises(_foreign.PeerError, match="it has none of sklearn-contrib-bde"):
        _foreign.name(sys.executable)
    with pytest.raises(_foreign.PeerError, match="RuntimeError: no memory"):
        _foreign.find(interpreter("raise RuntimeError('no memory')"), TASK, 10)
    with pytest.raises(SystemExit):
        peers.main(["--peer-python", sys.executable, "--out", str(tmp_path)])
    assert "--peer-python" in capsys.readouterr().err


def test_the_network_handed_over_is_the_tasks(tmp_path):
    """Scales of weights and biases, hidden layer and readout."""
    assert _foreign.scales_of(TASK) == [(2**0.5, 0.1), (1.0, 0.1)]


def test_peers_of_other_environments_join_a_finished_cell(interpreter, tmp_path, monkeypatch):
    """Only what is missing is measured; a peer of one output is left out where there are ten."""
    python = interpreter(CHAINS)
    own = [
        {
            **dict.fromkeys(peers.COLUMNS, 0.5), "data": data, "width": 4, "method": method,
            "gradients": 300,
        }
        for data in ("diabetes", "digits")
        for method in peers.METHODS
    ]  # fmt: skip
    arguments = ["--data", "diabetes", "digits", "--widths", "4", "--out", str(tmp_path)]
    sweep = peers.sweep_of(peers.parse(arguments))
    for row in own:
        sweep.keep(row)
    monkeypatch.setattr(peers, "measure_own", None)
    with jax.enable_x64(False):
        for _ in range(2):
            rows = peers.main([*arguments, "--peer-python", python])
    new = [row for row in rows if row["method"] not in peers.METHODS]
    assert [(row["data"], row["method"]) for row in new] == [("diabetes", "sklearn-contrib-bde 1")]
    assert new[0]["gradients"] == 300
