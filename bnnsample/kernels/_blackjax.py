"""BlackJAX's own kernels as a run uses them, in the same coordinates."""

import functools
import math

import blackjax
import jax
import jax.numpy as jnp

from bnnsample._lenient import lenient
from bnnsample.kernels._spec import KernelSpec, Statistics, log_density_of


def _log_density(state):
    return state.logdensity


def _init(algorithm, takes_key: bool):
    @lenient
    def init(key, potential, position):
        if takes_key:
            return algorithm.init(position, log_density_of(potential), key)
        return algorithm.init(position, log_density_of(potential))

    return init


def _dtype(state):
    return state.logdensity.dtype


def _statistics(
    state, acceptance_rate, diverging, n_steps, step_size, is_finite=True
) -> Statistics:
    dtype = _dtype(state)
    rate = jnp.asarray(acceptance_rate, dtype)
    # BlackJAX leaves NaN where the energy difference is not finite: a rejected proposal.
    return Statistics(
        jnp.where(jnp.isfinite(rate), jnp.clip(rate, 0, 1), 0),
        jnp.asarray(diverging, bool),
        jnp.asarray(~jnp.asarray(is_finite), jnp.int32),
        jnp.asarray(n_steps, jnp.int32),
        jnp.asarray(step_size, dtype),
    )


def _is_finite(*ends):
    """Whether trajectories ended in a finite density and, by way of the momentum, gradient."""
    leaves = [leaf for end in ends for leaf in jax.tree.leaves((end.logdensity, end.momentum))]
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()


def _metric(parameters, dtype):
    return jnp.asarray(parameters["inverse_mass_matrix"], dtype)


def _leapfrog(key, potential, state, leapfrog_size, metric, num_steps, step_size):
    """A trajectory of ``num_steps`` and its Metropolis test; ``step_size`` is what is reported."""
    state, info = blackjax.hmc.build_kernel()(
        key, state, log_density_of(potential), leapfrog_size, metric, num_steps
    )
    return state, _statistics(
        state, info.acceptance_rate, info.is_divergent, num_steps, step_size,
        _is_finite(info.proposal),
    )  # fmt: skip


@lenient
def _hmc_step(key, potential, state, parameters):
    step_size = jnp.asarray(parameters["step_size"], _dtype(state))
    law_key, key = jax.random.split(key)
    num_steps = parameters["num_integration_steps"]
    if num_steps is None:
        # A jittered trajectory, since a fixed one can resonate with a direction of the target.
        jitter = jax.random.uniform(law_key, dtype=step_size.dtype, minval=0.8, maxval=1.2)
        ratio = jitter * parameters["trajectory_angle"] / step_size
        num_steps = jnp.clip(jnp.ceil(ratio), 1, 1024).astype(jnp.int32)
    metric = _metric(parameters, _dtype(state))
    return _leapfrog(key, potential, state, step_size, metric, num_steps, step_size)


@lenient
def _nuts_step(key, potential, state, parameters):
    step_size = jnp.asarray(parameters["step_size"], _dtype(state))
    state, info = blackjax.nuts.build_kernel()(
        key,
        state,
        log_density_of(potential),
        step_size,
        _metric(parameters, _dtype(state)),
        parameters["max_num_doublings"],
    )
    # A trajectory ends with the state that diverges.
    is_finite = _is_finite(info.trajectory_leftmost_state, info.trajectory_rightmost_state)
    return state, _statistics(
        state, info.acceptance_rate, info.is_divergent, info.num_integration_steps, step_size,
        is_finite,
    )  # fmt: skip


@lenient
def _ghmc_step(key, potential, state, parameters):
    """Underdamped Langevin: partial refreshment, one leapfrog step, a Metropolis test.

    Over a step ``e`` a damping ``c`` refreshes the momentum's variance by ``1 - exp(-2 c e)``.
    A uniform shift makes BlackJAX's persistent slice variable a fresh uniform one.
    """
    step_size = jnp.asarray(parameters["step_size"], _dtype(state))
    alpha = 1 - jnp.exp(-2 * jnp.asarray(parameters["damping"], _dtype(state)) * step_size)
    dtype = _dtype(state)
    kernel = blackjax.ghmc.build_kernel(lambda k: jax.random.uniform(k, dtype=dtype, maxval=2))
    dimension = sum(leaf.size for leaf in jax.tree.leaves(state.position))
    state, info = kernel(
        key, state, log_density_of(potential), step_size, jnp.ones(dimension, dtype), alpha, 0.0
    )
    return state, _statistics(
        state, info.acceptance_rate, info.is_divergent, 1, step_size, _is_finite(info.proposal)
    )


@lenient
def _mala_step(key, potential, state, parameters):
    """One leapfrog step of HMC, which shows its proposal (Neal 2011, section 5.2).

    Of size ``sqrt(2 e)`` from a standard normal momentum: ``q + e grad + sqrt(2 e) noise``.
    """
    dtype = _dtype(state)
    step_size = jnp.asarray(parameters["step_size"], dtype)
    dimension = sum(leaf.size for leaf in jax.tree.leaves(state.position))
    metric = jnp.ones(dimension, dtype)
    return _leapfrog(key, potential, state, jnp.sqrt(2 * step_size), metric, 1, step_size)


