"""Before a long run: how far a posterior is from its prior, and what a chain will be like."""

import math
import textwrap
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.special import erfc

from bnnsample._arguments import checked_counts, checked_seed, key_of
from bnnsample._check_model import check_model
from bnnsample._precision import precision
from bnnsample._problem import make_problem
from bnnsample._program_of import program_of
from bnnsample.chains._mapping import map_chains, quiet_blas
from bnnsample.coordinates import Collapsed, Posterior
from bnnsample.kernels._prior_exact import (
    GENTLE_KICK,
    INFINITE_HMC,
    MOST_STEPS,
    MOST_STEPS_FOR_GENTLE_KICK,
    QUARTER_TURN,
)
from bnnsample.likelihoods import Likelihood
from bnnsample.models import Model
from bnnsample.theory._gaussian_only import require_gaussian, require_known_scales
from bnnsample.theory._placement import placed, prior_kernel
from bnnsample.theory._trials import Trials, acceptance_of, spread_for

# Mean acceptance rates of independent draws from the prior that part the regimes.
NEAR_PRIOR, FAR_FROM_PRIOR = 0.5, 0.01
# Times the width: further, a law for large widths says nothing.
MOST_WIDENING = 1000


class WillItHelp(NamedTuple):
    """What prior draws say of a run that has not been made.

    Attributes:
        regime: ``"prior"`` where draws from the prior are accepted half of the time or more,
            ``"data-dominated"`` where less than one in a hundred is, ``"between"`` else.
        potential_std: standard deviation over the prior of the log marginal likelihood of the
            hidden layers, in nats. Its square falls as 1 / width.
        prior_acceptance: expected acceptance rate of independent draws from the prior.
        effective_dimension: ``tr K (K + S)^{-1}`` of the mean kernel: so many of the n directions
            in function space the data determine.
        num_data: n.
        noise_scale: the noise standard deviation assumed; where it is unknown, the most probable
            one under the mean kernel. The mean where there is one per data point.
        step_size: expected of ``kernel="infinite_hmc"`` after its warm-up, in radians.
        num_integration_steps, kick_scale: likewise.
        acceptance_rate: expected at these settings.
        ess_per_gradient: expected effective samples per gradient, ``acceptance^2 / steps``.
        width: as given.
    """

    regime: str
    potential_std: float
    prior_acceptance: float
    effective_dimension: float
    num_data: int
    noise_scale: float
    step_size: float
    num_integration_steps: int
    kick_scale: float
    acceptance_rate: float
    ess_per_gradient: float
    width: Any

    def report(self) -> str:
        """The same in plain words; prints nothing."""
        return _report(self)


def will_it_help(
    model: Model,
    data: tuple[Any, Any],
    width: Any,
    likelihood: Likelihood | None = None,
    *,
    num_draws: int = 32,
    standardize: bool = False,
    seed: int = 0,
) -> WillItHelp:
    """Where a network and data stand between prior and data, and how a chain would do; no chain.

    The chain moves in the hidden layers under the potential ``U``, minus their log marginal
    likelihood, which is constant at infinite width. Its standard deviation ``s`` over the prior
    tells the regime: for Gaussian ``U`` the posterior's KL from the prior is ``s^2 / 2`` and
    independent draws from the prior are accepted at the rate ``erfc(s / 2)``. Step size and
    acceptance follow from the energy errors of single trajectories started at prior draws, in 1, 2,
    4, ... steps to a quarter turn; far from the prior, at where a first trajectory from there ends.
    An unknown noise scale is placed, with its width, at its most probable value under the mean
    kernel. Measured for one and two hidden layers of widths 64 to 4096: the step size was within
    a factor of 1.7 of the adapted one for ``s`` up to 100, and of 2.1 for ``s`` up to 800; near
    ``s = 1``, where one gentle kick overtakes several full ones, the run may choose the other.

    Args:
        model, data, width, likelihood, standardize: as for ``run``.
        num_draws: networks drawn from the prior.
        seed: an int.

    Raises:
        TypeError, ValueError: as ``run``; a likelihood that is not Gaussian, fewer than 8 draws,
            or a model without hidden parameters, which needs no chain.
        FloatingPointError: the potential of a prior draw is not finite.
    """
    seed = checked_seed(seed)
    num_draws = checked_counts(num_draws=num_draws)["num_draws"]
    if num_draws < 8:
        raise ValueError(f"num_draws must be at least 8, got {num_draws}")
    problem = make_problem(data, None, standardize, likelihood)
    likelihood = problem.likelihood
    require_gaussian("will_it_help()", likelihood)
    if isinstance(model, Model):
        require_known_scales("will_it_help()", model, likelihood)
    platform = jax.default_backend()
    with precision(problem.dtype), quiet_blas(platform):
        check_model(model, problem.x, width)
        x, y, _ = problem.arrays()
        posterior: Posterior = Collapsed(model, likelihood, width, x, y)
        keys = jax.random.split(key_of(seed), 2)
        draw_keys = jax.random.split(keys[0], num_draws)
        positions = jax.jit(lambda p, k: map_chains(p.prior_draw, platform)(k))(
            posterior, draw_keys
        )
        if not jax.tree.leaves(positions["hidden"]):
            raise ValueError("the model has no hidden parameters: its posterior is known exactly")
        kernel = program_of(posterior, prior_kernel)(posterior, positions["hidden"])
        posterior = placed(posterior, kernel)
        potentials = _potentials(posterior, positions, platform)
        trials = Trials(posterior, positions, keys[1], platform)
        chain = _expected(trials)
        if prior_acceptance_of(potentials) < FAR_FROM_PRIOR:
            chain = _expected(trials.moved(min(MOST_STEPS, 2 * chain.num_integration_steps)))
        scale = np.asarray(posterior.gaussian_scale(_middle(posterior)), float)
    return _verdict(potentials, kernel, scale, width, chain)


