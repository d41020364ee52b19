"""The prior-exact kernels as a run uses them."""

import math

import jax
import jax.numpy as jnp

from bnnsample.kernels import (
    _alternating,
    _elliptical_slice,
    _infinite_hmc,
    _infinite_mala,
    _pcn,
    _unitwise,
)
from bnnsample.kernels._reference import half_square
from bnnsample.kernels._spec import KernelSpec, Statistics

QUARTER_TURN = math.pi / 2
MOST_STEPS = 128
# Measured on wide one-layer networks: a quarter turn in one step is accepted most often with a
# kick of about a tenth of the Hamiltonian one; it equals three full steps at width 2048 and beats
# them above.
FULL_KICK, GENTLE_KICK = 1.0, 0.125
MOST_STEPS_FOR_GENTLE_KICK = 4
# Where a quarter turn of the hidden layers is accepted with probability a, their effective samples
# per draw are close to a^2; those of the function, which the readout's own trajectory moves as
# well, hardly depend on it (about a^(1/4)). This power picks the setting with the best geometric
# mean of both, as measured on three problems.
BOTH_PARTS = 1.25


def _log_density(state):
    return -state.potential - half_square(state.position).astype(state.potential.dtype)


def _init(module):
    return lambda key, potential, position: module.init(position, potential)


def _statistics(info, step_size, dtype) -> Statistics:
    return Statistics(
        info.acceptance_rate.astype(dtype),
        info.is_divergent,
        info.num_non_finite,
        jnp.asarray(info.num_integration_steps, jnp.int32),
        jnp.asarray(step_size, dtype),
    )


def _infinite_hmc_step(key, potential, state, parameters):
    law_key, key = jax.random.split(key)
    dtype = state.potential.dtype
    step_size, num_steps = _trajectory(law_key, parameters, dtype)
    kernel = _infinite_hmc.build_kernel()
    kick_scale = jnp.asarray(parameters["kick_scale"], dtype)
    state, info = kernel(key, state, potential, step_size, num_steps, kick_scale)
    return state, _statistics(info, step_size, dtype)


def _trajectory(key, parameters, dtype):
    """Step size and number of steps of one trajectory, the step size jittered.

    ``num_integration_steps`` 0: as many as make ``trajectory_angle`` at most ``step_size`` each, up
    to a cap. Without it a chain far out, which rejects at any step size, would have dual
    averaging shrink the step and the trajectories grow without end.
    """
    angle = jnp.asarray(parameters["trajectory_angle"], dtype)
    step_size = jnp.asarray(parameters["step_size"], dtype)
    given = jnp.asarray(parameters["num_integration_steps"], jnp.int32)
    # A hair below a whole number of steps is that number.
    derived = jnp.clip(jnp.ceil(angle / step_size - 1e-3), 1, MOST_STEPS).astype(jnp.int32)
    num_steps = jnp.where(given > 0, given, derived)
    share = jnp.minimum(angle / derived.astype(dtype), step_size)
    length = jnp.where(given > 0, step_size, share)
    jitter = jnp.asarray(parameters["jitter"], dtype)
    return length * (1 + jitter * jax.random.uniform(key, (), dtype, -1, 1)), num_steps


def _quarter_turns(step_size, parameters):
    """Numbers of steps to a quarter turn near the adapted one; for few, one with a gentle kick.

    A kick scale that the user gave is that of all.
    """
    angle, scale = parameters["trajectory_angle"], parameters["kick_scale"]
    if angle / step_size > MOST_STEPS:
        return [{"step_size": step_size, "num_integration_steps": MOST_STEPS}]
    adapted = max(1, math.ceil(angle / step_size - 1e-3))
    tried = [(k, scale) for k in (adapted - 1, adapted, adapted + 1) if k >= 1]
    if adapted <= MOST_STEPS_FOR_GENTLE_KICK and scale == FULL_KICK:
        tried.append((1, GENTLE_KICK))
    return [{"step_size": angle / k, "num_integration_steps": k, "kick_scale": s} for k, s in tried]


