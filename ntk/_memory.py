"""How many bytes a program needs while it runs, and how many a device has."""

import functools
import os
from typing import Any

import jax
from jax.extend import core

from ntk._operations import bytes_of, inner_jaxprs

# Of what is free on the device, by default.
SHARE = 0.5
UNKNOWN = 4 * 2**30
# From so many bytes on, XLA's CPU compiler is asked for the order of equations that needs least
# memory, and not for the one that runs most of them side by side: large ones use all cores alone.
LEAN = 2**26


def default_budget(device: Any) -> int:
    """Half of the memory that is free: the device's own, on CPUs the machine's."""
    statistics = device.memory_stats() if device.platform != "cpu" else None
    if statistics and "bytes_limit" in statistics:
        return int(SHARE * (statistics["bytes_limit"] - statistics.get("bytes_in_use", 0)))
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return UNKNOWN
    return int(SHARE * free)


def compiler_options(peak: int) -> dict[str, str]:
    """Options of XLA for a program whose estimated temporary bytes are ``peak``."""
    lean = peak >= LEAN and jax.default_backend() == "cpu"
    return dict(_lean_options()) if lean else {}


@functools.cache
def _lean_options() -> tuple[tuple[str, str], ...]:
    """Of the CPU; none where its XLA does not know them."""
    options: dict[str, Any] = {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}
    try:
        jax.jit(lambda: 0).lower().compile(compiler_options=options)
    except jax.errors.JaxRuntimeError:
        return ()
    return tuple(options.items())


def peak_bytes(jaxpr: core.Jaxpr) -> int:
    """The most bytes of intermediate arrays alive at once, in the order of the equations.

    Arguments and results are not counted, as XLA does not count them as temporary. What XLA
    fuses it never stores, so that this is an estimate from above for elementwise work.
    """
    last: dict[Any, int] = {}
    for number, equation in enumerate(jaxpr.eqns):
        for atom in equation.invars:
            if not isinstance(atom, core.Literal):
                last[atom] = number
    results = [atom for atom in jaxpr.outvars if not isinstance(atom, core.Literal)]
    outside = {*jaxpr.invars, *jaxpr.constvars, *results}
    alive: dict[Any, int] = {}
    peak = total = 0
    for number, equation in enumerate(jaxpr.eqns):
        for var in equation.outvars:
            if var not in outside and var in last:
                alive[var] = bytes_of(var)
                total += alive[var]
        peak = max(peak, total + _inside(equation))
        for atom in {a for a in equation.invars if not isinstance(a, core.Literal)}:
            if last.get(atom) == number:
                total -= alive.pop(atom, 0)
    return peak


def _inside(equation: Any) -> int:
    """The most that one of the equation's own programs needs."""
    programs = [j for value in equation.params.values() for j in inner_jaxprs(value)]
    return max(map(peak_bytes, programs), default=0)
