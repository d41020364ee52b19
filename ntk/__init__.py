"""Kernels of neural networks, and the layers whose kernels they are.

``ntk`` knows nothing of sampling: ``bnnsample`` builds its models from the layers described here.
"""

from ntk import gp as gp
from ntk import layers as layers
from ntk._activations import ACTIVATIONS as ACTIVATIONS
from ntk._activations import resolve_activation as resolve_activation
from ntk._cost import Cost as Cost
from ntk._cost import MethodCost as MethodCost
from ntk._empirical import cost as cost
from ntk._empirical import empirical_ntk as empirical_ntk
from ntk._infinite import infinite_kernel as infinite_kernel
from ntk._known_answer import BackendError as BackendError
from ntk._known_answer import check_backend as check_backend
from ntk._linearize import linearize as linearize
from ntk._linearize import taylor_expand as taylor_expand
from ntk._monte_carlo import MonteCarloKernels as MonteCarloKernels
from ntk._monte_carlo import monte_carlo_kernel as monte_carlo_kernel
from ntk._nngp import empirical_nngp as empirical_nngp
from ntk._operations import count_operations as count_operations
from ntk._operator import Eigenpairs as Eigenpairs
from ntk._operator import LogDeterminant as LogDeterminant
from ntk._operator import NTKOperator as NTKOperator
from ntk._operator import Solution as Solution
from ntk._operator import TraceEstimate as TraceEstimate
from ntk.layers import Dense as Dense
from ntk.layers._kernels import Kernels as Kernels

__all__ = [
    "ACTIVATIONS",
    "BackendError",
    "Cost",
    "Dense",
    "Eigenpairs",
    "Kernels",
    "LogDeterminant",
    "MethodCost",
    "MonteCarloKernels",
    "NTKOperator",
    "Solution",
    "TraceEstimate",
    "check_backend",
    "cost",
    "count_operations",
    "empirical_nngp",
    "empirical_ntk",
    "gp",
    "infinite_kernel",
    "layers",
    "linearize",
    "monte_carlo_kernel",
    "resolve_activation",
    "taylor_expand",
]
