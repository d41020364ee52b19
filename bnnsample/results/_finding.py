"""What a rule of the verdict finds."""

from typing import NamedTuple

from bnnsample._warnings import SamplingWarning


class Finding(NamedTuple):
    """One sentence on a problem and its remedy: a line of the report, and a warning's text.

    Attributes:
        text: the sentence.
        is_serious: do not use the draws yet.
        category: what ``run`` warns with at its end; None: the report alone says it.
    """

    text: str
    is_serious: bool
    category: type[SamplingWarning] | None = None
