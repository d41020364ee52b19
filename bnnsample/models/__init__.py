"""Networks that end in a linear readout, in NTK parameterisation."""

from bnnsample.models._functions import from_functions as from_functions
from bnnsample.models._mlp import mlp as mlp
from bnnsample.models._model import Model as Model

__all__ = ["Model", "from_functions", "mlp"]
