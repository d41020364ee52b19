"""Many short runs in one process: whether any hangs, and whether memory or programs pile up.

Round after round of the same runs, every kernel in every coordinate system it moves in, precisions
in turn. After each round memory in use (resident, after a collection of garbage) and the compiled
programs that are alive are compared with the first round's. Programs are compiled without most
optimisations, so that a round takes minutes.

    python -m experiments.soak --minutes 10
"""

import argparse
import gc
import itertools
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

import bnnsample
from bnnsample.kernels._registry import KERNELS
from experiments._memory import MIB, resident_bytes
from experiments._options import positive, whole

PRECISIONS = ("float64", "float32", "mixed")
LIKELIHOODS = {
    "Gaussian": bnnsample.likelihoods.Gaussian(),
    "Categorical": bnnsample.likelihoods.Categorical(),
}
# Prior draws stand for the posterior of few points; other kernels take them all.
FEW_POINTS = 6
# A run of this size takes seconds; one that takes so long hangs.
HANG_SECONDS = 180


def cases() -> Iterator[dict[str, Any]]:
    """Settings of one round; not all can be meant."""
    precisions = itertools.cycle(PRECISIONS)
    for kernel, likelihood in itertools.product(sorted(KERNELS), LIKELIHOODS):
        for coordinates in ("collapsed", "repriorised", "standard"):
            yield {
                "kernel": kernel,
                "likelihood": likelihood,
                "coordinates": coordinates,
                "precision": next(precisions),
            }


def main(arguments: list[str] | None = None) -> int:
    """Print a line for each round; returns 1 where something has grown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=positive, default=10)
    parser.add_argument("--per-round", type=whole(1), default=None, help="runs; default: all")
    options = parser.parse_args(arguments)
    jax.config.update("jax_disable_most_optimizations", True)
    signal.signal(signal.SIGALRM, _hangs)
    started, done = time.monotonic(), 0
    rounds: list[tuple[float, int]] = []
    while time.monotonic() - started < 60 * options.minutes or len(rounds) < 2:
        for settings in itertools.islice(cases(), options.per_round):
            done += run(**settings)
        gc.collect()
        rounds.append((resident_bytes() / MIB, live_programs()))
        print(
            f"round {len(rounds)}: {done} runs, {rounds[-1][0]:.0f} MiB, "
            f"{rounds[-1][1]} programs alive, {time.monotonic() - started:.0f} s",
            flush=True,
        )
    memory, programs = np.asarray(rounds).T
    print(f"memory {memory[0]:.0f} to {memory[-1]:.0f} MiB, programs {programs[0]:.0f} to "
          f"{programs[-1]:.0f} from the first round to the last")  # fmt: skip
    return int(programs[-1] > programs[0] or memory[-1] > 1.1 * memory[0])


def run(kernel: str, likelihood: str, coordinates: str, precision: str) -> int:
    """One short run, with a prediction and a report; 0 where there is no such combination."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(24, 3))
    y = np.sin(x[:, 0]) if likelihood == "Gaussian" else (x[:, 0] > 0).astype(int) + (x[:, 1] > 1)
    few = FEW_POINTS if kernel == "importance" else len(x)
    signal.alarm(HANG_SECONDS)
    try:
        result = bnnsample.run(
            bnnsample.models.mlp(1),
            (x[:few], y[:few]),
            width=16,
            likelihood=LIKELIHOODS[likelihood],
            kernel=kernel,
            coordinates=coordinates,
            precision=precision,
            num_chains=2,
            num_warmup=100,
            num_samples=20,
            progress=False,
        )
    except ValueError as error:
        # A kernel's or a likelihood's coordinates are what such a refusal is about.
        if "coordinates=" not in str(error):
            raise
        return 0
    finally:
        signal.alarm(0)
    assert np.isfinite(result.predict(x[:4]).mean).all(), (kernel, likelihood, coordinates)
    result.report()
    return 1


def live_programs() -> int:
    """Compiled programs that the backend holds."""
    return len(jax.local_devices()[0].client.live_executables())


def _hangs(signum: int, frame: Any) -> None:
    raise TimeoutError(f"a run took more than {HANG_SECONDS} s")


if __name__ == "__main__":
    sys.exit(main())
