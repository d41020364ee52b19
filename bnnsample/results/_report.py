"""The verdict in plain words, for a terminal."""

import math
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bnnsample._record import RunRecord
from bnnsample._weights import LARGEST_K_HAT
from bnnsample.results._numbers import count_non_finite, precision_line
from bnnsample.results._verdict import LABELS, findings, target_acceptance

WIDTH = 88
_FUNCTION_SPACE = (
    "posterior_mean_function",
    "expected_observation",
    "function",
    "log_likelihood",
    "hyperparameters",
)
_WEIGHT_SPACE = ("hidden_weights", "projections")
_GRADIENT_FREE = ("pcn", "elliptical_slice", "importance")
_PERMUTATION = (
    "Swapping two hidden units changes no prediction, so chains may settle in different "
    "orderings of one network: a poor R-hat here says little. Judge by the function."
)


def report(record: RunRecord, table: pd.DataFrame) -> str:
    """The report as text of at most 88 columns; ``table`` is the diagnostics'."""
    sections = [
        _header(record),
        _table("Function space: what predictions depend on", table, _FUNCTION_SPACE, record),
        _weight_space(table, record),
        _sampler(record),
        _verdict(record, table),
    ]
    return "\n\n".join(section for section in sections if section)


def evaluations(record: RunRecord) -> str:
    """What the kernel's cost is counted in."""
    return "evaluation" if record.settings.get("kernel") in _GRADIENT_FREE else "gradient"


def width_of(settings: Mapping[str, Any]) -> str:
    """The width in words; a ready module of a framework needs none."""
    width = settings.get("width")
    return "the module's own width" if width is None else f"width {width}"


def _header(record: RunRecord) -> str:
    settings = record.settings
    chains, draws = record.draws["f"].shape[:2]
    thin = settings.get("thin", 1)
    lines = [
        f"{settings.get('kernel')} in {settings.get('coordinates')} coordinates, "
        f"{width_of(settings)}, {_precision(settings)} on {settings.get('platform')}",
        f"{_count(chains, 'chain')} of {_count(draws, 'draw')}"
        + (f", every {thin}th step kept" if thin != 1 else "")
        + f", after {_count(settings.get('num_warmup', 0), 'warm-up step')} each",
    ]
    if settings.get("temperature", 1) != 1:
        lines.append(f"{settings['tempering']} at temperature {settings['temperature']:g}")
    if settings.get("fitted"):
        found = (f"{name} {value:.3g}" for name, value in settings["fitted"].items())
        lines.append(f"of greatest marginal likelihood and held: {', '.join(found)}")
    return "\n".join(lines)


def _precision(settings: Mapping[str, Any]) -> str:
    """The dtype, or that of the network beside that of the rest."""
    mixed = settings.get("precision") == "mixed"
    return "a float32 network in float64" if mixed else str(settings.get("dtype"))


def _table(title: str, table: pd.DataFrame, groups: tuple[str, ...], record: RunRecord) -> str:
    present = [group for group in groups if group in table.index]
    if not present:
        return ""
    per = f"per {evaluations(record)}"
    rows = [
        title,
        f"  {'':<24}{'bulk ESS':>17}{'tail ESS':>10}{'R-hat':>8}{'ESS':>16}{'ESS':>11}",
        f"  {'':<24}{'median':>9}{'min':>8}{'min':>10}{'max':>8}{per:>16}{'per second':>11}",
    ]
    for group in present:
        row = table.loc[group]
        rows.append(
            f"  {LABELS[group]:<24}{_size(row.ess_bulk_median):>9}{_size(row.ess_bulk_min):>8}"
            f"{_size(row.ess_tail_min):>10}{_number(row.r_hat_max, '.3f'):>8}"
            f"{_number(row.ess_per_gradient, '.3g'):>16}{_size(row.ess_per_second):>11}"
        )
    return "\n".join(rows)


def _weight_space(table: pd.DataFrame, record: RunRecord) -> str:
    section = _table("Weight space", table, _WEIGHT_SPACE, record)
    if "hidden_weights" not in table.index:
        return section
    return f"{section}\n{_wrap(_PERMUTATION, '  ')}"


def _sampler(record: RunRecord) -> str:
    stats = record.sample_stats
    acceptance, diverging = stats["acceptance_rate"], np.asarray(stats["diverging"])
    target = target_acceptance(record)
    aim = "" if target is None else f"  (target {target:.2f})"
    unit = evaluations(record)
    lines = [
        "Sampler",
        f"  {'acceptance rate':<24}{float(np.mean(acceptance)):.2f}{aim}",
        f"  {'divergences':<24}{int(diverging.sum()):,} in {_count(diverging.size, 'draw')}",
        f"  {'sampling':<24}{_cost(record.num_gradients, unit, record.sampling_seconds)}",
        f"  {'warm-up':<24}{_cost(record.warmup_gradients, unit, record.warmup_seconds)}",
        f"  {'compilation':<24}{_seconds(record.compile_seconds)}",
    ]
    step_size = np.asarray(record.adapted.get("step_size", math.nan), float)
    if np.isfinite(step_size).all():
        lines.insert(2, f"  {'step size':<24}{step_size.mean():.3g}")
    if (count := count_non_finite(record)) > 0:
        lines.insert(-3, f"  {'not finite':<24}{_count(count, 'proposal')}")
    if (precise := precision_line(record)) is not None:
        label = f"{record.settings.get('dtype')} potentials"
        lines.insert(-3, f"  {label:<24}{precise}")
    if "k_hat" in record.adapted:
        proposals = record.adapted["num_proposals"] * acceptance.shape[0]
        size = record.adapted["importance_ess"]
        lines[1:1] = [
            f"  {'k-hat':<24}{record.adapted['k_hat']:.2f}  (reliable up to {LARGEST_K_HAT})",
            f"  {'importance ESS':<24}{size:,.0f} of {_count(proposals, 'prior draw')}",
        ]
    return "\n".join(lines)


def _verdict(record: RunRecord, table: pd.DataFrame) -> str:
    found = findings(record, table)
    if not found:
        return _wrap(
            "Verdict: good. The chains agree, the function has enough effective draws in bulk "
            "and tails, and no transition diverged."
        )
    opening = "Verdict: not yet." if any(f.is_serious for f in found) else "Verdict: usable, but:"
    return "\n".join([opening, *(_wrap(f.text, "  - ", "    ") for f in found)])


def _wrap(text: str, first: str = "", rest: str | None = None) -> str:
    later = first if rest is None else rest
    return textwrap.fill(text, WIDTH, initial_indent=first, subsequent_indent=later)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _cost(number: int, unit: str, seconds: float) -> str:
    return f"{_count(number, unit)}, {_seconds(seconds)}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:,.0f} s"


def _size(value: float) -> str:
    """An ESS: whole from 10 up."""
    if math.isnan(value):
        return "-"
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _number(value: float, spec: str) -> str:
    return "-" if math.isnan(value) else format(value, spec)
