"""The readout of a network given its hidden layers, exactly: repriorisation and its relatives.

For features ``Psi [n, p]``, targets ``y [n, d]`` and Gaussian noise of standard deviation
``scale`` (a scalar or ``[n]``), the readout ``W`` has prior N(0, I) and

    Sigma = (I + P^T P)^{-1},  mu = Sigma P^T (y / scale),  P = Psi / scale

are its posterior covariance, shared by all outputs, and its posterior mean. Everything here
comes with two sides: ``side="parameters"`` works with the p x p matrix ``I + P^T P``,
``side="data"`` with the n x n matrix ``I + P P^T``, and ``"auto"`` takes the smaller.
"""

from bnnsample.repriorisation._factor import Factor as Factor
from bnnsample.repriorisation._factor import factorise as factorise
from bnnsample.repriorisation._map import forward as forward
from bnnsample.repriorisation._map import inverse as inverse
from bnnsample.repriorisation._map import log_det as log_det
from bnnsample.repriorisation._marginal import log_marginal_likelihood as log_marginal_likelihood
from bnnsample.repriorisation._readout import draw_readout as draw_readout
from bnnsample.repriorisation._readout import predict as predict

__all__ = [
    "Factor",
    "draw_readout",
    "factorise",
    "forward",
    "inverse",
    "log_det",
    "log_marginal_likelihood",
    "predict",
]
