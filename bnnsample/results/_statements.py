"""What a report says, as lines and rows: the text and the HTML page differ in form alone."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bnnsample._record import RunRecord
from bnnsample._weights import LARGEST_K_HAT
from bnnsample.results._finding import Finding
from bnnsample.results._numbers import count_non_finite, precision_line
from bnnsample.results._verdict import LABELS, findings, target_acceptance

FUNCTION_SPACE = (
    "posterior_mean_function",
    "expected_observation",
    "function",
    "log_likelihood",
    "hyperparameters",
)
WEIGHT_SPACE = ("hidden_weights", "projections")
_GRADIENT_FREE = ("pcn", "elliptical_slice", "importance")
PERMUTATION = (
    "Swapping two hidden units changes no prediction, so chains may settle in different "
    "orderings of one network: a poor R-hat here says little. Judge by the function."
)
_GOOD = (
    "Verdict: good. The chains agree, the function has enough effective draws in bulk "
    "and tails, and no transition diverged."
)


class Sizes(NamedTuple):
    """Effective sample sizes of one group of quantities, as text."""

    label: str
    bulk_median: str
    bulk_min: str
    tail_min: str
    r_hat: str
    per_evaluation: str
    per_second: str


class Verdict(NamedTuple):
    """One sentence, and what was found, the gravest first."""

    opening: str
    found: list[Finding]


def evaluations(record: RunRecord) -> str:
    """What the kernel's cost is counted in."""
    return "evaluation" if record.settings.get("kernel") in _GRADIENT_FREE else "gradient"


def width_of(settings: Mapping[str, Any]) -> str:
    """The width in words; a ready module of a framework needs none."""
    width = settings.get("width")
    return "the module's own width" if width is None else f"width {width}"


def header(record: RunRecord) -> list[str]:
    """Kernel, coordinates and width; chains and draws; what is particular to the run."""
    settings = record.settings
    chains, draws = record.draws["f"].shape[:2]
    thin = settings.get("thin", 1)
    lines = [
        f"{settings.get('kernel')} in {settings.get('coordinates')} coordinates, "
        f"{width_of(settings)}, {_precision(settings)} on {settings.get('platform')}",
        f"{count(chains, 'chain')} of {count(draws, 'draw')}"
        + (f", every {thin}th step kept" if thin != 1 else "")
        + f", after {count(settings.get('num_warmup', 0), 'warm-up step')} each",
    ]
    if settings.get("temperature", 1) != 1:
        lines.append(f"{settings['tempering']} at temperature {settings['temperature']:g}")
    if settings.get("fitted"):
        found = (f"{name} {value:.3g}" for name, value in settings["fitted"].items())
        lines.append(f"of greatest marginal likelihood and held: {', '.join(found)}")
    return lines


def sizes(table: pd.DataFrame, groups: tuple[str, ...]) -> list[Sizes]:
    """A row for each of ``groups`` that the diagnostics' ``table`` has."""
    rows = []
    for group in groups:
        if group in table.index:
            row = table.loc[group]
            rows.append(
                Sizes(
                    LABELS[group],
                    _size(row.ess_bulk_median),
                    _size(row.ess_bulk_min),
                    _size(row.ess_tail_min),
                    _number(row.r_hat_max, ".3f"),
                    _number(row.ess_per_gradient, ".3g"),
                    _size(row.ess_per_second),
                )
            )
    return rows


def sampler(record: RunRecord) -> list[tuple[str, str]]:
    """Statistics of the sampler by their labels."""
    stats = record.sample_stats
    acceptance, diverging = stats["acceptance_rate"], np.asarray(stats["diverging"])
    target = target_acceptance(record)
    aim = "" if target is None else f"  (target {target:.2f})"
    unit = evaluations(record)
    rows = [
        ("acceptance rate", f"{float(np.mean(acceptance)):.2f}{aim}"),
        ("divergences", f"{int(diverging.sum()):,} in {count(diverging.size, 'draw')}"),
        ("sampling", _cost(record.num_gradients, unit, record.sampling_seconds)),
        ("warm-up", _cost(record.warmup_gradients, unit, record.warmup_seconds)),
        ("compilation", _seconds(record.compile_seconds)),
    ]
    step_size = np.asarray(record.adapted.get("step_size", math.nan), float)
    if np.isfinite(step_size).all():
        rows.insert(1, ("step size", f"{step_size.mean():.3g}"))
    if (number := count_non_finite(record)) > 0:
        rows.insert(-3, ("not finite", count(number, "proposal")))
    if (precise := precision_line(record)) is not None:
        rows.insert(-3, (f"{record.settings.get('dtype')} potentials", precise))
    if "k_hat" in record.adapted:
        proposals = record.adapted["num_proposals"] * acceptance.shape[0]
        size = record.adapted["importance_ess"]
        k_hat = f"{record.adapted['k_hat']:.2f}  (reliable up to {LARGEST_K_HAT})"
        rows[:0] = [
            ("k-hat", k_hat),
            ("importance ESS", f"{size:,.0f} of {count(proposals, 'prior draw')}"),
        ]
    return rows


def verdict(record: RunRecord, table: pd.DataFrame) -> Verdict:
    """The verdict on a run whose diagnostics are ``table``."""
    found = findings(record, table)
    if not found:
        return Verdict(_GOOD, found)
    is_serious = any(finding.is_serious for finding in found)
    return Verdict("Verdict: not yet." if is_serious else "Verdict: usable, but:", found)


def count(number: int, noun: str) -> str:
    """``1 draw``, ``1,000 draws``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _precision(settings: Mapping[str, Any]) -> str:
    """The dtype, or that of the network beside that of the rest."""
    mixed = settings.get("precision") == "mixed"
    return "a float32 network in float64" if mixed else str(settings.get("dtype"))


def _cost(number: int, unit: str, seconds: float) -> str:
    return f"{count(number, unit)}, {_seconds(seconds)}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:,.0f} s"


def _size(value: float) -> str:
    """An ESS: whole from 10 up."""
    if math.isnan(value):
        return "-"
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _number(value: float, spec: str) -> str:
    return "-" if math.isnan(value) else format(value, spec)
