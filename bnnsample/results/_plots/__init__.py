"""Figures of a result, drawn with Matplotlib's objects: no global state, no display needed."""

from bnnsample.results._plots._plot import plot as plot

__all__ = ["plot"]
