"""Hyperparameters of greatest marginal likelihood."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from ntk._float_leaves import path_name
from ntk._kernel_inputs import require_finite
from ntk._operator._arguments import check_count, check_tolerance
from ntk.gp._marginal import log_marginal_likelihood


class Fit(NamedTuple):
    """A maximum of the log marginal likelihood, and whether it is one.

    Attributes:
        hyperparameters: the best that the optimiser visited, in the tree and dtypes they came in.
        value: ``[]``, their log marginal likelihood, in nats.
        gradient_norm: ``[]``, the largest absolute entry of its gradient there.
        num_steps: int ``[]``, steps taken.
        converged: bool ``[]``, ``gradient_norm <= tolerance * max(1, |value|)``.
    """

    hyperparameters: Any
    value: Array
    gradient_norm: Array
    num_steps: Array
    converged: Array


def fit(
    kernel: Callable[[Any, Any, Any], Array],
    hyperparameters: Any,
    x: Any,
    y: Any,
    noise_variance: Any,
    *,
    optimizer: optax.GradientTransformation | None = None,
    tolerance: float | None = None,
    max_steps: int = 200,
    jitter: Any = 0.0,
) -> Fit:
    """Maximise the log marginal likelihood over hyperparameters, by an Optax optimiser.

    The maximum is a local one (Rasmussen & Williams 2006, section 5.4.1). Hyperparameters are
    moved without bounds: let the kernel take those that must be positive as logarithms, say.
    A step to where the kernel is not positive definite counts as infinitely bad.

    Args:
        kernel: ``kernel(hyperparameters, x1, x2) -> [n1, n2]`` or ``[n1, n2, o, o]``, a
            differentiable JAX function, whose compiled program is kept with it.
        hyperparameters: where to start, a pytree of floating point numbers and arrays.
        x: training inputs ``[n, ...]``, an array or a pytree of them.
        y: targets ``[n]`` or ``[n, o]``.
        noise_variance: a variance, one number or one per data point ``[n]``; or a function of the
            hyperparameters that returns such, to learn it.
        optimizer: any ``optax.GradientTransformation``, to descend on minus the log marginal
            likelihood; ``optax.lbfgs()`` unless given.
        tolerance: stop when no entry of the gradient exceeds this times ``max(1, |value|)``; the
            root of machine epsilon unless given.
        max_steps: of the optimiser.
        jitter: relative, as of :func:`log_marginal_likelihood`.

    Returns:
        :class:`Fit`. Look at ``converged``: an optimiser that ran out of steps or precision returns
        the best that it visited.

    Raises:
        NotPositiveDefiniteError: at the hyperparameters to start from.
        TypeError: kernel not callable, hyperparameters that are not floating point.
        ValueError: values that are not finite, or as :func:`log_marginal_likelihood` raises.
    """
    if not callable(kernel):
        raise TypeError(
            f"kernel must be a function kernel(hyperparameters, x1, x2), got "
            f"{type(kernel).__name__}"
        )
    optimizer = _LBFGS if optimizer is None else optimizer
    if not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(
            f"optimizer must be an optax.GradientTransformation, got {type(optimizer).__name__}"
        )
    start = _check_hyperparameters(hyperparameters)
    require_finite("x", x)
    max_steps = check_count("max_steps", max_steps)
    problem = _Problem(kernel, noise_variance if callable(noise_variance) else None)
    data = (x, y, None if callable(noise_variance) else noise_variance, jitter)
    value = problem.objective(start, *data)  # raises what a compiled call cannot
    tolerance = check_tolerance(tolerance, value.dtype)
    # Optax's own arithmetic mixes dtypes and ranks.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return _minimise(
            problem, start, data, optimizer, value.dtype.type(tolerance), np.int32(max_steps)
        )


# Of every call that names none: a new one would be another program.
_LBFGS = optax.lbfgs()


@dataclass(frozen=True, eq=False)
class _Problem:
    """The functions of a fit; equal, and of one compiled program, where they are the same."""

    kernel: Callable[[Any, Any, Any], Array]
    noise: Callable[[Any], Any] | None

    def __hash__(self) -> int:
        return hash((id(self.kernel), id(self.noise)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Problem):
            return NotImplemented
        return self.kernel is other.kernel and self.noise is other.noise

    def objective(self, h: Any, x: Any, y: Any, noise_variance: Any, jitter: Any) -> Array:
        """Minus the log marginal likelihood."""
        noise = noise_variance if self.noise is None else self.noise(h)
        return -log_marginal_likelihood(self.kernel(h, x, x), y, noise, jitter=jitter)


class _State(NamedTuple):
    current: Any
    optimizer: Any
    value: Array
    gradient: Any
    best: Fit


@partial(jax.jit, static_argnames=("problem", "optimizer"))
def _minimise(
    problem: _Problem,
    start: Any,
    data: tuple,
    optimizer: optax.GradientTransformation,
    tolerance: Array,
    max_steps: Array,
) -> Fit:
    """Steps of the optimiser until the gradient vanishes; ``value`` is minus the likelihood's."""
    update = optax.with_extra_args_support(optimizer).update

    def objective(h: Any) -> Array:
        return problem.objective(h, *data)

    evaluate = jax.value_and_grad(objective)

    def judged(h: Any, value: Array, gradient: Any, steps: Array) -> Fit:
        norm = jnp.max(jnp.stack([jnp.max(jnp.abs(g)) for g in jax.tree.leaves(gradient)]))
        norm = norm.astype(value.dtype)
        return Fit(h, -value, norm, steps, norm <= tolerance * jnp.maximum(1, jnp.abs(value)))

    def unfinished(state: _State) -> Array:
        return (state.best.num_steps < max_steps) & ~state.best.converged

    def step(state: _State) -> _State:
        moved, inner = update(
            state.gradient,
            state.optimizer,
            state.current,
            value=state.value,
            grad=state.gradient,
            value_fn=objective,
        )
        current = optax.apply_updates(state.current, moved)
        value, gradient = evaluate(current)
        steps = state.best.num_steps + 1
        new = judged(current, value, gradient, steps)
        # At a maximum, values differ by rounding and the gradient decides.
        level = state.best.value - tolerance * jnp.maximum(1, jnp.abs(state.best.value))
        better = (new.value >= state.best.value) | (new.converged & (new.value >= level))
        kept = state.best._replace(num_steps=steps)
        best = jax.tree.map(partial(jnp.where, better), new, kept)
        return _State(current, inner, value, gradient, best)

    value, gradient = evaluate(start)
    first = judged(start, value, gradient, jnp.zeros((), jnp.int32))
    state = _State(start, optimizer.init(start), value, gradient, first)
    return jax.lax.while_loop(unfinished, step, state).best


def _check_hyperparameters(hyperparameters: Any) -> Any:
    leaves = jax.tree_util.tree_leaves_with_path(hyperparameters)
    if not leaves or any(np.size(leaf) == 0 for _, leaf in leaves):
        raise ValueError("hyperparameters holds no number to fit, or an empty array")
    for path, leaf in leaves:
        if isinstance(leaf, str) or not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise TypeError(
                f"hyperparameters must be floating point, got {leaf!r} at {path_name(path)}"
            )
    require_finite("hyperparameters", hyperparameters)
    return jax.tree.map(jnp.asarray, hyperparameters)
