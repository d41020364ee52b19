"""Layers: a network described once, for finite and for infinite width.

``Serial(Dense(), Activation("relu"), Dense())`` has an initialiser, a forward pass, and, through
``ntk.infinite_kernel``, the covariance and the tangent kernel of its infinite width.
"""

from ntk.layers._activation import Activation as Activation
from ntk.layers._combine import LayerNorm as LayerNorm
from ntk.layers._combine import Parallel as Parallel
from ntk.layers._combine import Residual as Residual
from ntk.layers._combine import Scale as Scale
from ntk.layers._combine import Serial as Serial
from ntk.layers._layer import Layer as Layer
from ntk.layers._pool import AvgPool as AvgPool
from ntk.layers._pool import Flatten as Flatten
from ntk.layers._pool import GlobalAvgPool as GlobalAvgPool
from ntk.layers._pool import GlobalSumPool as GlobalSumPool
from ntk.layers._pool import MaxPool as MaxPool
from ntk.layers._pool import SumPool as SumPool
from ntk.layers._weights import Conv as Conv
from ntk.layers._weights import Dense as Dense

__all__ = [
    "Activation",
    "AvgPool",
    "Conv",
    "Dense",
    "Flatten",
    "GlobalAvgPool",
    "GlobalSumPool",
    "Layer",
    "LayerNorm",
    "MaxPool",
    "Parallel",
    "Residual",
    "Scale",
    "Serial",
    "SumPool",
]
