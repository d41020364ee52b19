"""The four prior-exact kernels as a run uses them."""

import math

import jax
import jax.numpy as jnp

from bnnsample.kernels import _elliptical_slice, _infinite_hmc, _infinite_mala, _pcn
from bnnsample.kernels._reference import half_square
from bnnsample.kernels._spec import KernelSpec, Statistics

QUARTER_TURN = math.pi / 2


def _log_density(state):
    return -state.potential - half_square(state.position).astype(state.potential.dtype)


def _init(module):
    return lambda key, potential, position: module.init(position, potential)


def _statistics(info, step_size, dtype) -> Statistics:
    return Statistics(
        info.acceptance_rate.astype(dtype),
        info.is_divergent,
        jnp.asarray(info.num_integration_steps, jnp.int32),
        jnp.asarray(step_size, dtype),
    )


def _infinite_hmc_step(key, potential, state, parameters):
    law_key, key = jax.random.split(key)
    step_size, num_steps = _trajectory(law_key, parameters, state.potential.dtype)
    kernel = _infinite_hmc.build_kernel()
    state, info = kernel(key, state, potential, step_size, num_steps)
    return state, _statistics(info, step_size, state.potential.dtype)


def _trajectory(key, parameters, dtype):
    angle = jnp.asarray(parameters["trajectory_angle"], dtype)
    jitter = jnp.asarray(parameters["jitter"], dtype)
    step_size = jnp.asarray(parameters["step_size"], dtype)
    num_steps = parameters["num_integration_steps"]
    if num_steps is None:
        num_steps = jnp.maximum(jnp.ceil(angle / step_size - 1e-3), 1).astype(jnp.int32)
    factor = 1 + jitter * jax.random.uniform(key, dtype=dtype, minval=-1, maxval=1)
    return factor * angle / jnp.asarray(num_steps, dtype), num_steps


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


INFINITE_HMC = KernelSpec(
    "infinite_hmc",
    _init(_infinite_hmc),
    _infinite_hmc_step,
    _log_density,
    {
        "step_size": None,
        "num_integration_steps": None,
        "trajectory_angle": QUARTER_TURN,
        "jitter": 0.1,
    },
    target_acceptance=0.75,
    max_step_size=QUARTER_TURN,
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
)
