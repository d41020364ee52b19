"""The empirical neural tangent kernel as an operator that is never formed."""

from ntk._operator._eigenpairs import Eigenpairs as Eigenpairs
from ntk._operator._logdet import LogDeterminant as LogDeterminant
from ntk._operator._operator import NTKOperator as NTKOperator
from ntk._operator._solve import Solution as Solution
from ntk._operator._trace import TraceEstimate as TraceEstimate

__all__ = ["Eigenpairs", "LogDeterminant", "NTKOperator", "Solution", "TraceEstimate"]
