"""Which prior each parameter of a module has."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpyro.distributions as dist

from bnnsample.models._checks import check_standard_deviation
from bnnsample.models._modules._binding import Binding, joined, layer_of, name_of
from bnnsample.models._modules._whitening import Whitening, whitening

Rule = Callable[..., Any]


def fan_in(weight_std: float = 1.0, bias_std: float = 0.1) -> Rule:
    """The prior ``N(0, weight_std^2 / fan_in)`` of weights, ``N(0, bias_std^2)`` of biases.

    A rule for the ``prior`` of ``from_flax`` and ``from_equinox``, whose ``scales`` may have other
    values of the two, unknown ones say. ``fan_in`` is the size of all
    axes of a parameter but the last, of inputs and of a convolution's window. A bias is what its
    layer names ``bias``; other parameters of one axis, such as the scales of a normalisation, have
    standard deviation 1. With ``bias_std = 0`` biases are held at 0.
    """
    check_standard_deviation("weight_std", weight_std, positive=True)
    check_standard_deviation("bias_std", bias_std)

    def rule(
        path: str, shape: tuple[int, ...], weight_std: Any = weight_std, bias_std: Any = bias_std
    ) -> Any:
        if name_of(path) == "bias":
            return bias_std
        return weight_std / math.prod(shape[:-1]) ** 0.5 if len(shape) > 1 else 1.0

    return rule


def is_rule(prior: Any) -> bool:
    """Whether a prior is a function of paths: modules are callable too, and trees."""
    return callable(prior) and jax.tree_util.all_leaves([prior])


def hidden_priors(
    binding: Binding, prior: Any, readout: str, scales: Mapping[str, Any] | None = None
) -> dict[str, Whitening | None]:
    """``u -> w`` of every parameter outside the readout, in the canonical order of axes.

    ``scales`` are what a rule takes by name.

    Raises:
        TypeError, ValueError: as ``whitening``, naming the parameter; a tree that leaves a
            parameter out, or names none, or the readout.
    """
    paths = [path for path in binding.shapes if layer_of(path) != readout]
    if is_rule(prior):
        return {
            path: whitening(f"prior({path!r})", prior(path, shape, **(scales or {})), shape)
            for path in paths
            for shape in [binding.canonical_shape(path)]
        }
    entries = _entries(binding, prior, readout, paths)
    return {path: _native(binding, path, entries[path]) for path in paths}


def _native(binding: Binding, path: str, entry: Any) -> Whitening | None:
    """A prior in the framework's order of axes, for values in the canonical one."""
    function = whitening(f"prior of {path!r}", entry, binding.shapes[path])
    if function is None:
        return None
    return lambda u: binding.canonical(path, function(binding.native(path, u)))


def _entries(binding: Binding, prior: Any, readout: str, paths: list[str]) -> dict[str, Any]:
    """The entry of a tree that is at a parameter's path or above it."""
    if prior is None:
        return dict.fromkeys(paths, 1.0)
    given = prior_tree(prior)
    if set(given) == {""}:
        return dict.fromkeys(paths, given[""])
    for path in given:
        if path == readout or layer_of(path) == readout:
            raise ValueError(
                f"prior has an entry {path!r} of the readout, whose prior is Gaussian, with "
                "readout_weight_std and readout_bias_std: leave it out"
            )
        if not any(_covers(path, other) for other in paths):
            raise ValueError(f"prior has an entry {path!r}; the parameters are {', '.join(paths)}")
    entries = {}
    for path in paths:
        above = [entry for entry in given if _covers(entry, path)]
        if len(above) != 1:
            raise ValueError(f"prior must have one entry for parameter {path!r}, got {above}")
        entries[path] = given[above[0]]
    return entries


def _covers(entry: str, path: str) -> bool:
    return path == entry or path.startswith(f"{entry}/")


def prior_tree(tree: Any) -> dict[str, Any]:
    """Leaves by path of dicts, modules and other pytrees; distributions are leaves."""
    if hasattr(tree, "to_pure_dict"):
        tree = tree.to_pure_dict()
    if isinstance(tree, Mapping) and set(tree) == {"params"}:
        tree = tree["params"]
    leaves = jax.tree_util.tree_leaves_with_path(
        tree, is_leaf=lambda node: isinstance(node, dist.Distribution)
    )
    return {joined(map(key_of, path)): leaf for path, leaf in leaves}


def key_of(entry: Any) -> str:
    for attribute in ("key", "idx", "name"):
        if hasattr(entry, attribute):
            return str(getattr(entry, attribute))
    return str(entry)
