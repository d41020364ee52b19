"""The comparison with infinite width, where it applies and takes seconds."""

import jax
import numpy as np

from bnnsample import theory
from bnnsample._record import RunRecord
from bnnsample.coordinates import Posterior
from bnnsample.results._ess import MIN_DRAWS
from bnnsample.results._page._affordable import affordable_draws, num_positions, thinned
from bnnsample.results._page._html import image, paragraph, preformatted, section
from bnnsample.theory._limit import wide_kernel
from ntk.gp import NotPositiveDefiniteError

# Pairs of inputs, and of positions in them.
MOST_PAIRS = 2e7
MOST_POINTS = 64


def theory_section(record: RunRecord) -> str:
    """The figure and the report, or the reason why they are left out."""
    reason = why_not(record)
    if reason is None:
        try:
            return section("Beside the infinite width", *_compared(record))
        except (FloatingPointError, NotPositiveDefiniteError) as error:
            reason = str(error)
    return section("Beside the infinite width", paragraph(f"Left out: {reason}.", "note"))


def why_not(record: RunRecord) -> str | None:
    """Why there is no comparison; None where there is one."""
    posterior = record.posterior
    if posterior is None:
        return "the network is not known, as the stored result does not hold it"
    if not posterior.likelihood.is_gaussian:
        return (
            "the wide limit has a closed form for a Gaussian likelihood, and this run has "
            f"{record.settings.get('likelihood')}"
        )
    if not posterior.tempering.is_none:
        return f"it is of temperature 1, and this run has {record.settings.get('temperature'):g}"
    if posterior.model.unknowns or posterior.model.to_fit:
        return "it is of known prior scales, and this network's are unknown"
    if record.kept is None or len(record.kept.draws) < MIN_DRAWS:
        return f"it needs {MIN_DRAWS} whole parameter draws of each chain (keep=)"
    return _has_no_limit(posterior) or _takes_long(record)


def _has_no_limit(posterior: Posterior) -> str | None:
    try:
        kernel = wide_kernel(posterior)
        jax.eval_shape(lambda x: kernel(x, get="nngp"), posterior.x[:1])
    except (ValueError, NotImplementedError) as error:
        return str(error)
    return None


def _takes_long(record: RunRecord) -> str | None:
    n, m = len(record.x), len(_points(record))
    pairs = (n + m) ** 2 * num_positions(record) ** 2
    if pairs <= MOST_PAIRS and affordable_draws(record, m) >= MIN_DRAWS:
        return None
    return f"of {n:,} points it takes more than seconds; result.compare_to_theory() makes it"


def _points(record: RunRecord) -> np.ndarray:
    """At most ``MOST_POINTS`` evenly spaced evaluation points."""
    last = len(record.x_eval) - 1
    return record.x_eval[np.unique(np.linspace(0, last, MOST_POINTS).round().astype(int))]


def _compared(record: RunRecord) -> list[str]:
    x = _points(record)
    fewer = thinned(record, affordable_draws(record, len(x)))
    comparison = theory.compare_to_theory(fewer, x, num_kernel_draws=0)
    caption = (
        "The sampled posterior of the noise-free function beside that of the Gaussian process "
        "that the network becomes as its width grows."
    )
    return [image(comparison.plot(), caption), preformatted(comparison.report())]
