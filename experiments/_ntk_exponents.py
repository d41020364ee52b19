"""The paper's cost of fully connected and convolutional networks, and exponents of our counts.

The time of Novak et al. 2022 (arXiv:2206.08720, Tables 1 and 2) for N examples, O outputs, and L
layers of width W, with F taps of a filter and D pixels in a convolution, is ``PAPER`` below.
Jacobian contraction multiplies two Jacobians of N O rows over all parameters; an NTK-vector
product is one derivative forward per pair of examples and output; structured derivatives go
backward once per example and output, and contract what is left in each layer: cotangents of W
numbers in a dense layer, F W^2 or fewer in a convolution, an O x O identity at the readout.

Where one term leads, its powers are the slopes of the logarithm of the count against the
logarithm of each size. Ours are the method's operations as ``auto`` counts them.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments._ntk_networks import Setting
from experiments._ntk_sides import abstract_costs
from ntk._methods import METHODS

PAPER = {
    "dense": {
        "jacobian_contraction": "N^2 O^2 L W^2 + N^2 O^3 W",
        "ntk_vector_products": "N^2 O L W^2 + N^2 O^2 W",
        "structured_derivatives": "N O L W^2 + N^2 O^2 L W + N^2 O^3",
    },
    "convolutional": {
        "jacobian_contraction": "N O L D F W^2 + N^2 O^2 L F W^2 + N^2 O^3 W",
        "ntk_vector_products": "N^2 O L D F W^2 + N^2 O^2 W",
        "structured_derivatives": "N O L D F W^2 + N^2 O^2 L F W^2 + N^2 O^3",
    },
}
TAPS = 9
COLUMNS = (
    "network", "regime", "variable", "method", "leading_term", "paper", "fitted", "first", "last",
)  # fmt: skip
FACTORS = (1, 2, 4)


class Regime(NamedTuple):
    """Smallest sizes of sweeps in which one term of each method leads.

    A sweep multiplies one size by ``FACTORS``; pixels are swept by their square root.
    """

    name: str
    setting: Setting

    @property
    def variables(self) -> dict[str, str]:
        """The swept fields of the setting, and their symbols."""
        known = {"width": "W", "n": "N", "d": "O"}
        return known if self.setting.network == "dense" else {**known, "image": "D"}


REGIMES = (
    Regime("W >> N O", Setting("dense", 2**14, 16, 4, inputs=16)),
    Regime("N O >> W >> O", Setting("dense", 2**8, 2**11, 8, inputs=16)),
    Regime("O >> L W", Setting("dense", 2**4, 16, 2**12, inputs=16)),
    Regime("D >> N O", Setting("convolutional", 2**6, 2, 2, image=64)),
    Regime("N O >> D >> F W", Setting("convolutional", 2**3, 2**12, 2**3, image=16)),
)


def fitted_exponent(sizes: Sequence[float], counts: Sequence[float]) -> float:
    """The slope of log count against log size, by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(np.asarray(counts, float)), 1)[0])


def sizes_of(setting: Setting) -> dict[str, int]:
    """The paper's symbols."""
    return {
        "N": setting.n,
        "O": setting.d,
        "L": setting.depth,
        "W": setting.width,
        "D": setting.image**2,
        "F": TAPS,
    }


def powers(term: str) -> dict[str, int]:
    """Of ``N^2 O``: ``{"N": 2, "O": 1}``."""
    pairs = (factor.partition("^") for factor in term.split())
    return {symbol: int(power or 1) for symbol, _, power in pairs}


def leading_term(method: str, setting: Setting) -> str:
    """The paper's term that is largest at a setting."""
    sizes = sizes_of(setting)

    def size(term: str) -> float:
        return float(np.prod([float(sizes[s]) ** p for s, p in powers(term).items()]))

    return max(PAPER[setting.network][method].split(" + "), key=size)


def exponents(regimes: Sequence[Regime] = REGIMES) -> Iterator[dict[str, Any]]:
    """A row per regime, size and method: the paper's exponent and the one fitted to our counts."""
    for regime in regimes:
        for field, symbol in regime.variables.items():
            start = getattr(regime.setting, field)
            settings = [regime.setting.replace(**{field: start * k}) for k in FACTORS]
            sizes = [sizes_of(setting)[symbol] for setting in settings]
            counts = [abstract_costs(setting)[0] for setting in settings]
            for method in METHODS:
                term = leading_term(method, settings[0])
                yield {
                    "network": regime.setting.network,
                    "regime": regime.name,
                    "variable": symbol,
                    "method": method,
                    "leading_term": term,
                    "paper": powers(term).get(symbol, 0),
                    "fitted": fitted_exponent(sizes, [c[method] for c in counts]),
                    "first": counts[0][method],
                    "last": counts[-1][method],
                }
