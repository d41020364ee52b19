"""Pytrees of arrays as named arrays and a plain description of their structure, and back."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

Pytree = Any
Structure = dict[str, Any]


def describe(tree: Pytree, path: str = "") -> Structure:
    """The structure of a pytree as JSON; every leaf under its key path, ``hidden/0/weight``.

    Dicts with string or int keys, lists, tuples and None come back as they are. Any other
    container (a NamedTuple, a module) is ``"custom"``: it comes back as a dict of its children.
    """
    if tree is None:
        return {"none": True}
    children = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda node: node is not tree)[0]
    if len(children) == 1 and children[0][0] == ():
        return {"leaf": path}
    keys = [_key(entry) for (entry,), _ in children]
    names = _component_names(keys)
    nodes = [
        describe(child, f"{path}/{name}" if path else name)
        for name, (_, child) in zip(names, children, strict=True)
    ]
    if type(tree) in (list, tuple):
        return {type(tree).__name__: nodes}
    kind = "dict" if type(tree) is dict and all(type(k) in (str, int) for k in keys) else "custom"
    return {kind: [list(pair) for pair in zip(map(_plain, keys), nodes, strict=True)]}


def leaves_by_path(tree: Pytree, structure: Structure) -> dict[str, np.ndarray]:
    """The leaves under the paths of ``describe(tree)``."""
    paths = leaf_paths(structure)
    return dict(zip(paths, map(np.asarray, jax.tree.leaves(tree)), strict=True))


def leaf_paths(structure: Structure) -> list[str]:
    """Paths of the leaves in flattening order."""
    paths: list[str] = []
    rebuild(structure, paths.append)
    return paths


def rebuild(structure: Structure, leaf: Callable[[str], Any]) -> Pytree:
    """The pytree whose leaf at ``path`` is ``leaf(path)``."""
    ((kind, content),) = structure.items()
    if kind == "none":
        return None
    if kind == "leaf":
        return leaf(content)
    if kind in ("list", "tuple"):
        nodes = [rebuild(node, leaf) for node in content]
        return nodes if kind == "list" else tuple(nodes)
    if kind in ("dict", "custom"):
        return {key: rebuild(node, leaf) for key, node in content}
    raise ValueError(f"unknown kind of pytree node {kind!r}")


def assemble(
    structure: Structure, leaves: Mapping[str, np.ndarray], template: Pytree | None
) -> Pytree:
    """Stored leaves in the containers of ``template``, or as ``rebuild`` makes them without one.

    Leaves are matched by path. ``template`` holds shapes; stored leaves may have more axes in
    front, such as chains and draws.

    Raises:
        ValueError: leaves or shapes other than the template's.
    """
    if template is None:
        return rebuild(structure, leaves.__getitem__)
    paths = leaf_paths(describe(template))
    shapes = [leaf.shape for leaf in jax.tree.leaves(template)]
    expected = dict(zip(paths, shapes, strict=True))
    stored = {
        path: leaf.shape[leaf.ndim - len(expected.get(path, ())) :] for path, leaf in leaves.items()
    }
    if expected != stored:
        raise ValueError(
            "the model does not fit the stored parameters: its arrays have shapes "
            f"{expected}, the stored ones {stored}"
        )
    return jax.tree.unflatten(jax.tree.structure(template), [leaves[path] for path in paths])


def _key(entry: Any) -> Any:
    for attribute in ("key", "idx", "name"):
        if hasattr(entry, attribute):
            return getattr(entry, attribute)
    return str(entry)


def _plain(key: Any) -> str | int:
    return key if type(key) in (str, int) else str(key)


def _component_names(keys: list[Any]) -> list[str]:
    """File-system safe names, distinct even where a file system ignores case."""
    names: list[str] = []
    taken = {"chain", "kept_draw"}
    for i, key in enumerate(keys):
        name = re.sub(r"[^A-Za-z0-9_-]", "_", str(key))
        if name.lower() in taken or not name or name.startswith("__"):
            name = f"{name.strip('_')}_{i}"
        taken.add(name.lower())
        names.append(name)
    return names
