"""What is measured: each case returns a ratio of ours to a baseline, smaller is better."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import bnnsample
from bnnsample.chains import _executables
from bnnsample.chains._mapping import quiet_blas
from bnnsample.coordinates import COORDINATES
from bnnsample.likelihoods import Gaussian
from bnnsample.models import mlp
from bnnsample.results import effective_sample_size
from experiments._data import load
from ntk import empirical_ntk

ROUNDS = 15
# Seconds that one timing should take at least.
SHORTEST = 0.02


def collapsed_gradient() -> float:
    """Time of a collapsed gradient over that of a standard one: width 2048, depth 2, n 64."""
    data = load("diabetes", 64, seed=0)
    calls = {}
    for name in ("collapsed", "standard"):
        posterior = COORDINATES[name](
            mlp(2), Gaussian(0.3), 2048, jnp.asarray(data.x), jnp.asarray(data.y)
        )
        position = posterior.prior_draw(jax.random.key(0))
        gradient = jax.jit(jax.value_and_grad(posterior.potential))
        calls[name] = lambda gradient=gradient, position=position: gradient(position)
    return in_turn(calls["collapsed"], calls["standard"])


def kernel_few_outputs() -> float:
    """Time of ``empirical_ntk`` by its own choice over Jacobian contraction: 10 outputs."""
    return _kernel(10)


def kernel_many_outputs() -> float:
    """The same with 50 outputs."""
    return _kernel(50)


def _kernel(outputs: int) -> float:
    model = mlp(3, "relu")
    x = jnp.asarray(np.random.default_rng(0).normal(size=(16, 64)), jnp.float32)
    parameters = model.init(jax.random.key(0), x, 256, outputs)

    def kernel(method: str) -> Callable[[], Any]:
        def ntk(parameters, x):
            return empirical_ntk(model.apply, parameters, x, method=method, progress=False)

        compiled = jax.jit(ntk)
        return lambda: compiled(parameters, x)

    return in_turn(kernel("auto"), kernel("jacobian_contraction"))


def gradients_per_sample_narrow() -> float:
    """Gradients per effective sample of E[f | h], ours over HMC's: width 128."""
    return _gradients_per_sample(128)


def gradients_per_sample_wide() -> float:
    """The same at width 1024."""
    return _gradients_per_sample(1024)


def _gradients_per_sample(width: int) -> float:
    data = load("diabetes", 64, seed=0)
    cost = []
    for settings in ({}, {"coordinates": "standard", "kernel": "hmc"}):
        result = bnnsample.run(
            mlp(1), (data.x, data.y), width=width, likelihood=Gaussian(0.3), num_warmup=300,
            num_samples=500, x_eval=data.x_eval, keep="none", progress=False, **settings,
        )  # fmt: skip
        ess = float(np.median(effective_sample_size(result.record.draws["f_mean"])))
        cost.append(result.num_gradients / ess)
    return cost[0] / cost[1]


def second_run() -> float:
    """Time of the same run with another seed over that of the first, which compiles."""
    data = load("diabetes", 32, seed=0)
    seconds = []
    _executables._KEPT.clear()
    for seed in (0, 1):
        start = time.perf_counter()
        bnnsample.run(
            mlp(1), (data.x, data.y), width=64, num_warmup=50, num_samples=50, seed=seed,
            progress=False,
        )  # fmt: skip
        seconds.append(time.perf_counter() - start)
    return seconds[1] / seconds[0]


CASES: dict[str, Callable[[], float]] = {
    case.__name__: case
    for case in (
        collapsed_gradient,
        kernel_few_outputs,
        kernel_many_outputs,
        gradients_per_sample_narrow,
        gradients_per_sample_wide,
        second_run,
    )
}


def in_turn(ours: Callable[[], Any], baseline: Callable[[], Any]) -> float:
    """The median, over rounds, of the time of one over that of the other, measured in turn."""
    with quiet_blas(jax.default_backend()):
        counts = [_repeats(ours), _repeats(baseline)]
        ratios = []
        for _ in range(ROUNDS):
            own, other = (
                _seconds(call, count) for call, count in zip((ours, baseline), counts, strict=True)
            )
            ratios.append(own / other)
    return float(np.median(ratios))


def _repeats(call: Callable[[], Any]) -> int:
    """So many calls that their time is long enough to be told."""
    _seconds(call, 1)
    return max(1, int(SHORTEST / max(_seconds(call, 1), 1e-6)))


def _seconds(call: Callable[[], Any], count: int) -> float:
    """Of one call, the mean over ``count``."""
    start = time.perf_counter()
    for _ in range(count):
        jax.block_until_ready(call())
    return (time.perf_counter() - start) / count
