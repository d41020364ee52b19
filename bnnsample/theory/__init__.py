"""How far a network's posterior is from its prior, and from the theory of wide networks."""

from bnnsample.theory._alignment import alignment as alignment
from bnnsample.theory._alignment import centred_alignment as centred_alignment
from bnnsample.theory._alignment import relative_frobenius as relative_frobenius
from bnnsample.theory._compare import TheoryComparison as TheoryComparison
from bnnsample.theory._compare import compare_to_theory as compare_to_theory
from bnnsample.theory._evidence import Evidence as Evidence
from bnnsample.theory._evidence import evidence as evidence
from bnnsample.theory._evidence import evidence_of as evidence_of
from bnnsample.theory._gaussian import gaussian_kl as gaussian_kl
from bnnsample.theory._gaussian import gaussian_wasserstein2 as gaussian_wasserstein2
from bnnsample.theory._joint import JointKL as JointKL
from bnnsample.theory._will_it_help import WillItHelp as WillItHelp
from bnnsample.theory._will_it_help import will_it_help as will_it_help

__all__ = [
    "Evidence",
    "JointKL",
    "TheoryComparison",
    "WillItHelp",
    "alignment",
    "centred_alignment",
    "compare_to_theory",
    "evidence",
    "gaussian_kl",
    "gaussian_wasserstein2",
    "relative_frobenius",
    "will_it_help",
]
