"""Runs over devices and processes, in a process of its own.

``python spread_run.py FOLDER CASE DEVICES LAYOUTS [PROCESS ADDRESS]``: the draws of a case as
``FOLDER/LAYOUT-PROCESS.npz``; devices are those of each process.
"""

import os
import pathlib
import sys

folder, case, num_devices, layouts = sys.argv[1:5]
folder = pathlib.Path(folder)
os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={num_devices}"
)

import jax  # noqa: E402

jax.config.update("jax_disable_most_optimizations", True)
jax.config.update("jax_enable_x64", True)
process = 0
if len(sys.argv) > 5:
    process = int(sys.argv[5])
    jax.distributed.initialize(sys.argv[6], num_processes=2, process_id=process)

import numpy as np  # noqa: E402
from jax.sharding import Mesh  # noqa: E402

import bnnsample  # noqa: E402

rng = np.random.default_rng(0)
# Not a multiple of any number of devices.
X = rng.normal(size=(33, 3))
Y = np.sin(2 * X[:, 0]) + 0.3 * X[:, 1]
LABELS = (X[:, :2] @ rng.normal(size=(2, 3))).argmax(1)
CASES = {
    "collapsed": {"data": (X, Y), "num_warmup": 60},
    # Rounding grows with every leapfrog step, until a trajectory turns elsewhere.
    "metric": {
        "data": (X, Y),
        "kernel": "nuts",
        "coordinates": "standard",
        "kernel_options": {"max_num_doublings": 3},
        "num_warmup": 20,
        "num_samples": 5,
    },
    "tuned": {"data": (X, Y), "kernel": "mclmc", "num_warmup": 200},
    "softmax": {"data": (X, LABELS), "likelihood": bnnsample.likelihoods.Categorical()},
    "chosen": {"data": (X, Y), "kernel": "importance", "likelihood": 1.0, "num_warmup": 200},
    "stored": {"data": (X, Y), "likelihood": 0.3, "num_warmup": 20},
    "extended": {"data": (X, Y), "num_warmup": 40},
}


def devices_of(layout):
    """What ``devices`` is."""
    devices = np.asarray(jax.devices())
    if layout == "all":
        return None
    if layout in ("one", "two"):
        return devices[: ["one", "two"].index(layout) + 1].tolist()
    if layout == "rows":
        return Mesh(devices[:4], ("data",))
    return Mesh(devices.reshape(2, 4), ("data", "chains"))


def run(case, devices):
    settings = {"num_warmup": 40, "num_samples": 20, **CASES[case]}
    if case in ("stored", "extended"):
        settings |= {"checkpoint_dir": folder / "run", "checkpoint_every": 0}
    if isinstance(settings.get("likelihood"), float):
        settings["likelihood"] = bnnsample.likelihoods.Gaussian(settings["likelihood"])
    return bnnsample.run(
        bnnsample.models.mlp(1, "tanh"), width=32, progress=False, devices=devices, **settings
    )


for layout in layouts.split(","):
    result = run(case, devices_of(layout))
    if case == "extended":
        result = result.extend(5)
    posterior = {name: np.asarray(v) for name, v in result.idata.posterior.items()}
    spread = result.settings["devices"]
    np.savez(
        folder / f"{layout}-{process}.npz",
        predicted=result.predict(X[:5]).mean,
        n_steps=np.asarray(result.idata.sample_stats["n_steps"]),
        devices=[spread["chains"], spread["data"]],
        **posterior,
    )
print("finished", flush=True)
