"""The result of a run: draws, verdict, predictions, parameters, storage and plots."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bnnsample import _arviz, theory
from bnnsample._arguments import checked_choice
from bnnsample._precision import precision
from bnnsample._processes import is_first
from bnnsample._record import Pytree, RunRecord
from bnnsample.results import _plots, _storage
from bnnsample.results._diagnostics import diagnostics, unknown_names
from bnnsample.results._digits import known_digits
from bnnsample.results._idata import build_groups, now
from bnnsample.results._page import page
from bnnsample.results._pickle import reduced
from bnnsample.results._predict import Prediction, predict
from bnnsample.results._quantiles import quantiles
from bnnsample.results._report import report
from bnnsample.results._score import score
from bnnsample.results._statements import width_of

# Draws so many more, with such a progress.
Extend = Callable[[int, Any], "Result"]


class Result:
    """What was sampled, and how well.

    Made by ``bnnsample.run`` and ``bnnsample.load``. Statistics are computed on first use.
    """

    def __init__(
        self, record: RunRecord, created_at: str | None = None, extend: Extend | None = None
    ):
        self._record = record
        self._created_at = created_at or now()
        self._extend = extend

    @functools.cached_property
    def idata(self) -> Any:
        """The draws in ArviZ's schema: InferenceData (ArviZ 0.x) or ``xarray.DataTree`` (1.x).

        ``posterior`` holds ``f`` and ``f_mean`` (chain, draw, eval_point, output; where the
        likelihood is not Gaussian ``y_mean``, E[y | f], in place of ``f_mean``), ``projection``,
        ``hidden`` and every sampled hyperparameter; ``posterior_predictive`` and
        ``prior_predictive`` hold ``y``; ``log_likelihood`` ``y`` (chain, draw, observation);
        ``prior``, ``sample_stats``, ``observed_data`` and ``constant_data`` as usual. Values and
        the log-likelihood are in the units of the y that was given; the noise scale and ``lp``
        are in the sampler's (standardised, if ``standardize=True``). Where the outputs are
        classes, their names are the coordinates of ``output``.
        """
        return _arviz.wrap(build_groups(self._record, self._created_at))

    def summary(self, var_names: Sequence[str] | None = None, **options: Any) -> pd.DataFrame:
        """ArviZ's table, one row per quantity: mean, sd, interval, mcse, ess_bulk, ess_tail, r_hat.

        Numbers have the digits that are known: the last one's unit is not below the Monte-Carlo
        standard error. ``round_to="none"`` gives all digits.

        Args:
            var_names: names in ``idata.posterior``; default the posterior-mean function (or
                E[y | f]), the hyperparameters, projections and hidden weights.
            options: passed on to ArviZ's ``summary`` (``round_to``, ``kind``, ...). The names of
                the interval's columns and its probability are those of the installed ArviZ.

        Raises:
            ValueError: a name that is not in ``idata.posterior``.
        """
        available = ["f_mean", "y_mean", *unknown_names(self._record), "projection", "hidden", "f"]
        available = [name for name in available if name in self._record.draws]
        if isinstance(var_names, str):
            var_names = [var_names]
        names = [name for name in available if name != "f"] if var_names is None else var_names
        missing = [name for name in names if name not in available]
        if missing:
            raise ValueError(f"no variable {missing[0]!r}; choose from {', '.join(available)}")
        table = _arviz.summary(self.idata, names, **options)
        return table if "round_to" in options else known_digits(table)

    def diagnostics(self) -> pd.DataFrame:
        """ESS and R-hat per group of quantities, function space first.

        Rows (those that the run has): ``posterior_mean_function`` (E[f | h]) or
        ``expected_observation`` (E[y | f], class probabilities, say), ``function``,
        ``log_likelihood``, ``hidden_weights``, ``projections``, ``hyperparameters``. Columns:
        ``ess_bulk_median``, ``ess_bulk_min``, ``ess_tail_min``, ``r_hat_max`` over the group's
        quantities, capped at the number of draws; ``ess_per_gradient`` and ``ess_per_second``
        are the median of ``effective_sample_size`` (the worse of q and (q - mean)^2) over the
        gradients and the seconds of sampling. At most 128 evenly spaced quantities of a group
        are looked at. NaN: undefined, for want of draws or because nothing moved.
        """
        return self._diagnostics.copy()

    def report(self, format: str = "text") -> str:
        """The verdict in plain words, with ESS per gradient and per second; prints nothing.

        Args:
            format: ``"text"``, or ``"html"``: one page that opens offline, with figures of the
                chains, predictions against the data, the comparison with the infinite width where
                that applies and takes seconds, settings and versions.

        Raises:
            ValueError: another format.
        """
        if checked_choice("format", format, ("text", "html")) == "text":
            return report(self._record, self._diagnostics)
        return page(self._record, self._diagnostics, self._created_at)

    def predict(self, x: Any, return_draws: bool = False) -> Prediction:
        """The posterior predictive at inputs ``x [m, ...]``, in y's own units.

        Averages over the kept parameter draws. For a Gaussian likelihood the readout is
        integrated out in closed form given the hidden layers (Rao-Blackwell), whatever the
        coordinates: ``mean`` is the average of E[f | h], ``std^2`` the average of var[f | h] plus
        the variance of E[f | h] over draws, and ``predictive_std^2`` adds the average noise
        variance. For any other, ``mean`` is the average of E[y | f] over draws: class
        probabilities ``[m, classes]``, rates. Memory does not grow with the number of draws,
        unless ``return_draws``.

        Args:
            x: new inputs in the shape of the training inputs; integers and DataFrames are
                converted.
            return_draws: also return draws of the noise-free function, one per kept draw.

        Returns:
            ``Prediction(mean, std, predictive_std, draws)``, arrays ``[m, d]``, or ``[m]`` when y
            was given as ``[n]``; the two spreads are standard deviations.

        Raises:
            TypeError: x is not numeric.
            ValueError: x has the wrong shape, is empty or not finite; the run kept no
                parameters; or the network of a loaded result is not known.
            FloatingPointError: a factorisation broke down in the run's precision.
        """
        return predict(self._record, x, return_draws)

    def quantiles(self, x: Any, probabilities: Any = (0.05, 0.5, 0.95)) -> np.ndarray:
        """Quantiles of new observations at inputs ``x [m, ...]``, noise included, in y's units.

        From draws of observations, a few for every kept parameter draw and the same at every call.

        Args:
            x: as for ``predict``.
            probabilities: a number or a list in [0, 1].

        Returns:
            ``[q, m, t]``, or ``[q, m]`` when y was given as ``[n]``; without ``q`` for one number.

        Raises:
            ValueError: as ``predict``; labels, which have no quantiles; a probability outside
                [0, 1]; or observations that cannot be drawn.
        """
        return quantiles(self._record, x, probabilities)

    def score(self, x: Any, y: Any) -> dict[str, float]:
        """How good predictions are at inputs whose targets are known, in y's units.

        Returns:
            by name: ``lppd``, the log pointwise predictive density
            ``sum_i log mean_draws p(y_i | draw)``, for a Gaussian likelihood with the readout
            integrated out, and ``nll``, minus its mean over points. For labels ``accuracy``,
            ``brier`` (mean of ``|p - onehot|^2``) and ``calibration_error`` (expected, 15 equal
            bins of confidence). For numbers ``rmse`` of the posterior mean, and ``coverage_50``
            and ``coverage_90``, the share of targets inside central intervals.

        Raises:
            ValueError: as ``predict``; targets that do not fit, such as labels of no class; or
                noise that is not known at ``x``.
        """
        return score(self._record, x, y)

    def compare_to_theory(
        self, x: Any = None, *, network: Any = None, num_kernel_draws: int = 8, seed: int = 0
    ) -> "theory.TheoryComparison":
        """The sampled posterior beside the Gaussian process of infinite width.

        From the kept parameter draws, in float64 whatever the run's dtype. The function's posterior
        mean and covariance, the readout integrated out given each draw, against those of
        Gaussian-process regression with the infinite-width NNGP kernel and the same noise: point by
        point (differences in Monte-Carlo standard errors, Wasserstein-2) and jointly over at most
        64 evenly spaced points (Gaussian KL). A noise scale that was sampled is averaged over the
        chain's draws on both sides alike, so that the network alone is compared. The network's own
        NNGP and NTK, at the prior and along the chain, against their limits.

        Args:
            x: evaluation points ``[m, ...]``; default the run's ``x_eval``.
            network: the layers (``ntk.layers``) of a model that does not hold its own.
            num_kernel_draws: networks whose kernels are computed, at the prior and along the chain.
            seed: of the networks drawn from the prior.

        Returns:
            ``TheoryComparison``: ``report()``, ``plot()``, ``to_dataframe()``, ``to_dict()``.

        Raises:
            TypeError: x is not numeric, ``network`` not a layer, or a count or seed not an int.
            ValueError: x has the wrong shape, is empty or not finite; fewer than 4 parameter draws
                per chain were kept; the network of a loaded result, or its infinite width, is not
                known; the likelihood is not Gaussian; or a negative count or seed.
            FloatingPointError: a kept draw's posterior is not finite.
            ntk.gp.NotPositiveDefiniteError: the noise is too small against the kernel.
        """
        return theory.compare_to_theory(self._record, x, network, num_kernel_draws, seed)

    def kl_to_prior(
        self,
        *,
        num_particles: int = 256,
        num_replicates: int = 8,
        method: str = "auto",
        seed: int = 0,
    ) -> "theory.Evidence":
        """``KL(p(phi | D) || N(0, I))`` of the repriorised posterior, and the evidence, in nats.

        ``bnnsample.theory.evidence`` of the run's model, likelihood and data as the sampler saw
        them: with ``standardize=True`` the evidence is that of standardised targets. The draws
        are not used; the arguments are those of ``evidence``.

        Returns:
            ``Evidence``: ``kl_to_prior``, ``log_evidence``, their standard errors and diagnostics.

        Raises:
            ValueError: the network of a loaded result is not known, or an argument that cannot be
                meant.
            ImportanceSamplingError: ``method="importance"`` where k-hat is above 0.7.
            FloatingPointError: the log marginal likelihood is not finite at half of the prior
                draws.
        """
        return theory.evidence_of(
            self._record.known_posterior("kl_to_prior()"),
            num_particles=num_particles,
            num_replicates=num_replicates,
            method=method,
            seed=seed,
        )

    def parameters(self, chain: int, draw: int) -> Pytree:
        """JAX arrays ``{"hidden": h, "readout": W [p, d]}``: the parameters of one kept draw.

        They belong to the inputs and targets as the sampler saw them: with ``standardize=True``
        to standardised ones. A network of Flax or Equinox has them in its framework's structure,
        with the prior's scales multiplied in: ``{"params": ...}`` for ``module.apply``, or the
        module; ``model.from_framework`` makes a start for ``init=`` of them. Where prior scales
        were sampled, ``model.at(values)`` with the draw's values, which ``idata.posterior`` has by
        name, is the network whose ``apply`` they belong to.

        Raises:
            ValueError: a draw that was not kept (the message lists those that were), a chain
                that does not exist, or a run that kept none.
        """
        kept = self._record.kept
        if kept is None or len(kept.draws) == 0:
            raise ValueError('this run kept no parameters: run with keep="auto" or keep="all"')
        num_chains = kept.parameters["readout"].shape[0]
        if chain not in range(num_chains):
            raise ValueError(f"chain must lie between 0 and {num_chains - 1}, got {chain}")
        where = np.flatnonzero(kept.draws == draw)
        if where.size == 0:
            raise ValueError(
                f"draw {draw} was not kept; the kept draws are {_abbreviate(kept.draws)}"
            )
        at = (chain, int(where[0]))
        with precision(kept.parameters["readout"].dtype):
            parameters = jax.tree.map(lambda a: jnp.asarray(a[at]), kept.parameters)
            posterior = self._record.posterior
            if posterior is None:
                return parameters
            values = {name: v[at] for name, v in kept.unknowns.items()}
            return posterior.model.at(values).to_framework(parameters)

    def save(self, path: Any, overwrite: bool = False) -> None:
        """Write everything to one Zarr directory, which ``xarray.open_datatree`` reads too.

        It holds the groups of ``idata``, the kept parameters by key path (``parameters/hidden/0``,
        variable ``weight``, dims (chain, kept_draw, ...)) and what ``bnnsample.load`` needs. The
        directory appears under ``path`` complete or not at all. Of several processes the first
        writes it.

        Raises:
            FileExistsError: ``path`` exists; ``overwrite=True`` replaces a bnnsample result, and
                never anything else.
        """
        if is_first():
            _storage.save(self._record, path, self._created_at, overwrite)

    def extend(self, num_samples: int, progress: Any = False) -> "Result":
        """A result with ``num_samples`` more draws per chain, which are those of a longer run.

        The chains go on where they ended, with what the warm-up found. Kept parameters stay as
        far apart as they are. A run with ``checkpoint_dir`` goes on in its folder. This result
        stays what it is.

        Args:
            num_samples: more draws per chain.
            progress: as in ``bnnsample.run``.

        Raises:
            ValueError: a count that cannot be meant, or a result without the state its run ended
                in: one that was interrupted, loaded from a file or pickled, one whose state is
                above 1 GiB (give ``checkpoint_dir``), or made by ``kernel="importance"``, whose
                draws are chosen together.
            CheckpointMismatchError: the run's folder has more draws by now than are asked for.
        """
        if self._extend is None:
            raise ValueError(
                "extend() needs the state in which the run ended, which this result (interrupted, "
                "loaded, pickled, with a state above 1 GiB, or of kernel 'importance') does not "
                "hold; bnnsample.run with checkpoint_dir= and more num_samples goes on from the "
                "folder of a run that was a chain"
            )
        return self._extend(num_samples, progress)

    def plot(self, kind: str = "trace", path: Any = None) -> Figure:
        """A Matplotlib figure, also written to ``path`` if given (format by its suffix).

        Args:
            kind: ``"trace"``, ``"rank"``, ``"ess"`` (against the number of draws) or
                ``"predictive"``.
            path: a file name.

        Raises:
            ValueError: another kind.
        """
        return _plots.plot(self._record, kind, path)

    @property
    def record(self) -> RunRecord:
        """Everything the results are made from, as plain arrays."""
        return self._record

    @property
    def num_gradients(self) -> int:
        """Gradients (potentials, for gradient-free kernels) of sampling, over all chains."""
        return self._record.num_gradients

    @property
    def sampling_seconds(self) -> float:
        """Wall time of sampling, without warm-up and compilation."""
        return self._record.sampling_seconds

    @property
    def warmup_gradients(self) -> int:
        """Gradients (or potentials) of the warm-up, over all chains."""
        return self._record.warmup_gradients

    @property
    def warmup_seconds(self) -> float:
        """Wall time of the warm-up."""
        return self._record.warmup_seconds

    @property
    def compile_seconds(self) -> float:
        """Wall time of tracing and compiling."""
        return self._record.compile_seconds

    @property
    def settings(self) -> dict[str, Any]:
        """The run's settings as plain values."""
        return dict(self._record.settings)

    @property
    def adapted(self) -> dict[str, Any]:
        """What the warm-up found, such as the step size, as plain values."""
        return dict(self._record.adapted)

    @property
    def moments(self) -> Pytree | None:
        """``{"mean": parameters, "variance": parameters}`` over all chains and draws."""
        return self._record.moments

    @functools.cached_property
    def _diagnostics(self) -> pd.DataFrame:
        return diagnostics(self._record)

    def __reduce__(self) -> tuple[Any, ...]:
        return reduced(type(self), self._record, self._created_at)

    def __repr__(self) -> str:
        settings = self._record.settings
        chains, draws = self._record.draws["f"].shape[:2]
        return (
            f"<bnnsample.Result: {settings.get('kernel')} in {settings.get('coordinates')} "
            f"coordinates, {width_of(settings)},\n"
            f" {chains} chain{'s' * (chains != 1)} of {draws} draws, {self.num_gradients:,} "
            f"gradients in {self.sampling_seconds:.3g} s; print(result.report()) for the verdict>"
        )


def _abbreviate(draws: np.ndarray) -> str:
    listed = [str(int(draw)) for draw in draws]
    return ", ".join(listed if len(listed) <= 8 else [*listed[:4], "...", *listed[-2:]])
