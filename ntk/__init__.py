"""Kernels of neural networks, and the layers whose kernels they are.

``ntk`` knows nothing of sampling: ``bnnsample`` builds its models from the layers described here.
"""

from ntk._activations import ACTIVATIONS as ACTIVATIONS
from ntk._activations import resolve_activation as resolve_activation
from ntk._dense import Dense as Dense
from ntk._empirical import empirical_ntk as empirical_ntk
from ntk._known_answer import BackendError as BackendError
from ntk._known_answer import check_backend as check_backend
from ntk._operations import count_operations as count_operations

__all__ = [
    "ACTIVATIONS",
    "BackendError",
    "Dense",
    "check_backend",
    "count_operations",
    "empirical_ntk",
    "resolve_activation",
]
