"""Effective samples of one method at many settings, compiled once."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bnnsample.chains._devices import one_device
from bnnsample.chains._keep import KeepPlan
from bnnsample.chains._mapping import quiet_blas
from bnnsample.chains._progress import Silent
from bnnsample.chains._quantities import make_watch
from bnnsample.chains._sampling import Sampler, fresh
from bnnsample.chains._sink import Blocks, join
from bnnsample.chains._start import given_positions
from bnnsample.coordinates import chosen
from bnnsample.kernels._registry import resolve_kernel
from bnnsample.likelihoods import Likelihood
from bnnsample.models import Model
from bnnsample.results import effective_sample_size, r_hat
from experiments._data import Data

# An R-hat above which chains have not mixed: their effective samples are an upper bound.
MIXED = 1.05


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One method at one setting.

    ``function`` is the posterior-mean function E[f | h] at the evaluation points, or E[y | f],
    class probabilities, where noise is not Gaussian; ``weights`` are 20 fixed hidden weights.
    Effective sample sizes are medians of min(bulk ESS of q, bulk ESS of (q - mean)^2), capped at
    the number of draws.
    """

    setting: Mapping[str, Any]
    acceptance: float
    ess_function: float
    ess_weights: float
    r_hat_function: float
    num_draws: int
    num_gradients: int
    seconds: float
    r_hat_weights: float = float("nan")

    @property
    def function_per_gradient(self) -> float:
        return self.ess_function / self.num_gradients

    @property
    def weights_per_gradient(self) -> float:
        return self.ess_weights / self.num_gradients

    @property
    def function_per_second(self) -> float:
        return self.ess_function / self.seconds


class Bench:
    """One model, data set and width in some coordinates under some kernel, compiled once."""

    def __init__(
        self,
        model: Model,
        data: Data,
        width: int,
        likelihood: Likelihood,
        coordinates: str,
        kernel: str,
        thin: int = 1,
    ):
        self.spec, defaults, _ = resolve_kernel(kernel, None)
        self.posterior = chosen(coordinates, likelihood)[1](
            model, likelihood, width, jnp.asarray(data.x), jnp.asarray(data.y)
        )
        self.watch = make_watch(self.posterior, jnp.asarray(data.x_eval), jax.random.key(0))
        self.defaults = {**defaults, "step_size": 0.1}
        if self.spec.has_metric:
            template = jax.eval_shape(self.posterior.prior_draw, jax.random.key(0))
            size = sum(leaf.size for leaf in jax.tree.leaves(template))
            self.defaults["inverse_mass_matrix"] = jnp.ones(size, data.x.dtype)
        self.thin = thin
        self.devices = one_device()
        no_parameters = KeepPlan(0, 0)
        self.sampler = Sampler(self.spec, self.defaults, no_parameters, thin, self.devices)

    def start(self, parameters: list[Any]) -> Any:
        """Kernel states at network parameters, one set per chain."""
        positions = given_positions(self.posterior, parameters, len(parameters))
        keys = jax.random.split(jax.random.key(1), len(parameters))

        def states(posterior, keys, positions):
            return jax.lax.map(
                lambda a: self.spec.init(a[0], self.spec.view(posterior), a[1]), (keys, positions)
            )

        return jax.jit(states)(self.posterior, keys, positions)

    def measure(
        self, setting: Mapping[str, Any], states: Any, num_draws: int, seed: int
    ) -> Measurement:
        """Draws at one setting from stationary states."""
        changes = {k: jnp.asarray(v) for k, v in setting.items()}
        self.sampler.dynamic = {**self.sampler.dynamic, **changes}
        states = jax.tree.map(jnp.copy, states)
        with quiet_blas(self.devices.platform):
            self.sampler.program.run_seconds = 0.0
            blocks, start = Blocks(), fresh(self.posterior, states)
            key = jax.random.key(seed)
            sampled = self.sampler.run(
                self.posterior, self.watch, start, key, num_draws, blocks, Silent()
            )
        draws, stats, *_ = join(blocks)
        function = draws["y_mean" if "y_mean" in draws else "f_mean"]
        return Measurement(
            dict(setting),
            float(stats["acceptance_rate"].mean()),
            float(np.median(effective_sample_size(function))),
            float(np.median(effective_sample_size(draws["hidden"]))),
            float(np.max(r_hat(function))),
            int(np.prod(stats["n_steps"].shape)),
            sampled.num_gradients,
            sampled.seconds,
            float(np.max(r_hat(draws["hidden"]))),
        )
