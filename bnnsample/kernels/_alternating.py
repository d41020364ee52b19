"""Readout and hidden layers in turn, each by infinite-dimensional HMC.

Given the hidden layers the readout sees the network through its features alone, so that many
steps of it cost less than one gradient of the network. Its trajectory is followed in the image
``P phi [n, d]``: a linear potential ``V(P phi)`` kicks momenta by ``P^T`` times a gradient
in the image, rotations are linear, and so the end is ``cos t phi + sin t pi + P^T c`` with ``c``
summed up on the way, all exact. Given the readout the hidden layers take a trajectory that
starts and ends with a rotation, so that the readout's move costs no gradient of theirs.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from blackjax.base import SamplingAlgorithm
from jax import Array

from bnnsample.kernels._metropolis import Verdict, metropolis
from bnnsample.kernels._reference import inner, kick, normal_like, rotate, select
from bnnsample.kernels._splitting import inner_part, outer_part

Pytree = Any
JITTER = 0.1


class Conditioned(NamedTuple):
    """The potential given the hidden layers: ``potential(of(phi), unknowns)``.

    Attributes:
        of: ``phi -> image``, linear.
        back: its adjoint.
        gram: ``of(back(.))``.
        potential: ``(image, unknowns) -> U``, the potential of the whole position.
    """

    of: Callable[[Array], Array]
    back: Callable[[Array], Array]
    gram: Callable[[Array], Array]
    potential: Callable[[Array, Pytree], Array]


class AlternatingTarget(NamedTuple):
    """A potential that sees a part of the position, the readout, through a linear image.

    Attributes:
        potential: minus the log density relative to N(0, I), of a position.
        split: ``position -> (phi, unknowns, rest)``: the readout, unknowns that move with it, and
            what the image depends on, the hidden layers.
        join: its inverse.
        conditioned: ``rest -> Conditioned``.
    """

    potential: Callable[[Pytree], Array]
    split: Callable[[Pytree], tuple[Array, Pytree, Pytree]]
    join: Callable[[Array, Pytree, Pytree], Pytree]
    conditioned: Callable[[Pytree], Conditioned]


class AlternatingState(NamedTuple):
    """A position and its potential."""

    position: Pytree
    potential: Array


class AlternatingInfo(NamedTuple):
    """One pair of trajectories.

    The first two are the hidden layers' (the readout's where there are none), the next two count
    both trajectories, ``num_non_finite`` those whose potential or gradient was not finite;
    ``num_integration_steps`` counts passes through the network: gradients, and one forward.
    """

    acceptance_rate: Array
    is_accepted: Array
    is_divergent: Array
    num_non_finite: Array
    num_integration_steps: Array
    readout_acceptance_rate: Array


def init(position: Pytree, target: AlternatingTarget) -> AlternatingState:
    """The state of a position."""
    return AlternatingState(position, target.potential(position))


def build_kernel(num_readout_steps: int = 8) -> Callable[..., tuple]:
    """``kernel(key, state, target, step_size, num_integration_steps[, kick_scale])``."""

    def kernel(key, state, target, step_size, num_integration_steps, kick_scale=1.0):
        readout_key, hidden_key = jax.random.split(key)
        phi, unknowns, rest = target.split(state.position)
        given = target.conditioned(rest)
        phi, unknowns, value, first = _move_readout(
            readout_key, phi, unknowns, state.potential, given, num_readout_steps
        )
        steps = jnp.asarray(num_integration_steps, jnp.int32)
        if not jax.tree.leaves(rest):
            one = jnp.asarray(1, jnp.int32)
            state = AlternatingState(target.join(phi, unknowns, rest), value)
            return state, AlternatingInfo(*first, one, first.acceptance_rate)

        def potential(r):
            return target.potential(target.join(phi, unknowns, r))

        rest, value, second = _move_hidden(
            hidden_key, rest, value, potential, step_size, steps, kick_scale
        )
        state = AlternatingState(target.join(phi, unknowns, rest), value)
        is_divergent = first.is_divergent | second.is_divergent
        return state, AlternatingInfo(
            second.acceptance_rate, second.is_accepted, is_divergent,
            first.num_non_finite + second.num_non_finite, steps + 1, first.acceptance_rate,
        )  # fmt: skip

    return kernel


def _move_readout(
    key: Array, phi: Array, unknowns: Pytree, start: Array, given: Conditioned, num_steps: int
) -> tuple[Array, Pytree, Array, Verdict]:
    """A quarter turn of readout and unknowns in ``num_steps`` kicks, the hidden layers fixed."""
    momentum_key, law_key, accept_key = jax.random.split(key, 3)
    momentum = normal_like(momentum_key, {"phi": phi, "unknowns": unknowns})
    dtype, n = start.dtype, jnp.asarray(num_steps, jnp.int32)
    jitter = 1 + JITTER * jax.random.uniform(law_key, (), dtype, -1, 1)
    angle = jnp.asarray(math.pi / 2 / num_steps, dtype) * jitter
    gradient_of = jax.value_and_grad(given.potential, (0, 1))

    def kicked(p, gradient, i):
        """Momentum after the i-th kick, and the kick's work."""
        image, rest = gradient
        weight = angle * outer_part(i, n, dtype)
        change = {"image": given.gram(image), "sum": image, "unknowns": rest}
        new = kick(p, change, weight)
        middle = jax.tree.map(lambda a, b: (a + b) / 2, p, new)
        work = inner(image, middle["image"]) + jnp.asarray(inner(rest, middle["unknowns"]), dtype)
        return new, jnp.asarray(weight * work, dtype)

    def step(i, carry):
        q, p, _, _, work = carry
        q, p = rotate(q, p, angle * inner_part(i, n, dtype))
        value, gradient = gradient_of(q["image"], q["unknowns"])
        p, step_work = kicked(p, gradient, i + 1)
        return q, p, value, gradient, work + step_work

    image = given.of(phi)
    value, gradient = gradient_of(image, unknowns)
    zero = jnp.zeros_like(gradient[0])
    q = {"image": image, "sum": zero, "unknowns": unknowns}
    p = {"image": given.of(momentum["phi"]), "sum": zero, "unknowns": momentum["unknowns"]}
    p, work = kicked(p, gradient, 0)
    q, _, end, _, work = jax.lax.fori_loop(0, num_steps, step, (q, p, value, gradient, work))
    turned, _ = rotate(phi, momentum["phi"], num_steps * angle)
    verdict = metropolis(accept_key, end - value - work)
    moved = turned + given.back(q["sum"]), q["unknowns"], end
    phi, unknowns, end = select(verdict.is_accepted, moved, (phi, unknowns, start))
    return phi, unknowns, end, verdict


