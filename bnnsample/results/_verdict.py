"""What is wrong with a run and what to do next."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from bnnsample._record import RunRecord
from bnnsample._warnings import (
    ConvergenceWarning,
    DivergenceWarning,
    EffectiveSampleSizeWarning,
    StuckChainWarning,
    WarmupWarning,
)
from bnnsample.kernels._registry import KERNELS
from bnnsample.kernels._spec import KernelSpec
from bnnsample.results._chains_apart import bimodal, stuck
from bnnsample.results._ess import MIN_DRAWS
from bnnsample.results._finding import Finding
from bnnsample.results._numbers import imprecise, non_finite_draws, non_finite_proposals, percent

# Vehtari et al. 2021, section 4.
R_HAT_LIMIT = 1.01
ESS_WANTED = 400
ACCEPTANCE_TOLERANCE = 0.15
SINGLE_STEP_SHARE = 0.45
# Transitions whose mean rate is a measurement.
FEWEST_RATES = 100
_FUNCTION = (
    "posterior_mean_function",
    "expected_observation",
    "function",
    "log_likelihood",
    "hyperparameters",
)


LABELS = {
    "posterior_mean_function": "posterior-mean function",
    "expected_observation": "expected observation",
    "function": "function",
    "log_likelihood": "log-likelihood",
    "hyperparameters": "hyperparameters",
    "hidden_weights": "hidden weights",
    "projections": "random projections",
}


Rule = Callable[[RunRecord], Finding | None]


def findings(
    record: RunRecord, table: pd.DataFrame | None, reads_draws: bool = True
) -> list[Finding]:
    """Every problem found, the gravest first; an empty list is a clean bill of health.

    Without a table none that R-hat or ESS would show; with ``reads_draws=False`` none that takes
    reading the function's draws or the log-likelihood's.
    """
    rules: tuple[Rule, ...] = (
        stuck,
        imprecise,
        non_finite_proposals,
        _divergences,
        _acceptance,
        _biased,
    )
    if reads_draws:
        rules = (_too_few, non_finite_draws, bimodal, *rules, _stopped)
    by_rule = {rule: finding for rule in rules if (finding := rule(record)) is not None}
    if stuck in by_rule:
        # A chain that stays where it is is not in a mode.
        by_rule.pop(bimodal, None)
    found = list(by_rule.values())
    if table is not None:
        # Where a chain is stuck, or draws are not finite, that is said already; and of chains in
        # different modes running longer is no remedy.
        if not by_rule.keys() & {stuck, non_finite_draws}:
            found += _some(_never_moved(record, table))
        if not by_rule.keys() & {stuck, bimodal}:
            found += _some(_r_hat(record, table)) + _some(_ess(record, table))
    if record.sample_stats["lp"].shape[0] == 1:
        text = "One chain: R-hat compares its two halves only. Run num_chains=4 to see whether "
        found.append(Finding(text + "independent chains agree.", False))
    return sorted(found, key=lambda finding: not finding.is_serious)


def _some(finding: Finding | None) -> list[Finding]:
    return [] if finding is None else [finding]


def target_acceptance(record: RunRecord) -> float | None:
    """The acceptance rate that the warm-up aimed for; None where nothing was adapted."""
    options = record.settings.get("kernel_options") or {}
    target = options.get("target_acceptance", record.settings.get("target_acceptance"))
    if (spec := _kernel(record)) is not None:
        # Of some kernels a number of steps gives the step size as well.
        options = spec.complete({**spec.defaults, **options})
    return None if target is None or options.get("step_size") is not None else float(target)


def _kernel(record: RunRecord) -> KernelSpec | None:
    return KERNELS.get(record.settings.get("kernel", ""))


def _too_few(record: RunRecord) -> Finding | None:
    draws = record.draws["f"].shape[1]
    if draws >= MIN_DRAWS:
        return None
    return Finding(
        f"Too few draws: {draws} per chain, and ESS and R-hat need {MIN_DRAWS}. Run with "
        "num_samples=1000.",
        True,
    )


def _never_moved(record: RunRecord, table: pd.DataFrame) -> Finding | None:
    if record.draws["f"].shape[1] < MIN_DRAWS or not math.isnan(table.ess_bulk_median.iloc[0]):
        return None
    return Finding(
        "The chains never moved: no proposal was accepted. Use a smaller step_size or a longer "
        "warm-up (num_warmup).",
        True,
        StuckChainWarning,
    )


def _r_hat(record: RunRecord, table: pd.DataFrame) -> Finding | None:
    worst, group = _worst(table.r_hat_max, largest=True)
    if not worst > R_HAT_LIMIT:
        return None
    return Finding(
        f"The chains disagree on the {group} (R-hat {worst:.3f}, which should be below "
        f"{R_HAT_LIMIT}): they have not forgotten where they started. Run longer "
        "(num_samples) after a longer warm-up (num_warmup).",
        True,
        ConvergenceWarning,
    )


def _ess(record: RunRecord, table: pd.DataFrame) -> Finding | None:
    worst, group = _worst(table[["ess_bulk_min", "ess_tail_min"]].min(axis=1), largest=False)
    if not worst < ESS_WANTED:
        return None
    chains, draws = record.draws["f"].shape[:2]
    is_serious = worst < ESS_WANTED / 4
    factor = ESS_WANTED / worst
    asked = math.ceil(factor * draws / 100) * 100
    return Finding(
        f"Effective draws of the {group}: {worst:.0f} at the worst (estimates are off by about "
        f"{1 / math.sqrt(worst):.1g} posterior standard deviations), and {ESS_WANTED} make "
        f"intervals and R-hat trustworthy: about {factor:.1f} times more draws are needed, "
        f"num_samples={asked} with {chains} chain{'' if chains == 1 else 's'}.",
        is_serious,
        EffectiveSampleSizeWarning if is_serious else None,
    )


def _divergences(record: RunRecord) -> Finding | None:
    share = float(np.mean(record.sample_stats["diverging"]))
    if share == 0:
        return None
    wider = (
        "Run in float64 first; if they stay, a smaller"
        if record.settings.get("dtype") == "float32"
        else "A smaller"
    )
    return Finding(
        f"{percent(share)} of the transitions diverged: the integrator failed there, and the "
        f"draws may miss a part of the posterior. {wider} step_size or a higher "
        "target_acceptance (kernel_options) helps.",
        share > 0.01,
        DivergenceWarning if share > 0.01 else None,
    )


def _acceptance(record: RunRecord) -> Finding | None:
    target = target_acceptance(record)
    rate = float(np.mean(record.sample_stats["acceptance_rate"]))
    if target is None or _least_acceptance(record, target) <= rate <= target + ACCEPTANCE_TOLERANCE:
        return None
    if rate < target:
        return Finding(
            f"The acceptance rate, {rate:.2f}, is far below its target {target:.2f}: the step "
            "size is not adapted yet. Give it more warm-up (num_warmup).",
            rate < 0.1,
            WarmupWarning if record.sample_stats["acceptance_rate"].size >= FEWEST_RATES else None,
        )
    # A divergence counts as rejected, so steps are short on purpose where there are some.
    if _step_is_at_its_bound(record) or np.any(record.sample_stats["diverging"]):
        return None
    return Finding(
        f"The acceptance rate, {rate:.2f}, is far above its target {target:.2f}: steps are "
        "shorter than they need be. Nothing is wrong; more warm-up makes draws cheaper.",
        False,
    )


def _least_acceptance(record: RunRecord, target: float) -> float:
    """The least rate at which a warm-up has done what it should.

    One that tries settings keeps what brings most per gradient: a single gentle kick also in place
    of four steps that meet the target, where less than half as many are accepted.
    """
    bound = target - ACCEPTANCE_TOLERANCE
    spec = _kernel(record)
    has_trials = spec is not None and spec.candidates is not None
    is_single = record.adapted.get("num_integration_steps") == 1
    return min(bound, SINGLE_STEP_SHARE * target) if has_trials and is_single else bound


def _biased(record: RunRecord) -> Finding | None:
    spec = _kernel(record)
    if spec is None or spec.is_exact:
        return None
    return Finding(
        f"{spec.name} is not Metropolis-adjusted: its draws are biased by an amount that "
        "neither ESS nor R-hat shows. Halve step_size and compare, or use an adjusted kernel.",
        False,
    )


def _stopped(record: RunRecord) -> Finding | None:
    if not record.interrupted:
        return None
    done = record.draws["f"].shape[1]
    asked = record.settings.get("num_samples")
    return Finding(f"The run was interrupted after {done} of {asked} draws per chain.", False)


def _worst(column: pd.Series, largest: bool) -> tuple[float, str]:
    """The worst value over function space, and the group it belongs to."""
    values = column[[group for group in _FUNCTION if group in column.index]].dropna()
    if values.empty:
        return math.nan, ""
    group = values.idxmax() if largest else values.idxmin()
    return float(values[group]), LABELS[group]


def _step_is_at_its_bound(record: RunRecord) -> bool:
    spec = _kernel(record)
    step_size = np.mean(record.sample_stats["step_size"])
    return spec is not None and bool(step_size >= 0.9 * spec.max_step_size)