def _mclmc_kernel(key, state, logdensity_fn, inverse_mass_matrix, L, step_size):
    return blackjax.mclmc.build_kernel()(
        key, state, logdensity_fn, inverse_mass_matrix, L, step_size
    )


@lenient
def _mclmc_step(key, potential, state, parameters):
    dtype = _dtype(state)
    step_size = jnp.asarray(parameters["step_size"], dtype)
    length = parameters["L"]
    if length is None:
        # BlackJAX's own start: the typical distance of a draw of N(0, I) from its mean.
        length = math.sqrt(sum(leaf.size for leaf in jax.tree.leaves(state.position)))
    state, info = _mclmc_kernel(
        key,
        state,
        log_density_of(potential),
        jnp.ones((), dtype),
        jnp.asarray(length, dtype),
        step_size,
    )
    # Not adjusted: every step is taken; McLachlan's integrator has two gradients a step.
    return state, _statistics(state, 1.0, ~info.nonans, 2, step_size, info.nonans)


@lenient
def _mclmc_tuner(key, potential, state, num_steps, parameters):
    dtype = _dtype(state)

    def kernel(rng_key, state, logdensity_fn, inverse_mass_matrix, L, step_size):
        return _mclmc_kernel(rng_key, state, logdensity_fn, jnp.ones((), dtype), L, step_size)

    state, tuned, _ = blackjax.mclmc_find_L_and_step_size(
        kernel,
        num_steps,
        state,
        key,
        log_density_of(potential),
        frac_tune1=0.5,
        frac_tune2=0.5,
        frac_tune3=0.0,
        diagonal_preconditioning=False,
    )
    return state, {"step_size": tuned.step_size.astype(dtype), "L": tuned.L.astype(dtype)}


@lenient
def _adjusted_mclmc_step(key, potential, state, parameters):
    dtype = _dtype(state)
    step_size = jnp.asarray(parameters["step_size"], dtype)
    law_key, key = jax.random.split(key)
    num_steps = parameters["num_integration_steps"]
    if num_steps is None:
        # The isokinetic flow moves sqrt(dimension) for a quarter turn of N(0, I).
        dimension = sum(leaf.size for leaf in jax.tree.leaves(state.position))
        length = parameters["trajectory_angle"] * math.sqrt(dimension)
        jitter = jax.random.uniform(law_key, dtype=dtype, minval=0.8, maxval=1.2)
        num_steps = jnp.clip(jnp.ceil(jitter * length / step_size), 1, 1024).astype(jnp.int32)
    state, info = blackjax.adjusted_mclmc.build_kernel()(
        key, state, log_density_of(potential), step_size, (num_steps,), jnp.ones((), dtype)
    )
    return state, _statistics(
        state, info.acceptance_rate, info.is_divergent, 2 * num_steps, step_size,
        _is_finite(info.proposal),
    )  # fmt: skip


_spec = functools.partial(KernelSpec, log_density=_log_density, needs_dimensions=True)
_TRAJECTORY = {"step_size": None, "num_integration_steps": None, "trajectory_angle": math.pi / 2}

HMC = _spec(
    "hmc",
    _init(blackjax.hmc, False),
    _hmc_step,
    defaults={**_TRAJECTORY, "inverse_mass_matrix": None},
    target_acceptance=0.8,
    initial_step_size=0.1,
    has_metric=True,
)
NUTS = _spec(
    "nuts",
    _init(blackjax.nuts, False),
    _nuts_step,
    defaults={"step_size": None, "inverse_mass_matrix": None, "max_num_doublings": 10},
    static=frozenset({"max_num_doublings"}),
    target_acceptance=0.8,
    initial_step_size=0.1,
    has_metric=True,
)
GHMC = _spec(
    "ghmc",
    _init(blackjax.ghmc, True),
    _ghmc_step,
    defaults={"step_size": None, "damping": 1.0},
    target_acceptance=0.9,
    initial_step_size=0.1,
)
MALA = _spec(
    "mala",
    _init(blackjax.hmc, False),
    _mala_step,
    defaults={"step_size": None},
    target_acceptance=0.574,
    initial_step_size=0.01,
)
MCLMC = _spec(
    "mclmc",
    _init(blackjax.mclmc, True),
    _mclmc_step,
    defaults={"step_size": None, "L": None},
    tuner=_mclmc_tuner,
    tuner_gradients=2,
    is_exact=False,
)
ADJUSTED_MCLMC = _spec(
    "adjusted_mclmc",
    _init(blackjax.adjusted_mclmc, False),
    _adjusted_mclmc_step,
    defaults=_TRAJECTORY,
    target_acceptance=0.9,
    initial_step_size=1.0,
)
