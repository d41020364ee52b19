"""A sampled posterior against the theory of its wide limit."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bnnsample._arguments import checked_counts, checked_seed, key_of
from bnnsample._precision import precision
from bnnsample._record import KeptParameters, RunRecord
from bnnsample._standardize import Standardizer
from bnnsample.chains._mapping import quiet_blas
from bnnsample.coordinates import Posterior
from bnnsample.results._ess import MIN_DRAWS
from bnnsample.results._per_draw import checked_inputs
from bnnsample.theory import _plot, _report
from bnnsample.theory._gaussian_only import require_known_scales, require_untempered
from bnnsample.theory._joint import JointKL, joint_kl
from bnnsample.theory._kernels import compare_kernels
from bnnsample.theory._limit import wide_kernel
from bnnsample.theory._moments import Moments, limit_moments, network_moments, scales_of
from bnnsample.theory._points import PointComparison, compare_points

# More points than this say little more jointly, and their covariance more and more noise.
MOST_JOINT_POINTS = 64
# The posterior of a Gaussian process loses this share of the prior's scale to rounding, and less.
ROUNDING = 1e-8
_SHIFTED = ("sampled_mean", "theory_mean")
_SCALED = (
    "sampled_std",
    "theory_std",
    "mean_standard_error",
    "wasserstein2",
    "wasserstein2_noise",
)


@dataclass(frozen=True, eq=False)
class TheoryComparison:
    """How far a sampled posterior is from the Gaussian process of infinite width.

    Attributes:
        points: one row per evaluation point and output, in y's own units: ``sampled_mean``,
            ``sampled_std``, ``theory_mean``, ``theory_std`` of the noise-free function (standard
            deviations); ``mean_error`` and ``variance_error``, the differences sampled minus
            theory in Monte-Carlo standard errors, which stand beside them; ``wasserstein2``
            and ``wasserstein2_noise``, what Monte-Carlo error alone would make of it; ``ess``.
        kl_function: ``KL(sampled || theory)`` of the joint Gaussians of the function at the points.
        kl_observation: the same of a new observation at every point, noise included.
        kernels: distances of the empirical NNGP and NTK from their limits, one row per kernel
            and place (prior, posterior), mean and standard deviation over draws.
        num_draws: kept draws, over all chains.
        noise: how the noise scale entered.
        settings: the run's settings.
        x: evaluation points ``[m, ...]``.
        data: ``(x [n, ...], y [n, d])`` as the user gave them.
    """

    points: pd.DataFrame
    kl_function: JointKL
    kl_observation: JointKL
    kernels: pd.DataFrame
    num_draws: int
    noise: str
    settings: dict[str, Any]
    x: np.ndarray
    data: tuple[np.ndarray, np.ndarray]

    def to_dataframe(self) -> pd.DataFrame:
        """``points``, indexed by evaluation point and output."""
        return self.points.copy()

    def to_dict(self) -> dict[str, Any]:
        """Everything but the inputs and targets as plain values (JSON)."""
        return {
            "points": self.points.reset_index().to_dict("list"),
            "kl_function": self.kl_function._asdict(),
            "kl_observation": self.kl_observation._asdict(),
            "kernels": self.kernels.reset_index().to_dict("records"),
            "num_draws": self.num_draws,
            "noise": self.noise,
        }

    def report(self) -> str:
        """The comparison in plain words; prints nothing."""
        return _report.report(self)

    def plot(self, path: Any = None) -> Figure:
        """Predictive bands, sampled over theory, for one-dimensional x; a page of numbers else.

        Args:
            path: a file to write as well.
        """
        return _plot.plot(self, path)

    def __repr__(self) -> str:
        return (
            f"<bnnsample.TheoryComparison at {len(self.x)} points from {self.num_draws} draws; "
            "print(comparison.report()) for the verdict>"
        )


def compare_to_theory(
    record: RunRecord, x: Any = None, network: Any = None, num_kernel_draws: int = 8, seed: int = 0
) -> TheoryComparison:
    """``Result.compare_to_theory``; see there."""
    posterior, kept = _require(record)
    counts = checked_counts(num_kernel_draws=num_kernel_draws)
    seed = checked_seed(seed)
    x_user = checked_inputs(record, record.x_eval if x is None else x)
    inputs = record.standardizer.inputs(x_user)
    joint = np.unique(np.linspace(0, len(x_user) - 1, MOST_JOINT_POINTS).round().astype(int))
    # The sampler's own precision is not looked at: what its draws imply is computed exactly.
    with precision(np.float64), quiet_blas(jax.default_backend()):
        kernel = wide_kernel(posterior, network)
        scales = scales_of(posterior, kept)
        x_train, y, at = (jnp.asarray(a, jnp.float64) for a in (posterior.x, posterior.y, inputs))
        data = x_train, y
        sampled = network_moments(posterior, data, at, joint, kept.parameters["hidden"], scales)
        theory = limit_moments(kernel, data, at, joint, scales)
        prior_variance = jnp.diagonal(kernel(at, get="nngp"))
        kernels = compare_kernels(
            posterior, kept, kernel, at, counts["num_kernel_draws"], key_of(seed)
        )
    _require_finite(sampled)
    compared = compare_points(sampled, theory, ROUNDING, np.sqrt(np.asarray(prior_variance)))
    sampled, theory = (side._replace(mean=side.mean[:, :, joint]) for side in (sampled, theory))
    return TheoryComparison(
        points=_table(compared, record.standardizer),
        kl_function=joint_kl(sampled, theory),
        kl_observation=_kl_observation(sampled, theory, scales),
        kernels=kernels,
        num_draws=scales.shape[0] * scales.shape[1],
        noise=_describe_noise(scales, kept),
        settings=dict(record.settings),
        x=x_user,
        data=(record.x, record.y),
    )


def _kl_observation(sampled: Moments, theory: Moments, scales: np.ndarray) -> JointKL:
    if scales.ndim > 2:
        reason = "the noise of a new observation is not known, only that of each training point"
        return JointKL(None, None, None, sampled.mean.shape[2], reason)
    return joint_kl(sampled, theory, float(np.mean(scales**2)))


def _table(compared: PointComparison, undo: Standardizer) -> pd.DataFrame:
    values = compared._asdict()
    for name in _SHIFTED:
        values[name] = undo.undo_values(values[name])
    for name in _SCALED:
        values[name] = undo.undo_std(values[name])
    values["variance_standard_error"] = undo.undo_std(
        undo.undo_std(values["variance_standard_error"])
    )
    m, d = compared.ess.shape
    index = pd.MultiIndex.from_product([range(m), range(d)], names=["eval_point", "output"])
    return pd.DataFrame({name: array.ravel() for name, array in values.items()}, index=index)


def _describe_noise(scales: np.ndarray, kept: KeptParameters) -> str:
    if kept.unknowns:
        return (
            f"averaged over the chain's draws of it, mean {scales.mean():.3g}, on both sides alike"
        )
    return f"known, {scales.flat[0]:.3g}" if scales.ndim == 2 else "known, one per data point"


def _require(record: RunRecord) -> tuple[Posterior, KeptParameters]:
    posterior = record.known_posterior("compare_to_theory()")
    kept = record.kept
    if kept is None or len(kept.draws) < MIN_DRAWS:
        found = 0 if kept is None else len(kept.draws)
        raise ValueError(
            f"compare_to_theory() needs at least {MIN_DRAWS} whole parameter draws per chain, and "
            f'this run kept {found}: run with keep="auto" or keep="all"'
        )
    require_known_scales("compare_to_theory()", posterior.model)
    require_untempered("compare_to_theory()", posterior.tempering)
    return posterior, kept


def _require_finite(sampled: Moments) -> None:
    if not all(np.isfinite(a).all() for a in sampled):
        raise FloatingPointError(
            "the posterior given a kept draw is not finite: a draw's features are not, or the "
            "noise scale is too small against them for float64"
        )
