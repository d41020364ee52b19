"""Prior scales of a network: numbers, unknowns with a prior, or to be fitted to the data."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpyro.distributions as dist

from bnnsample._arguments import shown
from bnnsample._scale import EMPIRICAL_BAYES, check_prior
from bnnsample._unknowns import Unknown
from bnnsample.models._checks import check_standard_deviation
from bnnsample.models._model import Model

# What stands in an unknown's place where nothing but shapes matters.
PLACEHOLDER = 1.0


@dataclass(frozen=True)
class PriorScales:
    """Standard deviations by name.

    Attributes:
        given: each a number, a NumPyro distribution, ``"empirical-bayes"``, or a tuple of these,
            one per layer. An unknown of a tuple is called by its layer too: ``weight_std_0``.
    """

    given: Mapping[str, Any]

    @property
    def unknowns(self) -> dict[str, Unknown]:
        return {k: Unknown(v) for k, v in self._named() if isinstance(v, dist.Distribution)}

    @property
    def to_fit(self) -> tuple[str, ...]:
        return tuple(k for k, v in self._named() if isinstance(v, str))

    def values(self) -> dict[str, Any]:
        """Numbers, with placeholders for those that have none."""
        missing = {**self.unknowns, **dict.fromkeys(self.to_fit)}
        return dict(self.at(dict.fromkeys(missing, PLACEHOLDER)).given)

    def at(self, values: Mapping[str, Any]) -> "PriorScales":
        """The same with numbers, maybe traced, for those whose name is in ``values``.

        Raises:
            TypeError, ValueError: a value that is not a positive number.
        """

        def put(name: str, scale: Any) -> Any:
            if isinstance(scale, tuple):
                return tuple(put(f"{name}_{i}", s) for i, s in enumerate(scale))
            if name not in values or not _is_open(scale):
                return scale
            return _checked_number(name, values[name])

        return PriorScales({name: put(name, scale) for name, scale in self.given.items()})

    def _named(self) -> list[tuple[str, Any]]:
        flat: list[tuple[str, Any]] = []
        for name, scale in self.given.items():
            if isinstance(scale, tuple):
                flat += [(f"{name}_{i}", s) for i, s in enumerate(scale)]
            else:
                flat.append((name, scale))
        return flat


def prior_scales(num_layers: int | None = None, **scales: Any) -> PriorScales:
    """Checked standard deviations; those of weights are positive, those of biases may be 0.

    A list has one entry per hidden layer, where ``num_layers`` tells how many there are; a
    readout has one scale.

    Raises:
        TypeError, ValueError: a scale that cannot be meant, by its name.
    """

    def checked(name: str, scale: Any) -> Any:
        if isinstance(scale, dist.Distribution):
            check_prior(name, scale)
            return scale
        if isinstance(scale, str) and scale == EMPIRICAL_BAYES:
            return scale
        return _checked_number(name, scale)

    def layered(name: str, scale: Any) -> Any:
        if not isinstance(scale, (list, tuple)):
            return checked(name, scale)
        if num_layers is None or name.startswith("readout"):
            raise TypeError(f"{name} must be one standard deviation, got {len(scale)} of them")
        if len(scale) != num_layers:
            raise ValueError(
                f"{name} has {len(scale)} entries, but the network has {num_layers} hidden layers"
            )
        return tuple(checked(f"{name}[{i}]", s) for i, s in enumerate(scale))

    return PriorScales({name: layered(name, scale) for name, scale in scales.items()})


def scales_by_name(scales: Any) -> dict[str, Any]:
    """The scales that a function of the user's takes by name.

    Raises:
        TypeError, ValueError: not a dict of names, or one of the readout's.
    """
    if not isinstance(scales or {}, Mapping) or any(not isinstance(k, str) for k in scales or {}):
        raise TypeError(f"scales must be a dict by name, got {shown(scales)}")
    taken = sorted({"readout_weight_std", "readout_bias_std"} & set(scales or {}))
    if taken:
        raise ValueError(f"scales: {taken[0]} is an argument of its own")
    return dict(scales or {})


def per_layer(scale: Any, num_layers: int) -> tuple[Any, ...]:
    """One scale for each layer."""
    return scale if isinstance(scale, tuple) else (scale,) * num_layers


def with_prior_scales(build: Callable[[dict[str, Any]], Model], scales: PriorScales) -> Model:
    """The model that ``build`` makes of standard deviations, some of which may be unknown."""
    model = build(scales.values())
    description = model.description
    if description is not None:
        description = {**description, **scales.given}
    if not scales.unknowns and not scales.to_fit:
        return dataclasses.replace(model, description=description)
    return dataclasses.replace(
        model,
        description=description,
        unknowns=scales.unknowns,
        to_fit=scales.to_fit,
        rescaled=lambda values: with_prior_scales(build, scales.at(values)),
    )


def _checked_number(name: str, scale: Any) -> Any:
    """A float, or a traced number as it is; that of biases may be 0."""
    if isinstance(scale, jax.core.Tracer):
        return scale
    check_standard_deviation(name, scale, positive="bias_std" not in name)
    return float(scale)


def _is_open(scale: Any) -> bool:
    return isinstance(scale, (dist.Distribution, str))
