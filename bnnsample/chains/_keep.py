"""Which whole parameter draws are kept, within a byte budget."""

import os
from typing import Any, NamedTuple

import jax

AUTO_BUDGET_BYTES = 256 * 2**20
DEVICE_BUFFER_BYTES = 64 * 2**20


KEEPS = ("auto", "all", "none")


class KeepPlan(NamedTuple):
    """Every ``stride``-th draw is kept; ``stride`` 0 keeps none."""

    stride: int
    bytes_per_draw: int

    def is_kept(self, draw: int) -> bool:
        return self.stride > 0 and (draw + 1) % self.stride == 0


def tree_bytes(template: Any) -> int:
    """Bytes of a pytree of arrays or shapes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(template))


def plan_keep(keep: str, template: Any, num_chains: int, num_samples: int) -> KeepPlan:
    """The plan for ``keep="auto"``, ``"all"`` or ``"none"``.

    ``"auto"`` keeps every draw that fits ``AUTO_BUDGET_BYTES`` on the host over all chains,
    evenly thinned, and one draw per chain at least.

    Whether ``"all"`` fits is for ``check_memory`` to say.
    """
    size = tree_bytes(template)
    if keep == "none":
        return KeepPlan(0, size)
    if keep == "all":
        return KeepPlan(1, size)
    affordable = max(1, AUTO_BUDGET_BYTES // max(1, size * num_chains))
    stride = -(-num_samples // affordable)
    return KeepPlan(stride, size)


def available_bytes() -> int:
    """Memory the machine has to give, half of it where the system does not say."""
    try:
        with open("/proc/meminfo") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