def _middle(posterior: Posterior) -> Any:
    return {"unknowns": jax.tree.map(jnp.zeros_like, posterior.location)}


def _potentials(posterior: Posterior, positions: Any, platform: str) -> np.ndarray:
    found = jax.jit(lambda p, q: map_chains(p.potential, platform)(q))(posterior, positions)
    potentials = np.asarray(found, float)
    if not np.isfinite(potentials).all():
        raise FloatingPointError(
            "the potential of a prior draw is not finite: the noise scale may be too small for the "
            "data's scale or for float32, or the model's features are not finite"
        )
    return potentials


def prior_acceptance_of(potentials: np.ndarray) -> float:
    """``erfc(s / 2)``: ``U`` is N(m, s^2) under the prior, N(m - s^2, s^2) under the posterior."""
    return float(erfc(potentials.std(ddof=1) / 2))


class _Chain(NamedTuple):
    num_integration_steps: int
    kick_scale: float
    acceptance_rate: float

    @property
    def ess_per_gradient(self) -> float:
        return self.acceptance_rate**2 / self.num_integration_steps


def _expected(trials: Trials) -> _Chain:
    """The candidate that the warm-up would keep.

    As in the warm-up: numbers of steps around the one that meets the target acceptance, and for
    few steps a single gentle kick, by ``acceptance^2`` per gradient.
    """
    target = INFINITE_HMC.target_acceptance
    assert target is not None
    curve = trials.until(target)
    counts = range(1, MOST_STEPS + 1)
    adapted = next((k for k in counts if curve(k) <= spread_for(target)), MOST_STEPS)
    around = [k for k in (adapted - 1, adapted, adapted + 1) if 1 <= k <= MOST_STEPS]
    found = [_Chain(k, 1.0, float(acceptance_of(curve(k)))) for k in around]
    if adapted <= MOST_STEPS_FOR_GENTLE_KICK:
        gentle = float(acceptance_of(trials.spread(1, GENTLE_KICK)))
        found.append(_Chain(1, GENTLE_KICK, gentle))
    return max(found, key=lambda candidate: candidate.ess_per_gradient)


def _verdict(
    potentials: np.ndarray, kernel: Array, scale: np.ndarray, width: Any, chain: _Chain
) -> WillItHelp:
    prior_acceptance = prior_acceptance_of(potentials)
    if prior_acceptance >= NEAR_PRIOR:
        regime = "prior"
    else:
        regime = "between" if prior_acceptance >= FAR_FROM_PRIOR else "data-dominated"
    n = kernel.shape[0]
    column = scale[:, None] if scale.ndim else scale
    eigenvalues = np.linalg.eigvalsh(np.asarray(kernel, float) / (column * column.T))
    shares = np.maximum(eigenvalues, 0) / (1 + np.maximum(eigenvalues, 0))
    return WillItHelp(
        regime=regime,
        potential_std=float(potentials.std(ddof=1)),
        prior_acceptance=prior_acceptance,
        effective_dimension=float(shares.sum()),
        num_data=n,
        noise_scale=float(scale.mean()),
        step_size=QUARTER_TURN / chain.num_integration_steps,
        num_integration_steps=chain.num_integration_steps,
        kick_scale=chain.kick_scale,
        acceptance_rate=chain.acceptance_rate,
        ess_per_gradient=chain.ess_per_gradient,
        width=width,
    )


_REGIMES = {
    "prior": "The posterior of the hidden layers is close to their prior: the network is nearly "
    "the Gaussian process of its infinite width, and draws come almost independent.",
    "between": "The posterior of the hidden layers has left their prior, but not by much: chains "
    "mix well, and the network differs from the Gaussian process of its infinite width.",
    "data-dominated": "The data rule the hidden layers: short steps and many gradients per draw, "
    "and a posterior that the Gaussian process of infinite width does not describe.",
}


def _report(found: WillItHelp) -> str:
    step = f"{found.step_size:.3g} rad, {_count(found.num_integration_steps, 'gradient')} a draw"
    lines = [
        f"Width {found.width}, {found.num_data:,} data points, noise scale "
        f"{found.noise_scale:.3g}: {found.regime}",
        "",
        f"  {'directions the data determine':<46}{found.effective_dimension:.1f} of "
        f"{found.num_data:,}",
        f"  {'log marginal likelihood, sd over the prior':<46}{found.potential_std:.3g} nats",
        f"  {'acceptance of draws from the prior':<46}{_rate(found.prior_acceptance)}",
        f"  {'expected step size of infinite_hmc':<46}{step}",
        f"  {'expected acceptance rate':<46}{found.acceptance_rate:.2f}",
        f"  {'expected effective samples per gradient':<46}{found.ess_per_gradient:.2g}",
        "",
        textwrap.fill(_REGIMES[found.regime] + _wider(found), 88),
    ]
    return "\n".join(lines)


def _wider(found: WillItHelp) -> str:
    """At which width the log marginal likelihood would vary by one nat."""
    if found.regime == "prior":
        return ""
    factor = found.potential_std**2
    if factor > MOST_WIDENING:
        return " No width within reach would bring it close to the prior."
    if isinstance(found.width, (int, np.integer)):
        about = 2 ** round(math.log2(found.width * factor))
        return f" From a width of about {about:,} on it would be close to the prior."
    return f" About {factor:.2g} times as wide it would be close to the prior."


def _rate(rate: float) -> str:
    return f"{rate:.2g}" if rate >= 0.001 else "below 0.001"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
