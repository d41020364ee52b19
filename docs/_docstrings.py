"""Docstrings as mkdocstrings reads them: what it does not know of ours is rewritten."""

import re
from typing import Any

import griffe

KERNELS = (
    "alternating",
    "elliptical_slice",
    "infinite_hmc",
    "infinite_mala",
    "pcn",
    "unitwise",
)

ARGUMENTS = r"^Args:\n(?:    .*\n?|\n)+"
JOINT = r"^    ((?:\w+, )+\w+): (.*(?:\n(?:     .*)?)*)"


def _one_by_one(section: re.Match[str]) -> str:
    """Arguments that share one description, each with it."""

    def split(joint: re.Match[str]) -> str:
        return "\n".join(f"    {name}: {joint[2]}" for name in joint[1].split(", "))

    return re.sub(JOINT, split, section[0], flags=re.MULTILINE)


class Docstrings(griffe.Extension):
    """Roles of reStructuredText become code, and kernels have their functions' docstrings."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            text = re.sub(r":(?:func|class|meth):`~?([^`]+)`", r"`\1`", obj.docstring.value)
            text = re.sub(r"::\n\n(?= )", ":\n\n", text)
            # Names of one description that go on in the next line.
            several = r"^( +(?:\w+, )+\w+,)\n +((?:\w+, )*\w+: )"
            text = re.sub(several, r"\1 \2", text, flags=re.MULTILINE)
            obj.docstring.value = re.sub(ARGUMENTS, _one_by_one, text, flags=re.MULTILINE)

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """``kernels.pcn`` is an object of BlackJAX's that calls ``_pcn.as_top_level_api``."""
        if pkg.name == "bnnsample":
            for name in KERNELS:
                function = pkg[f"kernels._{name}.as_top_level_api"]
                alias = griffe.Alias(name, target=function, parent=pkg["kernels"])
                pkg["kernels"].set_member(name, alias)
