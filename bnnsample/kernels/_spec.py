"""What a run needs to know of a kernel."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
from jax import Array

from bnnsample.kernels._reference import half_square

Pytree = Any
Potential = Callable[[Pytree], Array]
Parameters = dict[str, Any]


class Statistics(NamedTuple):
    """One transition: ``n_steps`` counts gradients, or potentials for gradient-free kernels."""

    acceptance_rate: Array
    diverging: Array
    n_steps: Array
    step_size: Array


@dataclass(frozen=True, eq=False)
class KernelSpec:
    """A kernel with its parameters, defaults and adaptation.

    Attributes:
        name: as given to ``run``.
        init: ``(key, potential, position) -> state``; a state has a ``position``.
        step: ``(key, potential, state, parameters) -> (state, Statistics)``.
        log_density: ``state -> log density`` of the position up to a constant.
        defaults: every option with its default. ``step_size`` None: adapted.
        target_acceptance: default target of dual averaging; None: nothing is adapted.
        initial_step_size: where dual averaging starts.
        max_step_size: its upper bound.
        has_metric: a diagonal inverse mass matrix is adapted as well.
        tuner: BlackJAX's own tuner in place of dual averaging,
            ``(key, potential, state, num_steps, parameters) -> (state, parameters)``.
        needs_dimensions: refused for a chain with no coordinate to move.
        is_exact: leaves the posterior invariant (False: biased by its step size).
    """

    name: str
    init: Callable[[Array, Potential, Pytree], Any]
    step: Callable[[Array, Potential, Any, Parameters], tuple[Any, Statistics]]
    log_density: Callable[[Any], Array]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    target_acceptance: float | None = None
    initial_step_size: float = 0.5
    max_step_size: float = float("inf")
    has_metric: bool = False
    tuner: Callable[..., tuple[Any, Parameters]] | None = None
    tuner_gradients: int = 0
    needs_dimensions: bool = False
    is_exact: bool = True


def log_density_of(potential: Potential) -> Potential:
    """The log density ``-potential(q) - |q|^2 / 2`` that BlackJAX's kernels take."""
    return lambda position: (
        -potential(position) - half_square(position).astype(jax.tree.leaves(position)[0].dtype)
    )
