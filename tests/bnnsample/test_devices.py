"""Chains over devices and processes: the draws are those of one device."""

import os
import pathlib
import socket
import subprocess
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

import bnnsample
from bnnsample import likelihoods, models
from bnnsample._check_run import _check_rows
from bnnsample.chains._devices import one_device, resolve_devices
from bnnsample.coordinates import SurrogateRepriorised

SCRIPT = pathlib.Path(__file__).with_name("spread_run.py")


LAYOUTS = {"two": [2, 1], "all": [4, 1], "rows": [1, 4], "both": [4, 2]}


def start(folder, *arguments):
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def finish(process):
    said = process.communicate()[0]
    assert process.returncode == 0, said


def draws(folder, layout, process=0):
    with np.load(folder / f"{layout}-{process}.npz") as file:
        return dict(file)


def assert_same(found, expected):
    """To rounding, which a few dozen steps of a chain let grow."""
    assert found.keys() == expected.keys()
    np.testing.assert_array_equal(found["n_steps"], expected["n_steps"])
    for name in found.keys() - {"devices"}:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6, atol=1e-6, err_msg=name)


def assert_spread_like_one(folder, case, layouts):
    finish(start(folder, case, 8, ",".join(["one", *layouts])))
    one = draws(folder, "one")
    assert one["devices"].tolist() == [1, 1]
    for layout in layouts:
        found = draws(folder, layout)
        assert found["devices"].tolist() == LAYOUTS[layout]
        assert_same(found, one)


def assert_processes_agree(folder, case):
    """Two processes of two devices each, and one process of one."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    several, alone = folder / "several", folder / "alone"
    processes = [start(several, case, 2, "all", i, address) for i in range(2)]
    for process in processes:
        finish(process)
    finish(start(alone, case, 1, "one"))
    first, second = (draws(several, "all", i) for i in range(2))
    assert first["devices"].tolist() == [4, 1]
    for name, values in first.items():
        np.testing.assert_array_equal(second[name], values)
    assert_same(first, draws(alone, "one"))


def test_draws_over_eight_devices_are_those_of_one(tmp_path):
    assert_spread_like_one(tmp_path, "collapsed", ["all", "both"])


def test_two_processes_that_store_their_run_draw_as_one(tmp_path):
    assert_processes_agree(tmp_path, "stored")


@pytest.mark.slow
@pytest.mark.parametrize("case", ["collapsed", "metric", "tuned", "softmax", "chosen"])
def test_every_kind_of_kernel_draws_over_devices_as_on_one(tmp_path, case):
    assert_spread_like_one(tmp_path, case, list(LAYOUTS))


@pytest.mark.slow
@pytest.mark.parametrize("case", ["collapsed", "metric", "tuned", "softmax", "chosen", "extended"])
def test_every_kind_of_kernel_draws_in_two_processes_as_in_one(tmp_path, case):
    assert_processes_agree(tmp_path, case)


def test_rows_are_split_evenly_under_a_likelihood_that_may_index():
    def log_prob(y, f):
        return -jnp.sum((y - f) ** 2, axis=1)

    x = np.ones((5, 2))
    likelihood = likelihoods.from_log_prob(log_prob)
    posterior = SurrogateRepriorised(models.mlp(), likelihood, 3, x, x)
    two = SimpleNamespace(mesh=SimpleNamespace(shape={"chains": 1, "data": 2}))
    with pytest.raises(ValueError, match="5 rows of the data do not divide evenly among 2 devices"):
        _check_rows(posterior, two)
    _check_rows(SurrogateRepriorised(models.mlp(), likelihoods.Poisson(), 3, x, x), two)
    _check_rows(SurrogateRepriorised(models.mlp(), likelihood, 3, x[:4], x[:4]), two)


def test_a_mesh_without_devices_is_refused():
    with pytest.raises(ValueError, match="devices: a mesh needs a device"):
        resolve_devices(Mesh(np.empty((0,), object), ("chains",)), 4)


def test_a_chain_is_spread_over_the_features_of_its_rows():
    """No device holds all features: the compiled gradient has arrays of its own rows alone."""
    program = """
import os
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
import jax, numpy as np
from jax.sharding import Mesh
import bnnsample
from bnnsample.chains._devices import resolve_devices
from bnnsample.chains._program import Program
from bnnsample.coordinates import Collapsed

x = np.ones((64, 3), np.float32)
likelihood = bnnsample.likelihoods.Gaussian(0.1)
posterior = Collapsed(bnnsample.models.mlp(1, "tanh"), likelihood, 500, x, x[:, :1])
devices = resolve_devices(Mesh(np.asarray(jax.devices()), ("data",)), 1)
def gradient(posterior, positions):
    return devices.map_chains(jax.grad(posterior.potential))(positions)
program = Program(gradient, devices)
positions = jax.vmap(posterior.prior_draw)(jax.random.split(jax.random.key(0), 1))
program(posterior, positions)
print(program.as_text())
"""
    said = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ).stdout
    # Features of width 500 and one for the bias.
    assert "f32[16,500]" in said
    assert "f32[64,500]" not in said


CPU = jax.local_devices()[0]


@pytest.mark.parametrize(
    ("devices", "error", "message"),
    [
        (3, TypeError, "devices must be None, a list"),
        ("cpu", TypeError, "devices must be None, a list"),
        ([CPU, 1], TypeError, "devices must be None, a list"),
        ([], ValueError, "devices must be one or more, each once"),
        ([CPU, CPU], ValueError, "devices must be one or more, each once"),
        (Mesh(np.asarray([CPU]), ("batch",)), ValueError, "axes 'chains' and 'data', got .'batch'"),
    ],
)
def test_devices_that_cannot_be_meant_are_refused(devices, error, message):
    with pytest.raises(error, match=message):
        bnnsample.run(
            bnnsample.models.mlp(1), (np.ones((4, 1)), np.ones(4)), width=4, devices=devices
        )


class Many:
    """A device among others, of which there is one here."""

    def __init__(self, number, process=0):
        self.id, self.process_index, self.platform = number, process, "cpu"


def test_chains_take_as_many_devices_as_divide_them(monkeypatch):
    monkeypatch.setattr(jax, "devices", lambda: [Many(i, i // 4) for i in range(8)])
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    for num_chains, each in ((8, 4), (4, 2), (6, 3), (14, 1), (2, 1)):
        mesh = resolve_devices(None, num_chains).mesh
        processes = [device.process_index for device in mesh.devices.flat]
        assert processes == [0] * each + [1] * each
    with pytest.raises(ValueError, match="num_chains must be a multiple of the number of proc"):
        resolve_devices(None, 3)
    with pytest.raises(ValueError, match="devices must have some of every process, got none"):
        resolve_devices(Mesh(np.asarray([Many(0), Many(1)]), ("chains",)), 4)
    with pytest.raises(ValueError, match="3 chains cannot be spread evenly over 2"):
        resolve_devices(Mesh(np.asarray([Many(0), Many(4, 1)]), ("chains",)), 3)


def test_one_device_is_left_as_it_is():
    tree = {"a": np.ones(3)}
    devices = one_device()
    assert devices.per_chain(tree) is tree
    assert devices.everywhere(tree) is tree
    assert devices.describe() == {"chains": 1, "data": 1}
