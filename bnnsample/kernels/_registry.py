"""The kernels of ``run`` by name, and their options."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from bnnsample._arguments import checked_index, checked_number, shown
from bnnsample._data import as_numbers
from bnnsample.kernels import _blackjax, _importance, _prior_exact
from bnnsample.kernels._spec import KernelSpec

COUNTS = (
    "num_integration_steps",
    "max_evaluations",
    "max_num_doublings",
    "num_blocks",
    "num_readout_steps",
    "num_proposals",
)

ALL_DATA = (
    "bnnsample samples the exact posterior: every gradient sees all points, and there are no "
    "minibatches. The readout's algebra is of the smaller of the number of points and the width, "
    "practical up to 10,000 (one gradient of 10,000 points in float32 on one CPU core: 0.8 s and "
    "138 MiB at width 512, 11 s and 563 MiB at 2048; README, 'How many points'): take fewer "
    "points, a narrower network or float32, or a stochastic-gradient sampler such as "
    "blackjax.sgld, which is not exact"
)
# Names by which minibatches are asked for.
STOCHASTIC_GRADIENT = frozenset(
    {"sgld", "sghmc", "sgnht", "csgld", "sgmcmc", "svrg_langevin", "sgd", "stochastic_gradient"}
)
MINIBATCH = frozenset({"batch_size", "minibatch_size", "minibatch", "batch"})

KERNELS: dict[str, KernelSpec] = {
    spec.name: spec
    for spec in (
        _prior_exact.INFINITE_HMC,
        _prior_exact.INFINITE_MALA,
        _prior_exact.UNITWISE,
        _prior_exact.ALTERNATING,
        _prior_exact.PCN,
        _prior_exact.ELLIPTICAL_SLICE,
        _importance.IMPORTANCE,
        _blackjax.HMC,
        _blackjax.NUTS,
        _blackjax.GHMC,
        _blackjax.MALA,
        _blackjax.MCLMC,
        _blackjax.ADJUSTED_MCLMC,
    )
}


def resolve_kernel(
    name: str, options: Mapping[str, Any] | None
) -> tuple[KernelSpec, dict[str, Any], float | None]:
    """The kernel of a name, its parameters (None: to be adapted) and its target acceptance.

    Raises:
        ValueError: an unknown kernel or option, naming the valid ones, or a value that is
            impossible.
    """
    if isinstance(name, str) and name.lower() in STOCHASTIC_GRADIENT:
        raise ValueError(f"kernel {name!r} is not here. {ALL_DATA}")
    if not isinstance(name, str) or name not in KERNELS:
        raise ValueError(f"unknown kernel {shown(name)}; expected one of {', '.join(KERNELS)}")
    spec = KERNELS[name]
    if options is not None and not isinstance(options, Mapping):
        raise TypeError(f"kernel_options must be a dict, got {type(options).__name__}")
    options = dict(options or {})
    valid = set(spec.defaults) | ({"target_acceptance"} if spec.target_acceptance else set())
    unknown = sorted(set(options) - valid, key=str)
    if MINIBATCH & set(unknown):
        raise ValueError(f"kernel_options[{unknown[0]!r}]: {ALL_DATA}")
    if unknown:
        raise ValueError(
            f"kernel_options: kernel {name!r} has no option {shown(unknown[0])}; its options are "
            f"{', '.join(sorted(valid))}"
        )
    target = options.pop("target_acceptance", None)
    if target is None:
        target = spec.target_acceptance
    else:
        target = checked_number("target_acceptance", target)
        if not 0 < target < 1:
            raise ValueError(f"target_acceptance must lie between 0 and 1, got {target!r}")
    for option, value in options.items():
        if value is not None:
            options[option] = _checked(name, option, value, spec)
    return spec, spec.complete({**spec.defaults, **options}), target


def _checked(kernel: str, option: str, value: Any, spec: KernelSpec) -> Any:
    label = f"kernel_options[{option!r}] of {kernel!r}"
    if option in COUNTS:
        value = checked_index(label, value)
        if not 1 <= value < 2**31:
            raise ValueError(f"{label} must be at least 1 and below 2**31, got {shown(value)}")
        return value
    if option == "inverse_mass_matrix":
        array = as_numbers(value)
        if array is None:
            raise TypeError(f"{label} must be a vector of numbers, got {shown(value)}")
        if array.ndim != 1 or not np.isfinite(array).all() or (array <= 0).any():
            raise ValueError(f"{label} must be a vector of positive variances")
        return array
    value = checked_number(label, value)
    low_ok = value >= 0 if option in ("jitter", "damping") else value > 0
    if not math.isfinite(value) or not low_ok:
        raise ValueError(f"{label} must be positive and finite, got {value!r}")
    if option == "step_size" and value > spec.max_step_size + 1e-9:
        raise ValueError(f"{label} is an angle of at most {spec.max_step_size:.4f}, got {value}")
    if option == "jitter" and value >= 1:
        raise ValueError(f"{label} must be below 1, got {value}")
    return value