def _complete(parameters):
    """The step size and the number of steps from one another where the user gave one of them."""
    angle = parameters["trajectory_angle"]
    step_size, num_steps = parameters["step_size"], parameters["num_integration_steps"]
    if step_size is None and num_steps:
        return {**parameters, "step_size": min(angle / num_steps, QUARTER_TURN)}
    if step_size is not None and not num_steps:
        return {**parameters, "num_integration_steps": max(1, round(angle / step_size))}
    return parameters


def _one_parameter_step(module):
    def step(key, potential, state, parameters):
        step_size = jnp.asarray(parameters["step_size"], state.potential.dtype)
        state, info = module.build_kernel()(key, state, potential, step_size)
        return state, _statistics(info, step_size, state.potential.dtype)

    return step


def _elliptical_slice_step(key, potential, state, parameters):
    kernel = _elliptical_slice.build_kernel(parameters["max_evaluations"])
    state, info = kernel(key, state, potential)
    return state, _statistics(info, jnp.nan, state.potential.dtype)


def _unitwise_step(key, target, state, parameters):
    law_key, key = jax.random.split(key)
    dtype = state.potential.dtype
    step_size, num_steps = _trajectory(law_key, parameters, dtype)
    kernel = _unitwise.build_kernel(parameters["num_blocks"])
    state, info = kernel(key, state, target, step_size, num_steps)
    return state, _statistics(info, step_size, dtype)


def _alternating_step(key, target, state, parameters):
    law_key, key = jax.random.split(key)
    dtype = state.potential.dtype
    step_size, num_steps = _trajectory(law_key, parameters, dtype)
    kernel = _alternating.build_kernel(parameters["num_readout_steps"])
    kick_scale = jnp.asarray(parameters["kick_scale"], dtype)
    state, info = kernel(key, state, target, step_size, num_steps, kick_scale)
    return state, _statistics(info, step_size, dtype)


_TRAJECTORY = {
    "step_size": None,
    "num_integration_steps": 0,
    "trajectory_angle": QUARTER_TURN,
    "jitter": 0.1,
}
INFINITE_HMC = KernelSpec(
    "infinite_hmc",
    _init(_infinite_hmc),
    _infinite_hmc_step,
    _log_density,
    {**_TRAJECTORY, "kick_scale": FULL_KICK},
    target_acceptance=0.8,
    max_step_size=QUARTER_TURN,
    candidates=_quarter_turns,
    complete=_complete,
)
UNITWISE = KernelSpec(
    "unitwise",
    _init(_unitwise),
    _unitwise_step,
    _log_density,
    {**_TRAJECTORY, "num_blocks": 16},
    target_acceptance=0.8,
    max_step_size=QUARTER_TURN,
    complete=_complete,
    view=lambda posterior: posterior.unit_target(),
    needs_units=True,
    static=frozenset({"num_blocks"}),
)
ALTERNATING = KernelSpec(
    "alternating",
    _init(_alternating),
    _alternating_step,
    _log_density,
    {**_TRAJECTORY, "kick_scale": FULL_KICK, "num_readout_steps": 8},
    target_acceptance=0.8,
    max_step_size=QUARTER_TURN,
    candidates=_quarter_turns,
    acceptance_power=BOTH_PARTS,
    complete=_complete,
    view=lambda posterior: posterior.alternating_target(),
    needs_surrogate=True,
    static=frozenset({"num_readout_steps"}),
)
INFINITE_MALA = KernelSpec(
    "infinite_mala",
    _init(_infinite_mala),
    _one_parameter_step(_infinite_mala),
    _log_density,
    {"step_size": None},
    target_acceptance=0.6,
    max_step_size=QUARTER_TURN,
)
PCN = KernelSpec(
    "pcn",
    _init(_pcn),
    _one_parameter_step(_pcn),
    _log_density,
    {"step_size": None},
    target_acceptance=0.3,
    max_step_size=QUARTER_TURN,
)
ELLIPTICAL_SLICE = KernelSpec(
    "elliptical_slice",
    _init(_elliptical_slice),
    _elliptical_slice_step,
    _log_density,
    {"max_evaluations": 100},
    static=frozenset({"max_evaluations"}),
)
