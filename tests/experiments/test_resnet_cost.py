"""The residual network's cost experiment end to end at its smallest."""

import jax
import pytest

from experiments import resnet_cost


@pytest.mark.slow
def test_every_figure_is_there():
    with jax.enable_x64(False):
        figures = resnet_cost.main(["--quick", "--steps", "2"])
    assert figures["run_gradients"] == 6
    # 9 convolutions of a stem and three blocks, widths 4, 8 and 16, with biases.
    weights = 9 * (3 * 4 + 3 * 4 * 4 + 2 * 4 * 8 + 8 * 8 + 2 * 8 * 16 + 16 * 16)
    biases = 4 + 3 * 4 + 3 * 8 + 3 * 16
    assert figures["parameters"] == weights + biases
    assert figures["gradient_temporary_mib"] > 0
    assert 0 < figures["run_acceptance"] <= 1
