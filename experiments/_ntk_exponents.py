"""The paper's cost of fully connected networks, and exponents fitted to our counts.

Novak et al. 2022 (arXiv:2206.08720, Table 1), time, for N examples, O outputs, L layers of width W:

    Jacobian contraction     N^2 O^2 L W^2 + N^2 O^3 W
    NTK-vector products      N^2 O L W^2 + N^2 O^2 W
    structured derivatives   N O L W^2 + N^2 O^2 L W + N^2 O^3

Contraction multiplies two Jacobians of N O rows over all L W^2 + O W parameters; a product is one
derivative forward per pair of examples and output; structured derivatives go backward once per
example and output, and then contract cotangents of W numbers in each layer, the last one's being
an O x O identity. In a regime where one term leads, its powers are the slopes of the log of the
count against the log of each size.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments._ntk_networks import Setting
from experiments._ntk_sides import METHODS, abstract_costs

# Powers of (n, d, depth, width) in each term.
PAPER = {
    "jacobian_contraction": ((2, 2, 1, 2), (2, 3, 0, 1)),
    "ntk_vector_products": ((2, 1, 1, 2), (2, 2, 0, 1)),
    "structured_derivatives": ((1, 1, 1, 2), (2, 2, 1, 1), (2, 3, 0, 0)),
}
SIZES = ("n", "d", "depth", "width")
SYMBOLS = {"n": "N", "d": "O", "depth": "L", "width": "W"}
COLUMNS = (
    "regime", "variable", "method", "leading_term", "paper", "fitted", "first", "last",
)  # fmt: skip
FACTORS = (1, 2, 4, 8)


class Regime(NamedTuple):
    """Sizes at which one term of each method leads; sweeps multiply each by ``FACTORS``."""

    name: str
    width: int
    n: int
    d: int

    def setting(self, **changes: int) -> Setting:
        sizes = {"width": self.width, "n": self.n, "d": self.d, **changes}
        return Setting("dense", depth=3, inputs=16, **sizes)


REGIMES = (
    Regime("W >> N O", width=2**14, n=16, d=4),
    Regime("N O >> W >> O", width=2**8, n=2**11, d=8),
    Regime("O >> L W", width=2**4, n=16, d=2**12),
)


def fitted_exponent(sizes: Sequence[float], counts: Sequence[float]) -> float:
    """The slope of log count against log size, by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(np.asarray(counts, float)), 1)[0])


def leading_term(method: str, setting: Setting) -> tuple[int, ...]:
    """The powers of the paper's term that is largest at a setting."""
    sizes = [getattr(setting, name) for name in SIZES]

    def size(powers: tuple[int, ...]) -> float:
        return float(np.prod([float(s) ** p for s, p in zip(sizes, powers, strict=True)]))

    return max(PAPER[method], key=size)


def formula(powers: tuple[int, ...]) -> str:
    """A term as it is written: ``N^2 O L W^2``."""
    parts = [
        SYMBOLS[name] + ("" if power == 1 else f"^{power}")
        for name, power in zip(SIZES, powers, strict=True)
        if power
    ]
    return " ".join(parts)


def exponents(regimes: Sequence[Regime] = REGIMES) -> Iterator[dict[str, Any]]:
    """A row per regime, size and method: the paper's exponent and the one fitted to our counts."""
    for regime in regimes:
        for variable in ("width", "n", "d"):
            sizes = [getattr(regime, variable) * factor for factor in FACTORS]
            settings = [regime.setting(**{variable: size}) for size in sizes]
            counts = [abstract_costs(setting)[0] for setting in settings]
            for method in METHODS:
                term = leading_term(method, settings[-1])
                yield {
                    "regime": regime.name,
                    "variable": SYMBOLS[variable],
                    "method": method,
                    "leading_term": formula(term),
                    "paper": term[SIZES.index(variable)],
                    "fitted": fitted_exponent(sizes, [c[method] for c in counts]),
                    "first": counts[0][method],
                    "last": counts[-1][method],
                }
