"""The wide residual network without normalisation."""

import dataclasses
from collections.abc import Callable
from typing import Any

from jax import Array

from bnnsample.models._checks import checked_depth
from bnnsample.models._model import Model
from bnnsample.models._named import named
from bnnsample.models._prior_scales import prior_scales
from bnnsample.models._residual_scaling import residual_weights
from ntk.layers import Activation, Conv, Dense, GlobalAvgPool, Layer, Residual, Scale, Serial

GROUPS = 3


def resnet(
    depth: int = 8,
    activation: str | Callable[[Array], Array] = "relu",
    residual_scaling: str = "progressive_one",
    weight_std: Any = 2.0**0.5,
    bias_std: Any = 0.1,
    readout_weight_std: Any = 1.0,
    readout_bias_std: Any = 0.1,
) -> Model:
    """The wide residual network of Hron et al. 2022, for images ``[n, height, width, channels]``.

    All convolutions are 3 x 3 with zero padding, in NTK parameterisation:

        x_0 = conv(x)
        x_b = alpha_b shortcut(x_{b-1}) + beta_b conv(activation(conv(activation(x_{b-1}))))
        Psi = readout's scale times the mean of x_{3k} over its positions

    ``depth = 6 k + 2``: three groups of ``k`` blocks, of ``width``, ``2 width`` and ``4 width``
    channels. The first block of a group has a convolution for its shortcut, the others the
    identity; that of the second and third group has stride 2, in its shortcut too. Nothing is
    normalised (Zagoruyko and Komodakis 2016, without batch normalisation): the weights ``alpha_b``
    and ``beta_b`` keep the variance instead. No activation follows the last block.

    Every parameter has prior N(0, 1); the scales are standard deviations, which may be unknown as
    in ``mlp``. ``weight_std`` is that
    of the convolutions that follow an activation; the first one and shortcuts have 1. The width,
    given at run time, is an int, or one per convolution, 6 k + 4 of them: shortcuts come before
    the block they skip, and groups multiply theirs by 1, 2 and 4.

    Args:
        depth: ``6 k + 2``: 8, 14, 20, ...
        activation: a name of ``ntk.ACTIVATIONS``, or any elementwise function.
        residual_scaling: with blocks counted from ``b = 1``, and ``alpha_b^2 = 1 - beta_b^2``:

            - ``"uniform"``: ``beta_b^2 = 1 / 2``.
            - ``"progressive_one"``: ``beta_b^2 = 1 / (b + 1)``.
            - ``"progressive_depth"``: ``beta_b^2 = 1 / (b + c)`` with ``c = 3 k / 2``, half the
              number of blocks.
            - ``"none"``: ``alpha_b = beta_b = 1``, the plain sum.

            Progressive weights are those of Shao et al. 2020, "Is normalization indispensable for
            training deep neural network?"; their constant c and the names are of Hron et al. 2022.

    Raises:
        TypeError: an argument of another type.
        ValueError: another ``depth``, a negative scale, or an unknown name.
    """
    depth = checked_depth(depth)
    num_blocks, rest = divmod(depth - 2, 2 * GROUPS)
    if rest or num_blocks < 1:
        raise ValueError(f"depth must be 6 k + 2 with k of at least 1: 8, 14, 20, ..., got {depth}")
    scales = prior_scales(
        weight_std=weight_std,
        bias_std=bias_std,
        readout_weight_std=readout_weight_std,
        readout_bias_std=readout_bias_std,
    )
    weights = residual_weights(residual_scaling, GROUPS * num_blocks)
    act = Activation(activation)

    def network(s: dict[str, Any]) -> Layer:
        layer = Conv((3, 3), 1, "SAME", s["weight_std"], s["bias_std"])
        blocks = [
            _block(layer, act, weights[b], *divmod(b, num_blocks))
            for b in range(GROUPS * num_blocks)
        ]
        stem = dataclasses.replace(layer, weight_std=1.0)
        readout = Dense(s["readout_weight_std"], s["readout_bias_std"])
        return Serial(stem, *blocks, GlobalAvgPool(), readout)

    arguments = {
        "depth": depth,
        "activation": activation,
        "residual_scaling": residual_scaling,
    }
    return named(network, "resnet", arguments, scales)


def _block(
    conv: Conv, activation: Activation, weights: tuple[float, float], group: int, position: int
) -> Layer:
    """The block at a position in a group, its convolutions like ``conv`` but for their width."""
    alpha, beta = weights
    second = dataclasses.replace(conv, times=2**group)
    first, skip = second, []
    if position == 0:
        first = dataclasses.replace(second, strides=1 if group == 0 else 2)
        skip = [dataclasses.replace(first, weight_std=1.0)]
    shortcut = Serial(*skip, Scale(alpha))
    return Residual(activation, first, activation, second, Scale(beta), shortcut=shortcut)
