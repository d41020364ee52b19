"""The NumPyro experiment at its smallest."""

import jax
import numpy as np
import pytest

from experiments import numpyro_reparam


@pytest.mark.slow
def test_end_to_end(capsys):
    arguments = ["--width", "8", "--n-train", "6", "--num-warmup", "20", "--num-samples", "20"]
    arguments += ["--num-chains", "1", "--max-tree-depth", "3"]
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
