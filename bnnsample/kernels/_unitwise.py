"""Unit-wise sampling: fresh prior draws for all units of a layer, accepted one by one.

The potential of a wide layer is a function of a sum over its units, and so nearly a sum over
them: ``dU / dM`` with ``M = M0 + P P^T`` hardly varies over the posterior. A block of units takes
independent prior draws, each accepted on its own under the linearised potential, and one more
Metropolis test on the true potential makes the block's move exact (delayed acceptance,
Christen and Fox 2005, with a product surrogate).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from blackjax.base import SamplingAlgorithm
from jax import Array
from jax.lax.linalg import cholesky

from bnnsample.kernels import _infinite_hmc
from bnnsample.kernels._metropolis import metropolis
from bnnsample.kernels._reference import normal_like
from bnnsample.repriorisation._factor import solve_lower

Pytree = Any


class UnitTarget(NamedTuple):
    """A potential that is a function of a sum over units.

    ``potential(join(units, rest)) = 1/2 tr(z^T M^{-1} z) + d/2 log det M + c`` with
    ``M = M0 + P P^T`` and one column of ``P`` per unit.

    Attributes:
        potential: minus the log density relative to N(0, I), of a position.
        split: ``position -> (units, rest)``; the last axis of every leaf of ``units`` is the unit.
        join: its inverse.
        columns: ``(units, rest) -> P [n, p]``.
        base: ``rest -> (M0 [n, n], z [n, d], c)``.
    """

    potential: Callable[[Pytree], Array]
    split: Callable[[Pytree], tuple[Pytree, Pytree]]
    join: Callable[[Pytree, Pytree], Pytree]
    columns: Callable[[Pytree, Pytree], Array]
    base: Callable[[Pytree], tuple[Array, Array, Array]]


class UnitwiseState(NamedTuple):
    """A position, its potential, and its units' columns ``P [n, p]``."""

    position: Pytree
    potential: Array
    columns: Array


class UnitwiseInfo(NamedTuple):
    """One sweep over the units and, where there are other coordinates, one trajectory of them.

    ``acceptance_rate``, ``is_accepted`` and ``is_divergent`` are the trajectory's where there is
    one; else the blocks' mean, whether any block moved, and whether the potential is not finite.
    ``num_non_finite`` counts the blocks and trajectories whose proposal was not finite.
    ``num_integration_steps`` counts passes through the network, forward ones included: one for
    a sweep, and for a trajectory its gradients and two more.
    """

    acceptance_rate: Array
    is_accepted: Array
    is_divergent: Array
    num_non_finite: Array
    num_integration_steps: Array
    block_acceptance_rate: Array


def init(position: Pytree, target: UnitTarget) -> UnitwiseState:
    """The state of a position."""
    return UnitwiseState(
        position, target.potential(position), target.columns(*target.split(position))
    )


def build_kernel(num_blocks: int = 16) -> Callable[..., tuple[UnitwiseState, UnitwiseInfo]]:
    """``kernel(key, state, target, step_size, num_integration_steps) -> (state, info)``."""

    def kernel(key, state, target, step_size=1.0, num_integration_steps=1):
        sweep_key, rest_key = jax.random.split(key)
        state, rate, bad = sweep(sweep_key, state, target, num_blocks)
        units, rest = target.split(state.position)
        if not jax.tree.leaves(rest):
            steps = jnp.asarray(1, jnp.int32)
            finite = jnp.isfinite(state.potential)
            return state, UnitwiseInfo(rate, rate > 0, ~finite, bad, steps, rate)

        def rest_potential(r):
            return target.potential(target.join(units, r))

        inner, info = _infinite_hmc.build_kernel()(
            rest_key,
            _infinite_hmc.init(rest, rest_potential),
            rest_potential,
            step_size,
            num_integration_steps,
        )
        state = UnitwiseState(
            target.join(units, inner.position),
            inner.potential,
            target.columns(units, inner.position),
        )
        return state, UnitwiseInfo(
            info.acceptance_rate,
            info.is_accepted,
            info.is_divergent,
            bad + info.num_non_finite,
            info.num_integration_steps + 3,
            rate,
        )

    return kernel


