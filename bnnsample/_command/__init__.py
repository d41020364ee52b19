"""The command line: ``python -m bnnsample run`` and ``report``."""

from bnnsample._command._main import main as main

__all__ = ["main"]
