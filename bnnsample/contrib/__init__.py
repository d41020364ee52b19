"""Bridges to other libraries: ``bnnsample.contrib.numpyro``."""
