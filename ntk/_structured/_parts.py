"""A simplified Jacobian of many examples, some at a time where much is alive only in passing."""

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntk._structured._jacobian import Jacobian
from ntk._structured._network import Factor

# What cotangents and patches may take beyond the Jacobian that is made of them. Cutting costs
# no operations; an accelerator is given enough examples to be busy with.
PASSING = {"cpu": 2**26}
PASSING_ELSEWHERE = 2**31
MOST_PARTS = 8


def in_parts(
    jacobian: Callable[[list[Array]], Jacobian],
    simplified: Callable[[Jacobian], Jacobian],
    x: list[Array],
) -> Jacobian:
    """``simplified(jacobian(x))``, in as many parts as keep what it needs in passing bounded.

    Args:
        jacobian: at given examples.
        simplified: products that make it smaller, as the cotangents of an image by its patches.
        x: leaves of the examples, each ``[n, ...]``.
    """
    n = len(x[0])
    whole = jacobian(x)
    small = simplified(whole)
    limit = PASSING.get(jax.default_backend(), PASSING_ELSEWHERE)
    count = min(n, MOST_PARTS, math.ceil((_bytes(whole) - _bytes(small)) / limit))
    if count <= 1:
        return small
    edges = [round(n * k / count) for k in range(count + 1)]
    cuts = [[a[start:stop] for a in x] for start, stop in itertools.pairwise(edges)]
    return _joined([simplified(jacobian(cut)) for cut in cuts])


def _bytes(jacobian: Jacobian) -> int:
    """Of the arrays that differ from example to example, each once."""
    arrays = {id(f.array): f.array for f in jacobian.factors if f.batched}
    return sum(array.size * array.dtype.itemsize for array in arrays.values())


def _joined(parts: list[Jacobian]) -> Jacobian:
    """One Jacobian of all examples: the same networks in every part, on the first's indices."""
    joined: dict[Any, Array] = {}
    made: dict[int, Factor] = {}
    for factors in zip(*(part.factors for part in parts), strict=True):
        if factors[0].batched:
            key = tuple(id(f.array) for f in factors)
            if key not in joined:
                joined[key] = jnp.concatenate([f.array for f in factors])
            made[id(factors[0])] = dataclasses.replace(factors[0], array=joined[key])
    return parts[0].replacing(made)
