"""A network with a linear readout: hidden parameters, features, readout."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from bnnsample._unknowns import Unknown
from ntk.layers import Layer

Pytree = Any
Width = int | Sequence[int]


@dataclass(frozen=True)
class UnitLayer:
    """The last hidden layer as a set of units, for kernels that move unit by unit.

    Attributes:
        lower: ``(h, x) -> z``, the layer's inputs, a function of the other layers.
        get: ``h -> units``, the layer's parameters; the last axis of every leaf is the unit.
        put: ``(h, units) -> h``; ``h`` may hold None in the layer's place.
        features: ``(units, z) -> [n, p0]``; column ``j`` is a function of unit ``j`` alone.
    """

    lower: Callable[[Pytree, Array], Array]
    get: Callable[[Pytree], Pytree]
    put: Callable[[Pytree, Pytree], Pytree]
    features: Callable[[Pytree, Array], Array]


@dataclass(frozen=True)
class Model:
    """``f(x) = Psi(x; h) W`` with every parameter's prior N(0, 1).

    ``init_hidden(key, x, width) -> h`` draws the hidden parameters from their prior and
    ``hidden_features(h, x) -> [n, p0]`` are the unscaled features. The scaled features are

        Psi = [readout_weight_std / sqrt(p0) * hidden_features(h, x), readout_bias_std]

    with the constant column last, left out when ``readout_bias_std`` is 0. The two scales
    are standard deviations. ``description`` holds what is needed to rebuild a model of this
    library from a stored result; it is ``None`` for a network of the user's own.
    ``units`` names the last hidden layer's units where the network has them. ``network`` is the
    whole network, readout included, where layers describe it.

    Prior scales may be unknown: ``unknowns`` has their priors by name, ``to_fit`` the names of
    those that maximise the marginal likelihood, and ``at`` is the model for values of them.
    Until then numbers stand in their place that mean nothing.
    """

    init_hidden: Callable[[Array, Array, Width], Pytree]
    hidden_features: Callable[[Pytree, Array], Array]
    readout_weight_std: float = 1.0
    readout_bias_std: float = 0.1
    name: str = "model"
    description: Mapping[str, Any] | None = field(default=None, compare=False)
    units: UnitLayer | None = field(default=None, compare=False)
    network: Layer | None = field(default=None, compare=False)
    unknowns: Mapping[str, Unknown] = field(default_factory=dict, compare=False)
    to_fit: tuple[str, ...] = ()
    rescaled: Callable[[Mapping[str, Any]], "Model"] | None = None

    def at(self, values: Mapping[str, Any]) -> "Model":
        """The model with these values of its unknown prior scales; other names are ignored."""
        return self if self.rescaled is None else self.rescaled(values)

    @property
    def has_bias(self) -> bool:
        """Whether the readout has one: a scale that is being traced is never zero."""
        return isinstance(self.readout_bias_std, jax.core.Tracer) or self.readout_bias_std != 0

    def init(self, key: Array, x: Array, width: Width, num_outputs: int = 1) -> dict[str, Pytree]:
        """A draw from the prior, ``{"hidden": h, "readout": W [p, num_outputs]}``.

        The dtype follows ``x [n, ...]``; only its trailing shape is used.
        """
        x = jnp.asarray(x)
        hidden_key, readout_key = jax.random.split(key)
        hidden = self.init_hidden(hidden_key, x, width)
        psi = jax.eval_shape(self.features, hidden, x[:1])
        readout = jax.random.normal(readout_key, (psi.shape[1], num_outputs), psi.dtype)
        return {"hidden": hidden, "readout": readout}

    def features(self, hidden: Pytree, x: Array) -> Array:
        """Scaled features ``Psi [n, p]`` of inputs ``x [n, ...]``, the bias column last."""
        psi = self.scaled(self.hidden_features(hidden, x))
        if not self.has_bias:
            return psi
        scale = jnp.asarray(self.readout_bias_std, psi.dtype)
        bias = jnp.broadcast_to(scale, (psi.shape[0], 1))
        return jnp.concatenate([psi, bias], axis=1)

    def scaled(self, phi: Array) -> Array:
        """``readout_weight_std / sqrt(p0)`` times unscaled features ``[n, p0]``."""
        return phi * jnp.asarray(self.readout_weight_std / phi.shape[1] ** 0.5, phi.dtype)

    def apply(self, parameters: Mapping[str, Pytree], x: Array) -> Array:
        """The network's outputs ``[n, d]`` for ``parameters`` as ``init`` returns them."""
        return self.features(parameters["hidden"], x) @ parameters["readout"]

    def to_framework(self, parameters: Mapping[str, Pytree]) -> Pytree:
        """Parameters in the structure of the framework that the network is written in, if any."""
        return parameters

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickled by name and arguments where those rebuild it, else by its functions."""
        if self.description is not None:
            return _by_name, (self.name, dict(self.description))
        return super().__reduce_ex__(protocol)

    def __deepcopy__(self, memo: Any) -> "Model":
        """Itself: nothing in it changes, and compiled programs know it by identity."""
        return self


def _by_name(name: str, arguments: Mapping[str, Any]) -> Model:
    from bnnsample import models  # noqa: PLC0415  (it imports this module)

    return getattr(models, name)(**arguments)
