"""How much faster chains are over several devices than on one: the CPU as one device per core.

The same run, on the first device with all threads of the process held to one core, and on all
devices with a core each, in turn, in one process; sampling alone is timed, and the draws are
compared.

    python -m experiments.chains_over_devices --width 1024 --n-train 256
"""

import argparse
import os
import subprocess
import sys

import jax
import numpy as np

import bnnsample
from experiments._data import load
from experiments._options import whole


def main(arguments: list[str] | None = None) -> None:
    """Print the times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--devices", type=whole(2), default=2)
    parser.add_argument("--width", type=whole(1), default=1024)
    parser.add_argument("--n-train", type=whole(1), default=256)
    parser.add_argument("--draws", type=whole(4), default=40, help="per chain")
    parser.add_argument("--rounds", type=whole(1), default=5)
    options = parser.parse_args(arguments)
    flags = (
        "--xla_cpu_multi_thread_eigen=false "
        f"--xla_force_host_platform_device_count={options.devices}"
    )
    if flags not in os.environ.get("XLA_FLAGS", ""):
        # They are read when a process starts.
        given = sys.argv[1:] if arguments is None else arguments
        command = [sys.executable, "-m", "experiments.chains_over_devices", *given]
        chosen = {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}", "JAX_PLATFORMS": "cpu"}
        subprocess.run(command, env={**os.environ, **chosen}, check=True)
        return
    measure(options)


def measure(options: argparse.Namespace) -> None:
    """One device and all of them, in turn."""
    data = load("digits", options.n_train, seed=0)
    devices = jax.devices()
    spread = {"one device": devices[:1], f"{len(devices)} devices": devices}
    results = {
        name: bnnsample.run(
            bnnsample.models.mlp(1),
            (data.x, data.y),
            width=options.width,
            likelihood=bnnsample.likelihoods.Gaussian(0.1),
            num_chains=2 * options.devices,
            num_warmup=20,
            num_samples=options.draws,
            x_eval=data.x_eval,
            devices=chosen,
            progress=False,
        )
        for name, chosen in spread.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in results}
    for _ in range(options.rounds):
        for name, result in results.items():
            hold_to(1 if result is results["one device"] else options.devices)
            before = result.sampling_seconds
            results[name] = longer = result.extend(options.draws)
            seconds[name].append(longer.sampling_seconds - before)
    one, many = (np.asarray(times) for times in seconds.values())
    for name, times in seconds.items():
        print(f"{name}: {np.median(times):.3f} s for {options.draws} draws of each chain")
    low, median, high = np.percentile(one / many, [25, 50, 75])
    print(f"one / {len(devices)}: {median:.2f} (quartiles {low:.2f} to {high:.2f})")
    f, g = (np.asarray(r.idata.posterior["f_mean"]) for r in results.values())
    print(f"largest difference of E[f | h] between them: {np.abs(f - g).max():.2g}")


def hold_to(num_cores: int) -> None:
    """All threads of this process run on so many cores."""
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), range(num_cores))


if __name__ == "__main__":
    main()
