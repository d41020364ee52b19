"""Rules of the verdict on arithmetic: what was not finite, and what float32 rounds away."""

import numpy as np

from bnnsample._record import RunRecord
from bnnsample._warnings import NonFiniteWarning, PrecisionWarning
from bnnsample.chains._numerics import LARGEST_ERROR
from bnnsample.repriorisation._condition import NEAR, against, limit
from bnnsample.results._diagnostics import centre
from bnnsample.results._finding import Finding


def percent(share: float) -> str:
    """To two digits."""
    return "100%" if share >= 0.995 else f"{100 * share:.2g}%"


def count_non_finite(record: RunRecord) -> int:
    """Proposals whose potential or gradient was not finite; 0 in records that did not count."""
    counted = record.sample_stats.get("non_finite")
    return 0 if counted is None else int(np.sum(counted))


def non_finite_draws(record: RunRecord) -> Finding | None:
    if all(np.isfinite(record.draws[name]).all() for name in ("f", centre(record))):
        return None
    remedy = _remedy_where_not_finite(record)
    text = f"Some draws of the function are not finite{_condition(record)}. {remedy}"
    return Finding(text, True, NonFiniteWarning)


def non_finite_proposals(record: RunRecord) -> Finding | None:
    count = count_non_finite(record)
    if not count:
        return None
    draws = record.sample_stats["non_finite"]
    share = float(np.mean(draws > 0))
    text = (
        f"The potential or its gradient was not finite at {count:,} proposals, in "
        f"{percent(share)} of the draws: they were rejected, and the draws leave that part of "
        f"the space out{_condition(record)}{_smallest_noise(record)}. "
        f"{_remedy_where_not_finite(record)}"
    )
    return Finding(text, share > 0.01, NonFiniteWarning)


def imprecise(record: RunRecord) -> Finding | None:
    error = record.potential_error
    # Written so that NaN is found.
    if error is None or error <= LARGEST_ERROR:
        return None
    return Finding(
        f"Potentials in {record.settings.get('dtype')} are off by up to {error:.2g} nats "
        f"({record.potentials_checked} states checked in float64), and Metropolis tests decide by "
        f"differences of about 1{_condition(record)}{_smallest_noise(record)}. {_remedy(record)}",
        True,
        PrecisionWarning,
    )


def precision_line(record: RunRecord) -> str | None:
    """How precise the potentials were, where some were checked."""
    if record.potential_error is None:
        return None
    count = record.potentials_checked
    states = f"{count} state{'' if count == 1 else 's'}"
    return f"right to {record.potential_error:.2g} nats ({states} checked in float64)"


def _condition(record: RunRecord) -> str:
    if record.condition is None:
        return ""
    return f"; {against(record.condition, record.settings['dtype'])} where the chains ended"


def _smallest_noise(record: RunRecord) -> str:
    noise = record.draws.get("noise_scale")
    return "" if noise is None else f"; the noise scale went down to {np.nanmin(noise):.1e}"


def _remedy_where_not_finite(record: RunRecord) -> str:
    if record.condition is None or record.condition > NEAR * limit(record.settings["dtype"]):
        return _remedy(record)
    return (
        "The factorisation is not the likely cause: steps too long, or a network or a likelihood "
        "that is not finite there: give a smaller step_size, or standardise the data."
    )


def _remedy(record: RunRecord) -> str:
    if record.settings.get("dtype") == "float32":
        return (
            "Likely float32 with a small noise scale: run in float64 (jax_enable_x64 and float64 "
            "data), or give a larger noise scale or a prior that keeps it from 0."
        )
    return (
        "Likely a noise scale near 0, steps too long or a network that overflows: give a larger "
        "noise scale or a prior that keeps it from 0, standardise the data, or a smaller step_size."
    )
