"""Networks that end in a linear readout, in NTK parameterisation."""

from bnnsample.models._cnn import cnn as cnn
from bnnsample.models._functions import from_functions as from_functions
from bnnsample.models._layers import from_layers as from_layers
from bnnsample.models._mlp import mlp as mlp
from bnnsample.models._model import Model as Model
from bnnsample.models._modules import fan_in as fan_in
from bnnsample.models._modules import from_equinox as from_equinox
from bnnsample.models._modules import from_flax as from_flax
from bnnsample.models._resnet import resnet as resnet

__all__ = [
    "Model",
    "cnn",
    "fan_in",
    "from_equinox",
    "from_flax",
    "from_functions",
    "from_layers",
    "mlp",
    "resnet",
]