def _move_hidden(
    key: Array,
    hidden: Pytree,
    start: Array,
    potential: Callable[[Pytree], Array],
    step_size: Array | float,
    num_steps: Array,
    kick_scale: Array | float,
) -> tuple[Pytree, Array, Verdict]:
    """A rotation, a kick, ..., a rotation: one gradient a kick, a potential at the end.

    The energy changes by the potential and the kicks' work alone, as in ``infinite_hmc``.
    """
    momentum_key, accept_key = jax.random.split(key)
    dtype = start.dtype
    angle = jnp.asarray(step_size, dtype)
    scale = angle * jnp.asarray(kick_scale, dtype)

    def turn(i):
        return angle * outer_part(i, num_steps, dtype)

    def step(i, carry):
        q, p, work = carry
        gradient = jax.grad(potential)(q)
        weight = scale * inner_part(i, num_steps, dtype)
        new = kick(p, gradient, weight)
        middle = jax.tree.map(lambda a, b: (a + b) / 2, p, new)
        work = work + jnp.asarray(weight * inner(gradient, middle), dtype)
        return *rotate(q, new, turn(i + 1)), work

    q, p = rotate(hidden, normal_like(momentum_key, hidden), turn(0))
    q, _, work = jax.lax.fori_loop(0, num_steps, step, (q, p, jnp.zeros((), dtype)))
    end = potential(q)
    verdict = metropolis(accept_key, end - start - work)
    return (
        select(verdict.is_accepted, q, hidden),
        jnp.where(verdict.is_accepted, end, start),
        verdict,
    )


def as_top_level_api(
    target: AlternatingTarget,
    step_size: Array | float,
    num_integration_steps: Array | int,
    kick_scale: Array | float = 1.0,
    *,
    num_readout_steps: int = 8,
) -> SamplingAlgorithm:
    """Readout and hidden layers in turn, for the target ``N(q; 0, I) exp(-potential(q))``.

    Args:
        target: the potential, and what it is given the hidden layers.
        step_size: mean angle between two kicks of the hidden layers, in radians.
        num_integration_steps: their kicks, one gradient of the network each.
        kick_scale: factor on every kick of theirs.
        num_readout_steps: kicks of the readout in a quarter turn.
    """
    kernel = build_kernel(num_readout_steps)

    def step(key, state):
        return kernel(key, state, target, step_size, num_integration_steps, kick_scale)

    return SamplingAlgorithm(lambda position, _=None: init(position, target), step)
