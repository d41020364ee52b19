"""The comparison with theory in plain words, for a terminal."""

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from bnnsample.theory._joint import JointKL

if TYPE_CHECKING:
    from bnnsample.theory._compare import TheoryComparison

WIDTH = 88
LABELS = {"nngp": "NNGP", "ntk": "NTK"}
# Of standard normal errors one in 16,000 is beyond.
BEYOND = 4.0
# Distances below this share of the posterior's standard deviation are not seen in a figure.
SMALL = 0.1


def report(comparison: "TheoryComparison") -> str:
    """The report as text of at most 88 columns."""
    sections = [
        _header(comparison),
        _points(comparison),
        _together(comparison),
        _kernels(comparison),
        _verdict(comparison),
    ]
    return "\n\n".join(section for section in sections if section)


def _header(comparison: "TheoryComparison") -> str:
    settings = comparison.settings
    return "\n".join(
        [
            f"Sampled posterior of width {settings.get('width')} against the Gaussian process of "
            "infinite width",
            f"{len(comparison.x):,} evaluation points, {comparison.num_draws:,} kept draws",
            f"noise scale: {comparison.noise}",
        ]
    )


def _points(comparison: "TheoryComparison") -> str:
    points = comparison.points
    scale = np.maximum(points.theory_std, np.finfo(float).tiny)
    distance, noise = points.wasserstein2 / scale, points.wasserstein2_noise / scale
    lines = [
        "Point by point",
        f"  {'':<44}{'median':>9}{'largest':>9}",
        _line("Wasserstein-2, in the theory's sd", distance),
        _line("  of which Monte-Carlo error alone", noise),
        _line("standard deviation, sampled over theory", points.sampled_std / scale),
        _line("mean, difference in standard errors", points.mean_error.abs()),
        _line("variance, difference in standard errors", points.variance_error.abs()),
        f"  {'effective draws behind them, least':<44}{'':>9}{points.ess.min():>9.0f}",
    ]
    return "\n".join(lines)


def _line(label: str, values) -> str:
    return f"  {label:<44}{np.median(values):>9.3g}{np.max(values):>9.3g}"


def _together(comparison: "TheoryComparison") -> str:
    rows = [
        _kl("KL of the function", comparison.kl_function),
        _kl("KL of new observations", comparison.kl_observation),
    ]
    title = f"All together: KL(sampled || theory), {comparison.kl_function.num_points} points"
    return "\n".join([title, *rows])


def _kl(label: str, kl: JointKL) -> str:
    if kl.value is None:
        return _wrap(f"{label:<26}none: {kl.reason}", "  ", "    ")
    return f"  {label:<26}{kl.value:.3g} nats, standard error {kl.standard_error:.2g}"


def _kernels(comparison: "TheoryComparison") -> str:
    table = comparison.kernels
    if table.empty:
        return ""
    lines = [
        "Empirical kernels against those of infinite width: mean (sd over networks)",
        f"  {'':<18}{'relative distance':>22}{'alignment':>20}{'centred':>20}",
    ]
    for (name, at), row in table.iterrows():
        label = f"{LABELS[name]} at the {at}"
        cells = [
            f"{row[c]:.3g} ({row[c + '_sd']:.1g})"
            for c in ("relative_frobenius", "alignment", "centred_alignment")
        ]
        lines.append(f"  {label:<22}{cells[0]:>18}{cells[1]:>20}{cells[2]:>20}")
    return "\n".join(lines)


def _verdict(comparison: "TheoryComparison") -> str:
    points = comparison.points
    worst = max(points.mean_error.abs().max(), points.variance_error.abs().max())
    distance = float(np.median(points.wasserstein2 / points.theory_std.clip(lower=1e-300)))
    percent = f"{100 * distance:.2g}" if distance < 1 else f"{100 * distance:,.0f}"
    share = f"the median distance is {percent}% of the theory's standard deviation"
    if worst <= BEYOND:
        text = (
            "Verdict: no difference from the infinite width can be seen with these draws "
            f"(largest {worst:.1f} standard errors); {share}."
        )
    elif distance < SMALL:
        text = (
            f"Verdict: close to the infinite width, and measurably different (up to {worst:.1f} "
            f"standard errors): {share}."
        )
    else:
        text = (
            f"Verdict: this network is not at its infinite width (up to {worst:.1f} standard "
            f"errors): {share}. The Gaussian process does not stand for its posterior."
        )
    return _wrap(text)


def _wrap(text: str, first: str = "", rest: str = "") -> str:
    return textwrap.fill(text, WIDTH, initial_indent=first, subsequent_indent=rest)
