"""The Jacobian of a function by all of its parameters: networks, group by group."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from ntk._structured._network import Factor, Index, Network


@dataclass(frozen=True, eq=False)
class Group:
    """Networks whose sum is a Jacobian ``J``: of a parameter leaf, or of a part of one.

    Attributes:
        networks: on equal axes.
        metric: ``m`` of the group's kernel ``J m J^T``, on indices of the one network's axes;
            None stands for ones.
    """

    networks: list[Network]
    metric: Factor | None = None


@dataclass(frozen=True, eq=False)
class Jacobian:
    """Groups whose kernels add up to the whole one.

    Attributes:
        groups: of every leaf in order.
        outputs: one index per axis of the function's output.
    """

    groups: list[Group]
    outputs: tuple[Index, ...]

    @property
    def factors(self) -> list[Factor]:
        """Those of every network, each once."""
        networks = [network for group in self.groups for network in group.networks]
        return list({id(f): f for network in networks for f in network.factors}.values())

    def replacing(self, new: Mapping[int, Factor]) -> "Jacobian":
        """With other factors in place of those whose identities are the keys."""
        groups = [
            dataclasses.replace(
                group,
                networks=[
                    dataclasses.replace(n, factors=tuple(new.get(id(f), f) for f in n.factors))
                    for n in group.networks
                ],
            )
            for group in self.groups
        ]
        return Jacobian(groups, self.outputs)
