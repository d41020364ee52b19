"""Test networks: each entry of a registry maps a dtype to `(f, params, x)`.

`f(params, x)` returns `[n, d, ...]` for a batch `x` of n examples. In `NETWORKS` each example is
treated on its own, `f(params, x)[i] == f(params, x[i : i + 1])[0]`; in `BATCH_MIXING` it is not.
`x` is an array or a pytree of arrays whose leading axis is the batch.
"""

from . import (
    attention,
    equinox_networks,
    mixing,
    nnx_networks,
    normalised,
    plain_conv,
    plain_dense,
    programs,
    rearranged,
    recurrent,
    shared_weights,
)
from ._registry import BATCH_MIXING, NETWORKS
from .linen_networks import resnet18

__all__ = [
    "BATCH_MIXING",
    "NETWORKS",
    "attention",
    "equinox_networks",
    "mixing",
    "nnx_networks",
    "normalised",
    "plain_conv",
    "plain_dense",
    "programs",
    "rearranged",
    "recurrent",
    "resnet18",
    "shared_weights",
]
