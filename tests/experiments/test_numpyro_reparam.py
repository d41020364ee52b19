"""The NumPyro experiment at its smallest."""

import json

import jax
import numpy as np
import pandas as pd
import pytest

from experiments import numpyro_reparam


@pytest.mark.slow
def test_end_to_end(tmp_path, capsys):
    arguments = ["--width", "8", "--n-train", "6", "--num-warmup", "20", "--num-samples", "20"]
    arguments += ["--num-chains", "1", "--max-tree-depth", "3", "--out", str(tmp_path)]
    with (
        jax.enable_x64(False),
        jax.numpy_rank_promotion("allow"),
        jax.numpy_dtype_promotion("standard"),
    ):
        table = numpyro_reparam.main(arguments)
    assert list(table.index) == list(numpyro_reparam.METHODS)
    assert np.isfinite(table.drop(columns="r_hat").to_numpy()).all()
    assert (table.f >= 1).all()
    assert "standard / reparam" in capsys.readouterr().out


def test_nothing_is_measured_twice(tmp_path, monkeypatch):
    sampled = []

    def sample(method, data, options):
        sampled.append((method, options.width))
        rng = np.random.default_rng(len(sampled))
        draws = {group: rng.normal(size=(2, 30, 3)) for group in numpyro_reparam.GROUPS}
        return draws, np.full((2, 30), 7), 0.5

    monkeypatch.setattr(numpyro_reparam, "sample", sample)
    line = ["--n-train", "6", "--num-samples", "30", "--out", str(tmp_path)]
    numpyro_reparam.main([*line, "--width", "8", "--methods", "standard"])
    table = numpyro_reparam.main([*line, "--width", "8"])
    assert sampled == [(method, 8) for method in numpyro_reparam.METHODS]
    pd.testing.assert_frame_equal(numpyro_reparam.main([*line, "--width", "8"]), table)
    assert len(sampled) == 3
    assert list(table.columns) == list(numpyro_reparam.FIGURES)
    # Another width has rows of its own.
    numpyro_reparam.main([*line, "--width", "16", "--methods", "reparam"])
    assert sampled[3:] == [("reparam", 16)]
    assert len(pd.read_csv(tmp_path / "numpyro_reparam.csv")) == 4
    assert (tmp_path / "numpyro_reparam.png").read_bytes().startswith(b"\x89PNG")
    settings = json.loads((tmp_path / "numpyro_reparam.json").read_text())
    assert settings["width"] == 16
    assert settings["versions"]["jax"] == jax.__version__
