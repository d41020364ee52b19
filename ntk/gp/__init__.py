"""Gaussian processes for the theory of wide networks."""

from ntk.gp._classification import Classes as Classes
from ntk.gp._classification import class_targets as class_targets
from ntk.gp._classification import decode_classes as decode_classes
from ntk.gp._conjugate_gradients import SolverReport as SolverReport
from ntk.gp._errors import NotPositiveDefiniteError as NotPositiveDefiniteError
from ntk.gp._fit import Fit as Fit
from ntk.gp._fit import fit as fit
from ntk.gp._gradient_flow import GradientFlow as GradientFlow
from ntk.gp._gradient_flow import gradient_flow as gradient_flow
from ntk.gp._kernels import Kernels as Kernels
from ntk.gp._kernels import kernel_matrices as kernel_matrices
from ntk.gp._marginal import log_marginal_likelihood as log_marginal_likelihood
from ntk.gp._posterior import Posterior as Posterior
from ntk.gp._posterior import posterior as posterior

__all__ = [
    "Classes",
    "Fit",
    "GradientFlow",
    "Kernels",
    "NotPositiveDefiniteError",
    "Posterior",
    "SolverReport",
    "class_targets",
    "decode_classes",
    "fit",
    "gradient_flow",
    "kernel_matrices",
    "log_marginal_likelihood",
    "posterior",
]
