"""neural-tangents behind a line protocol, in an interpreter of its own.

Started by ``experiments._ntk_sides`` with the peer's interpreter (JAX 0.4.38 or older). Reads one
JSON request a line from standard input and answers with one line: the figures asked for, or
``{"error": ...}``. Its networks are those of ``_ntk_networks``, and its operations are counted by
``ntk/_operations.py``, both loaded by path, so that the two sides share every number and rule.
"""

import importlib.util
import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import jax
import neural_tangents
import numpy as np

HERE = Path(__file__).resolve().parent
METHODS = {"jacobian_contraction": 1, "ntk_vector_products": 2, "structured_derivatives": 3}


def load(path: Path) -> Any:
    """The module of a file, without the package it is in."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"no Python module at {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


class Server:
    """The requests, one method each."""

    def __init__(self):
        self.networks = load(HERE / "_ntk_networks.py")
        self.counter = load(HERE.parent / "ntk" / "_operations.py")
        self.programs: dict[str, Any] = {}

    def versions(self) -> dict[str, Any]:
        return {
            "neural-tangents": neural_tangents.__version__,
            "jax": jax.__version__,
            "jaxlib": jax.lib.__version__,
        }

    def open(self, setting: dict[str, Any]) -> dict[str, Any]:
        self.programs.clear()
        jax.clear_caches()
        self.f, self.params, self.x = self.networks.Setting(**setting).build()
        self.params, self.x = jax.device_put((self.params, self.x))
        return {}

    def prepare(self, method: str) -> dict[str, Any]:
        # Each example on its own, which is the cheaper in all three.
        kernel_fn = neural_tangents.empirical_ntk_fn(
            self.f, trace_axes=(), vmap_axes=0, implementation=METHODS[method]
        )

        def kernel(params: Any, x: Any) -> Any:
            return kernel_fn(x, None, params)

        start = time.perf_counter()
        compiled: Any = jax.jit(kernel).lower(self.params, self.x).compile()
        self.programs[method] = compiled
        return {
            "operations": self.counter.count_operations(kernel, self.params, self.x),
            "temporary_bytes": compiled.memory_analysis().temp_size_in_bytes,
            "compile_seconds": time.perf_counter() - start,
        }

    def time(self, method: str) -> dict[str, Any]:
        start = time.perf_counter()
        jax.block_until_ready(self.programs[method](self.params, self.x))
        return {"seconds": time.perf_counter() - start}

    def kernel(self, method: str, path: str) -> dict[str, Any]:
        np.save(path, np.asarray(self.programs[method](self.params, self.x)))
        return {}


def main() -> None:
    """Answer requests until standard input ends."""
    # Libraries print: the answers keep the real standard output to themselves.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    server = Server()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(server, request.pop("do"))(**request)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
