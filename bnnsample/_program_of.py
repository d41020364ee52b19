"""Compiled functions that live as long as what they are of."""

import functools
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import jax

_PROGRAMS: WeakKeyDictionary[Any, dict[Any, Callable[..., Any]]] = WeakKeyDictionary()


def program_of(owner: Any, fn: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """``jax.jit(fn, **options)`` for arguments of which ``owner`` is one.

    JAX keeps what it has compiled of a function as long as the function lives, with all its static
    arguments. A function at the top of a module lives for ever: a program for every result would be
    left behind.
    """
    programs = _PROGRAMS.setdefault(owner, {})
    if fn not in programs:
        programs[fn] = jax.jit(functools.partial(fn), **options)
    return programs[fn]
