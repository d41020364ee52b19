"""Independent draws chosen from weighted prior draws, before anything is recorded of them."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bnnsample._weights import (
    MIN_WEIGHTS,
    SmoothedWeights,
    pareto_smoothed,
    require_reliable,
    systematic,
)
from bnnsample.chains._devices import Devices
from bnnsample.chains._prior_draws import Weigher
from bnnsample.chains._program import Program
from bnnsample.chains._progress import Progress
from bnnsample.chains._warmup import WarmupResult
from bnnsample.coordinates import Collapsed, Posterior
from bnnsample.kernels._importance import Choice
from bnnsample.kernels._spec import KernelSpec

# With more per draw than that some draws are chosen twice, which ESS shows.
MOST_PROPOSALS = 100
# Weights of one chain: 0.8 GB.
MOST_NUMBERS = 10**8


def check_choice(
    posterior: Posterior, num_proposals: int | None, counts: dict[str, int], init: Any
) -> None:
    """Raise ``ValueError`` where draws cannot be chosen, or an argument is for chains alone."""
    if type(posterior) is not Collapsed:
        raise ValueError(
            "kernel 'importance' weighs the hidden layers by their marginal likelihood: it needs "
            "coordinates='collapsed'"
        )
    if init is not None:
        raise ValueError("init: kernel 'importance' has no chain to start")
    if counts["thin"] != 1:
        raise ValueError(
            "thin must be 1 for kernel 'importance', whose draws are independent, got "
            f"{counts['thin']}"
        )
    name, size = "kernel_options['num_proposals']", num_proposals
    if size is None:
        name, size = "num_warmup", counts["num_warmup"]
    if size > MOST_NUMBERS:
        raise ValueError(
            f"{name} must be at most {MOST_NUMBERS:,} for kernel 'importance', which keeps the "
            f"weight of every prior draw, got {size:,}"
        )
    if size * counts["num_chains"] < MIN_WEIGHTS:
        raise ValueError(
            f"{name} must be at least {MIN_WEIGHTS} over all chains for kernel 'importance', got "
            f"{size} for each of {counts['num_chains']}"
        )


def choose_draws(
    posterior: Posterior,
    spec: KernelSpec,
    num_proposals: int | None,
    key: Array,
    counts: dict[str, int],
    devices: Devices,
    progress: Progress,
) -> WarmupResult:
    """Weigh prior draws and choose those that stand for the posterior.

    The warm-up's draws show how heavy the weights are. Each chain then weighs so many prior draws
    of its own, its proposals, that no Pareto-smoothed weight is above ``1 / num_samples`` of their
    sum, and resamples them systematically to ``num_samples``: none is chosen twice, and each with
    a probability proportional to its weight, as in rejection sampling. The draws are independent,
    up to what the estimated sum of the weights and their smoothing leave. Where a weight is larger
    after all, copies stand beside one another, and ESS counts them as autocorrelation. Proposals
    are not kept: a chosen one is drawn again from its number.

    Raises:
        ImportanceSamplingError: k-hat is above 0.7.
    """
    num_chains, num_samples = counts["num_chains"], counts["num_samples"]
    weigher = Weigher(devices.platform)
    pilot_key, uniform_key, *keys = jax.random.split(key, num_chains + 2)
    pilot_size = 0
    if num_proposals is None:
        pilot_size = num_chains * counts["num_warmup"]
        _, pilot = _weigh(weigher, posterior, [pilot_key], pilot_size, progress, "warm-up")
        num_proposals = _num_proposals(pilot, num_samples, num_chains)
    warmup_seconds = weigher.program.run_seconds
    log_weights, weights = _weigh(weigher, posterior, keys, num_proposals, progress, "proposals")
    uniforms = np.asarray(jax.random.uniform(uniform_key, (num_chains,)), float)
    smoothed = weights.log_weights.reshape(log_weights.shape)
    choices = [
        _choice(*chain, num_samples, posterior.y.dtype)
        for chain in zip(smoothed, log_weights, uniforms, strict=True)
    ]

    def start(posterior, keys, choices):
        def one(key, choice):
            return spec.init(key, spec.view(posterior), choice)

        return devices.map_chains(one)(keys, choices)

    starts = Program(start, devices)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *choices)
    own = devices.per_chain((jnp.stack(keys), stacked))
    return WarmupResult(
        posterior,
        starts(devices.everywhere(posterior), *own),
        {
            "num_proposals": num_proposals,
            "k_hat": weights.k_hat,
            "importance_ess": weights.effective_sample_size,
        },
        pilot_size,
        warmup_seconds,
        weigher.program.compile_seconds + starts.compile_seconds,
        weigher.program.run_seconds - warmup_seconds,
    )


def _weigh(
    weigher: Weigher,
    posterior: Posterior,
    keys: list[Array],
    count: int,
    progress: Progress,
    phase: str,
) -> tuple[np.ndarray, SmoothedWeights]:
    """Log weights ``[stream, count]`` of prior draws, and all of them smoothed together."""
    progress.start(phase, len(keys) * count)
    try:
        log_weights = np.stack(
            [weigher.log_weights(posterior, key, count, progress) for key in keys]
        )
    finally:
        progress.close()
    smoothed = pareto_smoothed(log_weights.ravel())
    require_reliable(smoothed, "kernel='infinite_hmc'")
    return log_weights, smoothed


def _num_proposals(pilot: SmoothedWeights, num_samples: int, num_chains: int) -> int:
    """Proposals per chain: draws times the largest weight relative to the mean."""
    largest = float(np.exp(pilot.log_weights.max())) * len(pilot.log_weights)
    # Equal weights are so up to rounding, and need no more proposals than draws.
    wanted = math.ceil(num_samples * min(largest, MOST_PROPOSALS) - 1e-6)
    return max(wanted, -(-MIN_WEIGHTS // num_chains))


def _choice(
    smoothed: np.ndarray, log_weights: np.ndarray, uniform: float, num_samples: int, dtype: np.dtype
) -> Choice:
    numbers = systematic(smoothed, num_samples, uniform)
    # Up to a draw's number, and for the last one to the end.
    ends = np.append(numbers[:-1], len(smoothed) - 1)
    non_finite = np.cumsum(~np.isfinite(log_weights))
    return Choice(
        jnp.asarray(numbers, jnp.uint32),
        jnp.asarray(-log_weights[numbers], dtype),
        jnp.asarray(np.diff(ends, prepend=-1), jnp.int32),
        jnp.asarray(np.diff(non_finite[ends], prepend=0), jnp.int32),
        jnp.asarray(min(1.0, num_samples / len(smoothed)), dtype),
    )
