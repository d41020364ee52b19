"""Every dual with its activation in NumPy, and expectations that share nothing with the library."""

import functools
import math

import jax
import numpy as np
import scipy.special as sp
import scipy.stats as st

from ntk import _duals as duals

SPACING = 0.08
NODES = SPACING * np.arange(-155, 156)
WEIGHTS = SPACING * st.norm.pdf(NODES)

relu = (lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0)
leaky = (lambda x: np.where(x > 0, x, 0.2 * x), lambda x: np.where(x > 0, 1, 0.2))
gelu = (lambda x: x * sp.ndtr(x), lambda x: sp.ndtr(x) + x * st.norm.pdf(x))
erf = (sp.erf, lambda x: 2 / math.sqrt(math.pi) * np.exp(-(x**2)))
rbf = (
    lambda x: math.sqrt(2) * np.sin(math.sqrt(1.4) * x + math.pi / 4),
    lambda x: math.sqrt(2.8) * np.cos(math.sqrt(1.4) * x + math.pi / 4),
)
cubic = (np.polynomial.Polynomial([0.3, -1, 0.5, 0.2]), np.polynomial.Polynomial([-1, 1, 0.6]))
hermite = (
    lambda x: sp.eval_hermitenorm(4, x) / math.sqrt(24),
    lambda x: 4 * sp.eval_hermitenorm(3, x) / math.sqrt(24),
)
silu = (lambda x: x * sp.expit(x), lambda x: sp.expit(x) * (1 + x * sp.expit(-x)))


def gelu_tanh(x):
    return x * sp.expit(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))


def gelu_tanh_slope(x):
    scale = 2 * math.sqrt(2 / math.pi)
    gate = sp.expit(scale * (x + 0.044715 * x**3))
    return gate * (1 + x * (1 - gate) * scale * (1 + 3 * 0.044715 * x**2))


# Name: dual, phi, phi'.
SMOOTH = {
    "erf": (duals.erf, *erf),
    "normal_cdf": (duals.normal_cdf, sp.ndtr, st.norm.pdf),
    "gelu": (duals.gelu, *gelu),
    "sin": (duals.sin, np.sin, np.cos),
    "cos": (duals.cos, np.cos, lambda x: -np.sin(x)),
    "rbf": (duals.rbf(0.7), *rbf),
    "exp": (duals.exp, np.exp, np.exp),
    "identity": (duals.identity, lambda x: x, np.ones_like),
    "monomial": (duals.monomial(5), lambda x: x**5, lambda x: 5 * x**4),
    "constant": (duals.monomial(0), np.ones_like, np.zeros_like),
    "polynomial": (duals.polynomial([0.3, -1, 0.5, 0.2]), *cubic),
    "hermite": (duals.hermite(4), *hermite),
}
QUADRATURE = {
    "tanh": (duals.dual_of("tanh"), np.tanh, lambda x: np.cosh(x) ** -2.0),
    "sigmoid": (duals.dual_of(jax.nn.sigmoid), sp.expit, lambda x: sp.expit(x) * sp.expit(-x)),
    "silu": (duals.dual_of(jax.nn.silu), *silu),
    "softplus": (duals.dual_of(jax.nn.softplus), lambda x: np.logaddexp(0, x), sp.expit),
    "gelu_tanh": (duals.dual_of(jax.nn.gelu), gelu_tanh, gelu_tanh_slope),
}
PIECEWISE_LINEAR = {
    "relu": (duals.relu, *relu),
    "leaky_relu": (duals.leaky_relu(0.2), *leaky),
    "abs": (duals.absolute_value, np.abs, np.sign),
}
JUMPS = {
    "sign": (duals.sign, np.sign, None),
    "step": (duals.step, lambda x: np.heaviside(x, 0.5), None),
}
ALL = {**SMOOTH, **QUADRATURE, **PIECEWISE_LINEAR}


@functools.cache
def grid():
    """``c, q1, q2 [9 * 5]``: correlations from -1 to 1, at pairs of variances."""
    variances = np.array([(1, 1), (0.3, 0.7), (2, 0.5), (1e-3, 0.4), (1.5, 1.5)])
    correlations = np.array([-1, -0.99, -0.7, -0.1, 0, 0.3, 0.8, 0.999, 1])
    q1, q2 = np.repeat(variances, len(correlations), 0).T
    return np.tile(correlations, len(variances)) * np.sqrt(q1 * q2), q1, q2


def expectation(f, c, q1, q2):
    """``E[f(u) f(v)]`` for smooth f: the trapezoidal rule in both dimensions of a Cholesky factor.

    For an analytic f its error falls as exp(-2 pi d / spacing), d the distance of the nearest
    pole; tanh at variance 1.5 has d = 1.28.
    """
    values = []
    for covariance, variance1, variance2 in zip(c, q1, q2, strict=True):
        slope = covariance / math.sqrt(variance1)
        rest = math.sqrt(max(variance2 - slope**2, 0))
        v = slope * NODES[:, None] + rest * NODES[None]
        values.append(WEIGHTS * f(math.sqrt(variance1) * NODES) @ f(v) @ WEIGHTS)
    return np.array(values)
