"""This library and the peer behind one interface: prepare a kernel's program, run it, time it."""

import dataclasses
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from experiments._ntk_networks import Setting
from ntk import cost
from ntk._kernel_inputs import check_inputs
from ntk._tiles import Tile, tile_program, tiling


class SideError(RuntimeError):
    """A side cannot compute this kernel."""


class Figures(NamedTuple):
    """Of one compiled program: counted operations, XLA's temporary bytes, compile time."""

    operations: int
    temporary_bytes: int
    compile_seconds: float


class Side(Protocol):
    """A library that computes empirical kernels.

    ``open`` a setting, then ``prepare`` its methods, then run them: ``time`` is one run, and
    ``kernel`` the matrix on the host, ``[n, n, d, d]``.
    """

    name: str

    def open(self, setting: Setting) -> None: ...
    def prepare(self, method: str) -> Figures: ...
    def time(self, method: str) -> float: ...
    def kernel(self, method: str) -> np.ndarray: ...
    def versions(self) -> dict[str, str]: ...


def costs(f: Any, params: Any, x: Any) -> tuple[dict[str, int], str]:
    """Operations of every method, and the method that auto takes; nothing is run."""
    table = cost(f, params, x)
    return {name: method.operations for name, method in table.methods.items()}, table.chosen


def abstract_costs(setting: Setting) -> tuple[dict[str, int], str]:
    """The same from shapes alone: no size is too large."""
    f, *shapes = setting.shapes()
    found: list[Any] = []
    jax.eval_shape(lambda params, x: found.append(costs(f, params, x)), *shapes)
    return found[0]


class Ours:
    """This library."""

    name = "ours"

    def open(self, setting: Setting) -> None:
        self.programs: dict[str, Any] = {}
        jax.clear_caches()
        f, params, x = setting.build()
        params, x = jax.device_put((params, x))
        self.operations, self.chosen = costs(f, params, x)
        self.inputs = check_inputs(f, params, x, None, (), ())

    def prepare(self, method: str) -> Figures:
        # The program that empirical_ntk runs, with its compiler's options.
        start = time.perf_counter()
        whole = tiling(self.inputs, self.inputs.sizes[0], None)
        program, _ = tile_program(self.inputs, method, whole, Tile(0, 0))
        temporary = program.memory_analysis().temp_size_in_bytes
        self.programs[method] = program
        return Figures(self.operations[method], temporary, time.perf_counter() - start)

    def run(self, method: str) -> jax.Array:
        inputs = self.inputs
        return self.programs[method](inputs.leaves, inputs.held, inputs.x1, None, None)

    def time(self, method: str) -> float:
        start = time.perf_counter()
        jax.block_until_ready(self.run(method))
        return time.perf_counter() - start

    def kernel(self, method: str) -> np.ndarray:
        return np.asarray(self.run(method))

    def versions(self) -> dict[str, str]:
        return {"jax": jax.__version__, "jaxlib": jax.lib.__version__}


class Peer:
    """neural-tangents in a process of its own, kept alive over all cases."""

    name = "neural-tangents"

    def __init__(self, python: str):
        script = Path(__file__).with_name("_ntk_peer.py")
        # A file, for a pipe that nobody reads would fill and stop the peer.
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by close()
        self.process: Any = subprocess.Popen(
            [python, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**os.environ, "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"},
        )

    def open(self, setting: Setting) -> None:
        self._ask("open", setting=dataclasses.asdict(setting))

    def prepare(self, method: str) -> Figures:
        return Figures(**self._ask("prepare", method=method))

    def time(self, method: str) -> float:
        return self._ask("time", method=method)["seconds"]

    def kernel(self, method: str) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "kernel.npy"
            self._ask("kernel", method=method, path=str(path))
            return np.load(path)

    def versions(self) -> dict[str, str]:
        return self._ask("versions")

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(timeout=60)
        self.errors.close()

    def _ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        try:
            self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            status = self.process.wait()
            self.errors.seek(0)
            last = (self.errors.read().strip().splitlines() or [""])[-1]
            raise SideError(f"the peer's process ended with status {status}: {last[:300]}")
        answer = json.loads(line)
        if "error" in answer:
            raise SideError(answer["error"])
        return answer
