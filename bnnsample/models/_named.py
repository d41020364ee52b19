"""A model of this library: layers, and what rebuilds them from a stored result."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from bnnsample.models._layers import of_layers
from bnnsample.models._model import Model
from bnnsample.models._prior_scales import PriorScales, with_prior_scales
from ntk.layers import Layer


def named(
    network: Callable[[dict[str, Any]], Layer],
    name: str,
    arguments: Mapping[str, Any],
    scales: PriorScales,
) -> Model:
    """The model ``name(**arguments, **scales)``, described where its activation has a name too."""
    description = dict(arguments) if isinstance(arguments["activation"], str) else None

    def build(values: dict[str, Any]) -> Model:
        return dataclasses.replace(of_layers(network(values)), name=name, description=description)

    return with_prior_scales(build, scales)
