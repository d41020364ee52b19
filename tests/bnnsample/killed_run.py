"""A run in a process of its own, to be killed: ``python killed_run.py FOLDER [CACHE DEVICES]``."""

import os
import sys

NUM_DEVICES = int(sys.argv[3]) if len(sys.argv) > 3 else 1
os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={NUM_DEVICES}"
)

import jax  # noqa: E402
import numpy as np  # noqa: E402

jax.config.update("jax_disable_most_optimizations", True)
if len(sys.argv) > 2:
    jax.config.update("jax_compilation_cache_dir", sys.argv[2])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)

import bnnsample  # noqa: E402

NUM_WARMUP, NUM_SAMPLES = 400, 600


class Told:
    """Says on standard output how far it is."""

    def start(self, phase, total):
        self.phase, self.done = phase, 0

    def update(self, steps, info):
        self.done += steps
        print(self.phase, self.done, flush=True)

    def close(self):
        pass


def run(folder, progress):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(48, 3)).astype(np.float32)
    return bnnsample.run(
        bnnsample.models.mlp(1, "tanh"),
        (x, np.sin(2 * x[:, 0])),
        width=64,
        num_chains=max(2, NUM_DEVICES),
        num_warmup=NUM_WARMUP,
        num_samples=NUM_SAMPLES,
        seed=1,
        keep="all",
        progress=progress,
        checkpoint_dir=folder,
        checkpoint_every=0,
    )


if __name__ == "__main__":
    run(sys.argv[1], Told())
    print("finished", flush=True)
