"""Contraction of factors, pair by pair along the cheapest path, each pair done once."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import opt_einsum
from jax import Array

Letters = tuple[Any, ...]
Operand = tuple[Array, Letters]
# Above this many operands the best path is searched greedily.
EXHAUSTIVE = 7


class Contractor:
    """Contracts, and remembers what it has contracted: equal work is shared.

    Args:
        dtype: of products and sums.
    """

    def __init__(self, dtype: Any):
        self.dtype = dtype
        self._done: dict[Any, tuple[Array, Any]] = {}

    def __call__(self, operands: Sequence[Operand], output: Letters) -> Array:
        """The sum over every letter that is not in ``output``; all of ``output`` must occur."""
        operands = [self._alone(operand, operands, output) for operand in operands]
        for first, second in path(operands, output):
            rest = [o for k, o in enumerate(operands) if k not in (first, second)]
            keep = set(output).union(*(letters for _, letters in rest))
            operands = [*rest, self._pair(operands[first], operands[second], keep)]
        array, letters = operands[0]
        order = tuple(letters.index(letter) for letter in output)
        if order == tuple(range(len(order))):
            return array
        key = "transposed", id(array), order
        return self._once(key, lambda: jnp.transpose(array, order), array)

    def _once(self, key: Any, make: Callable[[], Array], *held: Array) -> Array:
        """What ``make`` gave the first time; arrays in the key stay alive, and their identities."""
        if key not in self._done:
            self._done[key] = make(), held
        return self._done[key][0]

    def _alone(self, operand: Operand, operands: Sequence[Operand], output: Letters) -> Operand:
        """Sum an operand over letters that only it has."""
        array, letters = operand
        others = set(output).union(*(o[1] for o in operands if o is not operand))
        summed = [k for k, letter in enumerate(letters) if letter not in others]
        if not summed:
            return operand
        key = ("alone", id(array), tuple(summed))
        total = self._once(key, lambda: jnp.sum(array, axis=summed, dtype=self.dtype), array)
        return total, tuple(x for x in letters if x in others)

    def _pair(self, first: Operand, second: Operand, keep: set[Any]) -> Operand:
        numbers = {x: k for k, x in enumerate(dict.fromkeys((*first[1], *second[1])))}
        kept = tuple(x for x in numbers if x in keep)
        codes = [tuple(numbers[x] for x in o[1]) for o in (first, second)]
        out = tuple(numbers[x] for x in kept)
        a, b = first[0], second[0]
        key = id(a), id(b), *codes, out
        return self._once(key, lambda: self._multiply(a, b, codes[0], codes[1], out), a, b), kept

    def _multiply(self, a: Array, b: Array, in_a, in_b, out) -> Array:
        if set(in_a) | set(in_b) == set(out):
            return _spread(a, in_a, out).astype(self.dtype) * _spread(b, in_b, out).astype(
                self.dtype
            )
        if a.dtype != b.dtype:
            a, b = a.astype(self.dtype), b.astype(self.dtype)
        return jnp.einsum(a, in_a, b, in_b, out, preferred_element_type=self.dtype)


def _spread(array: Array, letters: tuple[int, ...], out: tuple[int, ...]) -> Array:
    present = [letter for letter in out if letter in letters]
    array = jnp.transpose(array, [letters.index(letter) for letter in present])
    return jnp.expand_dims(array, [k for k, letter in enumerate(out) if letter not in letters])


def path(operands: Sequence[Operand], output: Letters) -> list[tuple[int, int]]:
    """Pairs of positions to contract in turn, each result put last."""
    if len(operands) == 1:
        return []
    found = cheapest([(jnp.shape(o[0]), o[1]) for o in operands], output)[0]
    pairs = []
    count = len(operands)
    for group in found:
        positions = sorted(group)
        # A path may end in one group of more than two: take them in pairs.
        while len(positions) > 1:
            first, second, *others = positions
            pairs.append((first, second))
            count -= 1
            shift = [p - (p > first) - (p > second) for p in others]
            positions = sorted([*shift, count - 1])
    return pairs


def cheapest(operands: Sequence[tuple[tuple[int, ...], Letters]], output: Letters) -> Any:
    """The cheapest path of operands given by shape and letters, and its operations."""
    every = dict.fromkeys(x for _, letters in operands for x in letters)
    symbols = {x: opt_einsum.get_symbol(k) for k, x in enumerate(every)}
    terms = ["".join(symbols[x] for x in letters) for _, letters in operands]
    equation = ",".join(terms) + "->" + "".join(symbols[x] for x in output)
    shapes = [shape for shape, _ in operands]
    kind = "optimal" if len(operands) <= EXHAUSTIVE else "greedy"
    found, info = opt_einsum.contract_path(equation, *shapes, shapes=True, optimize=kind)
    return found, float(info.opt_cost)
