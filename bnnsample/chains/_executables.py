"""Compiled programs, kept by what they compute: the same run again does not compile again."""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import jax

# The latest used; a run has about ten.
MOST_KEPT = 32
_KEPT: OrderedDict[Any, Any] = OrderedDict()


def compiled(lowered: Any, placement: Any, options: Mapping[str, Any] | None = None) -> Any:
    """``lowered.compile(options)``, or what an earlier program of the same text was compiled to.

    The text is the whole program, its constants included; ``placement`` is what it does not say:
    on which devices. Nothing may have been dropped of the arguments (``keep_unused``), for the text
    does not say which ones. A program that calls back to Python is compiled every time: its text
    does not say whom it calls.
    """
    text = lowered.as_text()
    if "callback" in text:
        return lowered.compile(options)
    key = (
        hashlib.sha256(text.encode()).digest(),
        # Types that the text does not tell apart: keys of random numbers are integers there.
        repr(jax.tree.leaves(lowered.args_info)),
        repr(jax.tree.leaves(lowered.out_info)),
        placement,
        repr(options),
        repr(jax.config.values),
        jax.config.jax_default_device,  # type: ignore[attr-defined]
    )
    if key not in _KEPT:
        _KEPT[key] = lowered.compile(options)
        if len(_KEPT) > MOST_KEPT:
            _KEPT.popitem(last=False)
    _KEPT.move_to_end(key)
    return _KEPT[key]
