"""How programs are compiled, where that changes how long it takes and not what they do."""

import functools
from collections.abc import Mapping

import jax

Options = Mapping[str, str | bool]
# XLA's newer emitters of loops take about twice the time to compile, and their loops run no faster:
# measured by `python -m benchmarks`.
_CPU: Options = {"xla_cpu_use_fusion_emitters": False}


def options_for(platform: str) -> Options:
    """Options of XLA for every program of a run on ``platform``."""
    return _known() if platform == "cpu" else {}


@functools.cache
def _known() -> Options:
    """Those for a CPU, none where this version of XLA does not have them."""
    try:
        jax.jit(lambda: 0).lower().compile(dict(_CPU))
    except jax.errors.JaxRuntimeError:
        return {}
    return _CPU
