"""Markov kernels to BlackJAX's protocol, usable with BlackJAX on any potential.

The four of this library target ``N(q; 0, I) exp(-potential(q))``, are exact for the Gaussian
part, and do not slow down as the dimension grows. Each is called as ``kernel(potential, ...)``
and has ``init`` and ``build_kernel``, as BlackJAX's own do. ``KERNELS`` lists them beside
BlackJAX's ``hmc``, ``nuts``, ``ghmc``, ``mala``, ``mclmc`` and ``adjusted_mclmc``, as ``run`` takes them.
"""

import blackjax

from bnnsample.kernels import _elliptical_slice
from bnnsample.kernels import _infinite_hmc
from bnnsample.kernels import _infinite_mala
from bnnsample.kernels import _pcn

infinite_hmc = blackjax.generate_top_level_api_from(_infinite_hmc)
infinite_mala = blackjax.generate_top_level_api_from(_infinite_mala)
pcn = blackjax.generate_top_level_api_from(_pcn)
elliptical_slice = blackjax.generate_top_level_api_from(_elliptical_slice)

__all__ = ["elliptical_slice", "infinite_hmc", "infinite_mala", "pcn"]
