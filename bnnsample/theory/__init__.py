"""How far a network's posterior is from its prior, and from the theory of wide networks."""

from bnnsample.theory._evidence import Evidence as Evidence
from bnnsample.theory._evidence import evidence as evidence

__all__ = ["Evidence", "evidence"]
