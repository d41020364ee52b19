"""A module split into whitened hidden parameters and a linear readout."""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from bnnsample._lenient import lenient
from bnnsample.models._modules._binding import Binding, check_fits, layer_of, name_of
from bnnsample.models._modules._inverse import coordinates
from bnnsample.models._modules._priors import hidden_priors
from bnnsample.models._modules._readout import find_readout

Layers = Sequence[dict[str, Array]]


class Split:
    """A module's hidden layers as functions of standard normals, layer by layer.

    Attributes:
        binding: the module.
        readout: its last layer.
        layers: for each hidden layer with parameters, their paths: those with most axes first,
            which is the order in which they are drawn.
    """

    def __init__(
        self,
        binding: Binding,
        prior: Any,
        readout: str | None,
        scales: Mapping[str, Any] | None = None,
    ):
        self.binding = binding
        self.readout = find_readout(binding, readout)
        self._prior = prior
        self._priors = hidden_priors(binding, prior, self.readout.path, scales)
        layers: dict[str, list[str]] = {}
        for path, whitening in self._priors.items():
            if whitening is not None:
                layers.setdefault(layer_of(path), []).append(path)
        self.layers = [
            sorted(paths, key=lambda path: -len(binding.canonical_shape(path)))
            for paths in layers.values()
        ]

    def at(self, scales: Mapping[str, Any]) -> "Split":
        """The same with other values, maybe traced, of the scales that its prior takes."""
        split = copy.copy(self)
        split._priors = hidden_priors(self.binding, self._prior, self.readout.path, scales)
        return split

    def draw(self, key: Array) -> list[dict[str, Array]]:
        """Standard normals for every hidden parameter, as ``ntk.layers`` draws its own."""
        drawn = []
        keys = jax.random.split(key, max(len(self.layers), 1))
        for layer_key, paths in zip(keys, self.layers, strict=False):
            parameter_keys = jax.random.split(layer_key, max(len(paths), 2))
            drawn.append(
                {
                    name_of(path): self._normal(parameter_keys[i], path)
                    for i, path in enumerate(paths)
                }
            )
        return drawn

    def features(self, layers: Layers, x: Array) -> Array:
        """The readout's inputs ``[n, p0]``."""
        values = self.hidden_values(layers)

        def features(values: dict[str, Array], x: Array) -> Array:
            return self.binding.features(values, x, self.readout.path)

        if not self.binding.batched:
            features = jax.vmap(features, (None, 0))
        return lenient(features)(values, x)

    def hidden_values(self, layers: Layers) -> dict[str, Array]:
        """The module's own parameters by path, but those of the readout."""
        u = {
            path: layer[name_of(path)]
            for paths, layer in zip(self.layers, layers, strict=True)
            for path in paths
        }
        return {
            path: self._zeros(path)
            if whitening is None
            else self.binding.native(path, whitening(u[path]))
            for path, whitening in self._priors.items()
        }

    def assemble(self, layers: Layers, kernel: Array, bias: Array) -> Any:
        """The framework's structure, for outputs ``features @ kernel [p0, d] + bias [d]``."""
        values = self.hidden_values(layers)
        readout = self.readout
        kernel = kernel / jnp.asarray(readout.kernel_scale, kernel.dtype)
        values[readout.kernel] = kernel.T if readout.transposed else kernel
        if readout.bias is not None:
            values[readout.bias] = bias / jnp.asarray(readout.bias_scale, bias.dtype)
        return self.binding.assemble({path: values[path] for path in self.binding.shapes})

    def take(self, structure: Any) -> tuple[list[dict[str, Array]], Array, Array]:
        """``layers``, ``kernel`` and ``bias`` of the framework's structure."""
        given = self.binding.take(structure)
        check_fits(given, self.binding.shapes)
        values = {path: jnp.asarray(value, self.binding.dtype) for path, value in given.items()}
        for path, whitening in self._priors.items():
            if whitening is None and jnp.any(values[path] != 0):
                raise ValueError(f"parameter {path!r} must be 0, as its prior has it")
        layers = [
            {name_of(path): self._coordinates(path, values[path]) for path in paths}
            for paths in self.layers
        ]
        readout = self.readout
        kernel = values[readout.kernel]
        kernel = (kernel.T if readout.transposed else kernel) * readout.kernel_scale
        bias = jnp.zeros(readout.num_outputs, kernel.dtype)
        if readout.bias is not None:
            bias = values[readout.bias] * readout.bias_scale
        return layers, kernel, bias

    def _coordinates(self, path: str, value: Array) -> Array:
        whitening = self._priors[path]
        assert whitening is not None
        return coordinates(path, whitening, self.binding.canonical(path, value))

    def _normal(self, key: Array, path: str) -> Array:
        # Drawn flat: the same numbers, and XLA compiles them faster.
        shape = self.binding.canonical_shape(path)
        return jax.random.normal(key, (math.prod(shape),), self.binding.dtype).reshape(shape)

    def _zeros(self, path: str) -> Array:
        return jnp.zeros(self.binding.shapes[path], self.binding.dtype)
