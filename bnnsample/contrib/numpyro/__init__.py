"""Repriorised readouts in NumPyro models, for NumPyro's own samplers.

- ``repriorise(model, readout=, output=)``: any model whose output is linear in some of its Gaussian
  sites, unchanged; networks by ``random_flax_module``, ``random_nnx_module``, ``random_eqx_module``
  and hand-written ones alike.
- ``RepriorisedReadout``: the strategy for ``numpyro.handlers.reparam``, where the model knows the
  features of its readout. One pass through the network instead of two.
- ``Readout``: a Gaussian prior that carries what the strategy needs to the site.

The model's density is kept exactly, whatever its likelihood. The readout appears under its own
name as a deterministic site, so ``Predictive`` takes the draws and the plain model.
"""

from bnnsample.contrib.numpyro._model import repriorise as repriorise
from bnnsample.contrib.numpyro._reparam import Readout as Readout
from bnnsample.contrib.numpyro._reparam import RepriorisedReadout as RepriorisedReadout

__all__ = ["Readout", "RepriorisedReadout", "repriorise"]
