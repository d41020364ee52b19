"""What a run needs to know of a kernel."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from bnnsample.kernels._reference import half_square

Pytree = Any
Potential = Callable[[Pytree], Array]
Parameters = dict[str, Any]


class Statistics(NamedTuple):
    """One transition: ``n_steps`` counts gradients, or potentials for gradient-free kernels.

    ``non_finite`` counts proposals whose potential or gradient was not finite; they are rejected.
    """

    acceptance_rate: Array
    diverging: Array
    non_finite: Array
    n_steps: Array
    step_size: Array


@dataclass(frozen=True, eq=False)
class KernelSpec:
    """A kernel with its parameters, defaults and adaptation.

    Attributes:
        name: as given to ``run``.
        init: ``(key, target, position) -> state``; a state has a ``position``.
        step: ``(key, target, state, parameters) -> (state, Statistics)``.
        view: what of a posterior the kernel takes as its target: the potential, or more.
        log_density: ``state -> log density`` of the position up to a constant.
        defaults: every option with its default. ``step_size`` None: adapted.
        static: options that shape the compiled program, beside those left at None.
        target_acceptance: default target of dual averaging; None: nothing is adapted.
        initial_step_size: where dual averaging starts.
        max_step_size: its upper bound.
        has_metric: a diagonal inverse mass matrix is adapted as well.
        tuner: BlackJAX's own tuner in place of dual averaging,
            ``(key, potential, state, num_steps, parameters) -> (state, parameters)``.
        complete: fills in options that follow from others the user gave.
        candidates: settings to try on the chains once the step size is adapted,
            ``(step_size, parameters) -> [changes to parameters]``; the one with the highest
            ``score`` is kept.
        acceptance_power: how effective samples per draw grow with a candidate's acceptance rate.
        needs_dimensions: refused for a chain with no coordinate to move.
        needs_units: moves the units of the last hidden layer, in collapsed coordinates alone.
        needs_surrogate: alternates with the readout, in the repriorised coordinates of a
            likelihood that is not Gaussian.
        is_chain: False: draws are chosen from weighted prior draws before sampling, in collapsed
            coordinates alone, and ``init`` takes that choice for a position.
        is_exact: leaves the posterior invariant (False: biased by its step size).
    """

    name: str
    init: Callable[[Array, Potential, Pytree], Any]
    step: Callable[[Array, Potential, Any, Parameters], tuple[Any, Statistics]]
    log_density: Callable[[Any], Array]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    static: frozenset[str] = frozenset()
    target_acceptance: float | None = None
    initial_step_size: float = 0.5
    max_step_size: float = float("inf")
    has_metric: bool = False
    tuner: Callable[..., tuple[Any, Parameters]] | None = None
    tuner_gradients: int = 0
    complete: Callable[[Parameters], Parameters] = lambda parameters: parameters
    view: Callable[[Any], Any] = lambda posterior: posterior.potential
    candidates: Callable[[float, Parameters], list[Parameters]] | None = None
    acceptance_power: float = 2.0
    needs_dimensions: bool = False
    needs_units: bool = False
    needs_surrogate: bool = False
    is_chain: bool = True
    is_exact: bool = True

    def score(self, acceptance_rate: float, num_gradients: float) -> float:
        """What grows with effective samples per gradient, of so many in a draw of all chains."""
        return acceptance_rate**self.acceptance_power / num_gradients

    def split(self, parameters: Parameters) -> tuple[Parameters, Parameters]:
        """Options a program is built for (None: derived inside) and those it takes as arrays."""
        static = {k: v for k, v in parameters.items() if v is None or k in self.static}
        return static, {k: jnp.asarray(v) for k, v in parameters.items() if k not in static}


def log_density_of(potential: Potential) -> Potential:
    """The log density ``-potential(q) - |q|^2 / 2`` that BlackJAX's kernels take."""
    return lambda position: (
        -potential(position) - half_square(position).astype(jax.tree.leaves(position)[0].dtype)
    )
