"""A model of this library: layers, and what rebuilds them from a stored result."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from bnnsample.models._layers import from_layers
from bnnsample.models._model import Model
from ntk.layers import Layer


def named(network: Layer, name: str, arguments: Mapping[str, Any]) -> Model:
    """The model ``name(**arguments)``, described where its activation has a name too."""
    description = dict(arguments) if isinstance(arguments["activation"], str) else None
    return dataclasses.replace(from_layers(network), name=name, description=description)