def sweep(
    key: Array, state: UnitwiseState, target: UnitTarget, num_blocks: int
) -> tuple[UnitwiseState, Array, Array]:
    """One visit of every unit, in blocks.

    Returns:
        the new state, the blocks' mean acceptance rate, and how many were not finite.
    """
    candidate_key, block_key = jax.random.split(key)
    units, rest = target.split(state.position)
    candidates = normal_like(candidate_key, units)
    base, z, constant = target.base(rest)
    P, P_new = state.columns, target.columns(candidates, rest)
    p = P.shape[1]
    size = -(-p // min(num_blocks, p))

    def visit(carry, i):
        P, taken, M, value = carry
        start = jnp.minimum(i * size, p - size)
        # The last block reaches back over units already visited: those stay as they are.
        active = start + jnp.arange(size, dtype=jnp.int32) >= i * size
        old = jax.lax.dynamic_slice_in_dim(P, start, size, 1)
        new = jax.lax.dynamic_slice_in_dim(P_new, start, size, 1)
        others = M - old @ old.T
        unit_key, accept_key = jax.random.split(jax.random.fold_in(block_key, i))
        chosen, change = choose_units(unit_key, base, others, z, old, new, active, p)
        proposed = jnp.where(chosen[None, :], new, old)
        M_proposed = others + proposed @ proposed.T
        value_proposed = potential_of(M_proposed, z)
        verdict = metropolis(accept_key, value_proposed - value - change)
        accept = verdict.is_accepted
        P = jax.lax.dynamic_update_slice_in_dim(P, jnp.where(accept, proposed, old), start, 1)
        before = jax.lax.dynamic_slice_in_dim(taken, start, size, 0)
        after = before | (accept & chosen)
        taken = jax.lax.dynamic_update_slice_in_dim(taken, after, start, 0)
        M = jnp.where(accept, M_proposed, M)
        value = jnp.where(accept, value_proposed, value)
        return (P, taken, M, value), (verdict.acceptance_rate, verdict.num_non_finite)

    M = base + P @ P.T
    carry = (P, jnp.zeros(p, bool), M, potential_of(M, z))
    blocks = jnp.arange(-(-p // size), dtype=jnp.int32)
    (P, taken, _, value), (rates, bad) = jax.lax.scan(visit, carry, blocks)
    units = jax.tree.map(lambda old, new: jnp.where(taken, new, old), units, candidates)
    position = target.join(units, rest)
    state = UnitwiseState(position, value + constant, P)
    return state, jnp.mean(rates), jnp.sum(bad, dtype=jnp.int32)


def choose_units(
    key: Array, base: Array, others: Array, z: Array, old: Array, new: Array, active: Array, p: int
) -> tuple[Array, Array]:
    """Which units of a block take their candidate, and the change of the linearised potential.

    Unit ``j`` costs ``u_j = 1/2 P_j^T G P_j`` with ``G = d M^{-1} - a a^T``, ``a = M^{-1} z``, at a
    reference ``M`` made of the other units alone, scaled up to the layer's size: it does
    not change with the block's move, as exactness needs.
    """
    size, (n, d) = old.shape[1], z.shape
    scale = p / (p - size) if p > size else 1.0
    L = cholesky(base + (others - base) * scale, symmetrize_input=False)
    # As in the gradient of the marginal likelihood: products with the inverse for every unit
    # are matrix products, far faster than so many triangular solves.
    L_inverse = solve_lower(L, jnp.eye(n, dtype=L.dtype))
    M_inverse = L_inverse.T @ L_inverse
    a = M_inverse @ z
    G = d * M_inverse - a @ a.T
    change = 0.5 * (jnp.sum(new * (G @ new), axis=0) - jnp.sum(old * (G @ old), axis=0))
    uniform = jax.random.uniform(key, change.shape, change.dtype)
    # NaN compares False: such a candidate is not taken.
    chosen = active & (jnp.log(uniform) < -change)
    return chosen, jnp.sum(jnp.where(chosen, change, 0))


def potential_of(M: Array, z: Array) -> Array:
    """``1/2 tr(z^T M^{-1} z) + d/2 log det M``."""
    L = cholesky(M, symmetrize_input=False)
    white = solve_lower(L, z)
    return 0.5 * jnp.sum(white * white) + z.shape[1] * jnp.sum(jnp.log(jnp.diagonal(L)))


def as_top_level_api(
    target: UnitTarget,
    step_size: Array | float = 1.0,
    num_integration_steps: Array | int = 1,
    *,
    num_blocks: int = 16,
) -> SamplingAlgorithm:
    """Unit-wise sampling of a ``UnitTarget``, an infinite-HMC trajectory for its other coordinates.

    Args:
        target: the potential and its units.
        step_size: angle of a rotation of the trajectory; not used without other coordinates.
        num_integration_steps: gradients of the trajectory.
        num_blocks: units are visited in so many blocks; more raise their acceptance rate.
    """
    kernel = build_kernel(num_blocks)

    def step(key, state):
        return kernel(key, state, target, step_size, num_integration_steps)

    return SamplingAlgorithm(lambda position, _=None: init(position, target), step)
