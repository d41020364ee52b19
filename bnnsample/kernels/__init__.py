"""Markov kernels to BlackJAX's protocol, usable with BlackJAX on any potential.

``infinite_hmc``, ``infinite_mala``, ``pcn`` and ``elliptical_slice`` target
``N(q; 0, I) exp(-potential(q))``, are exact for the Gaussian part, and do not slow down as the
dimension grows. ``unitwise`` does so for a potential that is a function of a sum over units, and
``alternating`` for one that is cheap in the readout given the hidden layers. Each is called as
``kernel(potential, ...)`` and has ``init`` and ``build_kernel``, as BlackJAX's own do. ``run``
takes them by name beside BlackJAX's ``hmc``, ``nuts``, ``ghmc``, ``mala``, ``mclmc`` and
``adjusted_mclmc``.
"""

import blackjax

from bnnsample.kernels import (
    _alternating,
    _elliptical_slice,
    _infinite_hmc,
    _infinite_mala,
    _pcn,
    _unitwise,
)
from bnnsample.kernels._alternating import AlternatingTarget as AlternatingTarget
from bnnsample.kernels._alternating import Conditioned as Conditioned
from bnnsample.kernels._unitwise import UnitTarget as UnitTarget

infinite_hmc = blackjax.generate_top_level_api_from(_infinite_hmc)
infinite_mala = blackjax.generate_top_level_api_from(_infinite_mala)
pcn = blackjax.generate_top_level_api_from(_pcn)
elliptical_slice = blackjax.generate_top_level_api_from(_elliptical_slice)
unitwise = blackjax.generate_top_level_api_from(_unitwise)
alternating = blackjax.generate_top_level_api_from(_alternating)

__all__ = [
    "AlternatingTarget",
    "Conditioned",
    "UnitTarget",
    "alternating",
    "elliptical_slice",
    "infinite_hmc",
    "infinite_mala",
    "pcn",
    "unitwise",
]
