"""The units of a network's last hidden layer, where features keep them apart."""

from collections.abc import Sequence

from bnnsample.models._model import UnitLayer
from bnnsample.models._stack import draws, forward
from ntk.layers import (
    Activation,
    AvgPool,
    Conv,
    Dense,
    GlobalAvgPool,
    GlobalSumPool,
    Layer,
    MaxPool,
    Scale,
    SumPool,
)

CHANNEL_BY_CHANNEL = (
    Activation,
    AvgPool,
    GlobalAvgPool,
    GlobalSumPool,
    MaxPool,
    Scale,
    SumPool,
)


def units_of(layers: Sequence[Layer]) -> UnitLayer | None:
    """The units of the last layer with weights; None where features mix them or a unit has many.

    Units are neurons of ``Dense`` and channels of ``Conv``. Every layer that follows has to act
    channel by channel, and to leave one feature for each.
    """
    last = max((i for i, layer in enumerate(layers) if draws(layer)), default=None)
    if last is None or not isinstance(layers[last], (Dense, Conv)):
        return None
    if not all(isinstance(layer, CHANNEL_BY_CHANNEL) for layer in layers[last + 1 :]):
        return None
    return UnitLayer(
        lower=lambda hidden, x: forward(layers[:last], hidden[:-1], x),
        get=lambda hidden: hidden[-1],
        put=lambda hidden, units: [*hidden[:-1], units],
        features=lambda units, z: forward(layers[last:], [units], z),
    )
