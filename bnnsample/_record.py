"""What a run leaves behind: plain arrays and settings, the hand-over from chains to results."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bnnsample._standardize import Standardizer
from bnnsample.coordinates import Posterior

Pytree = Any
# Names of draws, beside those of unknown hyperparameters.
RECORDED = ("f", "f_mean", "y_mean", "projection", "hidden", "log_likelihood", "y")


@dataclass(frozen=True)
class KeptParameters:
    """Whole parameter draws, evenly thinned.

    Attributes:
        draws: indices of the kept draws ``[k]``, counted among the run's draws.
        parameters: ``{"hidden": h, "readout": W}`` with leading axes ``[chain, k]``.
        unknowns: values of the sampled hyperparameters by name, ``[chain, k]``.
    """

    draws: np.ndarray
    parameters: Pytree
    unknowns: dict[str, np.ndarray]


@dataclass(frozen=True)
class RunRecord:
    """Everything the results are made from. All arrays are NumPy arrays on the host.

    Attributes:
        posterior: the model, likelihood, coordinates and the data as the sampler saw them
            (after standardisation): ``posterior.x [n, ...]``, ``posterior.y [n, d]``. ``None``
            for a stored result whose model could not be rebuilt.
        standardizer: undoes the standardisation of x and y; the identity when not asked for.
        x: inputs as the user gave them ``[n, ...]``.
        y: targets as the user gave them, as ``[n, t]``; labels as codes from 0.
        x_eval: evaluation inputs as the user gave them ``[m, ...]``.
        y_was_vector: the user gave ``y`` as ``[n]``.
        draws: by name, leading axes ``[chain, draw]``, in the units the sampler saw: ``f``,
            ``f_mean`` ``[.., m, d]`` (where the likelihood is not Gaussian ``y_mean [.., m, k]``
            in its place), ``projection [.., k]``, ``hidden [.., k]`` (absent when the network
            has no hidden parameters), ``log_likelihood [.., n]``, ``y [.., m, t]`` (absent where
            it cannot be drawn), and every unknown under its own name ``[..]``.
        sample_stats: ``[chain, draw]``: ``acceptance_rate``, ``diverging``,
            ``non_finite`` (proposals whose potential or gradient was not finite), ``lp``,
            ``step_size``, ``n_steps``.
        prior: prior draws ``[1, s, ...]`` by name: ``f``, ``y`` and the unknowns.
        hidden_index: flat indices of the recorded hidden weights.
        kept: whole parameter draws; None with ``keep="none"``.
        moments: ``{"mean": parameters, "variance": parameters}`` over the draws of each chain,
            with a leading axis ``[chain]``.
        settings: plain values (JSON): width, coordinates, kernel, kernel_options, num_chains,
            num_warmup, num_samples, thin, seed, dtype, platform, versions, ...
        adapted: what the warm-up found: plain values by name.
        num_gradients: gradient (or potential, for gradient-free kernels) evaluations of
            sampling, over all chains; warm-up excluded.
        sampling_seconds: wall time of sampling; warm-up and compilation excluded.
        warmup_gradients: evaluations spent in the warm-up.
        warmup_seconds: wall time of the warm-up.
        compile_seconds: wall time of tracing and compiling.
        interrupted: the run was stopped by the user before its last draw.
        potential_error: the largest error in nats of the potentials that were computed again in
            float64; None where none were.
        potentials_checked: how many were: of a float32 run, where the chains ended.
        condition: condition number of ``K + s^2 I`` where the chains ended; None unless
            something was not finite or not precise.
    """

    posterior: Posterior | None
    standardizer: Standardizer
    x: np.ndarray
    y: np.ndarray
    x_eval: np.ndarray
    y_was_vector: bool
    draws: Mapping[str, np.ndarray]
    sample_stats: Mapping[str, np.ndarray]
    prior: Mapping[str, np.ndarray]
    hidden_index: np.ndarray
    kept: KeptParameters | None
    moments: Pytree | None
    settings: Mapping[str, Any]
    adapted: Mapping[str, Any]
    num_gradients: int
    sampling_seconds: float
    warmup_gradients: int
    warmup_seconds: float
    compile_seconds: float
    interrupted: bool = False
    potential_error: float | None = None
    potentials_checked: int = 0
    condition: float | None = None

    def known_posterior(self, what: str) -> Posterior:
        """``posterior``; ``ValueError`` where it is not known, which ``what`` needs it to be."""
        if self.posterior is None:
            raise ValueError(
                f"{what} needs the network, which a stored result does not hold for a model (or "
                "likelihood) of your own: pass it to bnnsample.load as model= or likelihood="
            )
        return self.posterior
