"""Dual activations: what an activation makes of the covariance of its Gaussian inputs.

``dual_of(phi)(c, q1, q2)`` is ``(E[phi(u) phi(v)], E[phi'(u) phi'(v)])``, one step of the
recursions of the infinite-width NNGP and NTK. One family of closed forms per file;
``_quadrature`` for the rest.
"""

from ntk._duals._arc_cosine import absolute_value as absolute_value
from ntk._duals._arc_cosine import leaky_relu as leaky_relu
from ntk._duals._arc_cosine import relu as relu
from ntk._duals._dual import Dual as Dual
from ntk._duals._error_function import erf as erf
from ntk._duals._error_function import normal_cdf as normal_cdf
from ntk._duals._exponential import exp as exp
from ntk._duals._gelu import gelu as gelu
from ntk._duals._lookup import dual_of as dual_of
from ntk._duals._polynomial import hermite as hermite
from ntk._duals._polynomial import identity as identity
from ntk._duals._polynomial import monomial as monomial
from ntk._duals._polynomial import polynomial as polynomial
from ntk._duals._quadrature import elementwise as elementwise
from ntk._duals._sign import sign as sign
from ntk._duals._sign import step as step
from ntk._duals._trigonometric import cos as cos
from ntk._duals._trigonometric import rbf as rbf
from ntk._duals._trigonometric import sin as sin

__all__ = [
    "Dual",
    "absolute_value",
    "cos",
    "dual_of",
    "elementwise",
    "erf",
    "exp",
    "gelu",
    "hermite",
    "identity",
    "leaky_relu",
    "monomial",
    "normal_cdf",
    "polynomial",
    "rbf",
    "relu",
    "sign",
    "sin",
    "step",
]
