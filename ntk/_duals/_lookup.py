"""From an activation, by name or as a function, to its dual."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ntk._activations import ACTIVATIONS, Activation, resolve_activation
from ntk._duals import _arc_cosine, _error_function, _exponential, _gelu, _polynomial, _sign
from ntk._duals import _trigonometric as _trig
from ntk._duals._dual import Dual
from ntk._duals._quadrature import elementwise

# Functions are recognised by identity: what they compute cannot be.
_CLOSED_FORMS: list[tuple[Dual, tuple[Any, ...]]] = [
    (_arc_cosine.relu, (jax.nn.relu, ACTIVATIONS["relu"])),
    (_arc_cosine.leaky_relu(), (jax.nn.leaky_relu, ACTIVATIONS["leaky_relu"])),
    (_arc_cosine.absolute_value, (jnp.abs, jnp.absolute, jax.lax.abs)),
    (_gelu.gelu, (ACTIVATIONS["gelu"],)),
    (_error_function.erf, (jax.lax.erf, jax.scipy.special.erf, ACTIVATIONS["erf"])),
    (_error_function.normal_cdf, (jax.scipy.special.ndtr, jax.scipy.stats.norm.cdf)),
    (_trig.sin, (jnp.sin, jax.lax.sin, ACTIVATIONS["sin"])),
    (_trig.cos, (jnp.cos, jax.lax.cos)),
    (_exponential.exp, (jnp.exp, jax.lax.exp)),
    (_polynomial.identity, (jax.nn.identity,)),
    (_polynomial.monomial(2), (jnp.square, jax.lax.square)),
    (_sign.sign, (jnp.sign, jax.lax.sign)),
]


def dual_of(activation: str | Activation | Dual) -> Dual:
    """The dual of an activation: in closed form where one is known, else by quadrature.

    Recognised: the names of ``ACTIVATIONS``, ``jax.nn``, ``jax.numpy`` and ``jax.lax`` functions
    with a closed form, ``functools.partial`` of ``jax.nn.gelu`` and ``jax.nn.leaky_relu`` with
    their keyword, the ``activation`` method of a dual, and a dual itself. Any other callable,
    and ``jax.nn.gelu`` with its default, the tanh approximation, gets :func:`elementwise` at
    its default degree: ``closed_form`` of the result says which.

    Raises:
        TypeError, ValueError: as :func:`resolve_activation` and :func:`elementwise`.
    """
    if isinstance(activation, Dual):
        return activation
    function = resolve_activation(activation)
    owner = getattr(function, "__self__", None)
    if isinstance(owner, Dual) and function == owner.activation:
        return owner
    for dual, functions in _CLOSED_FORMS:
        if any(function is known for known in functions):
            return dual
    return _of_partial(function) or elementwise(function)


def _of_partial(function: Callable[..., Any]) -> Dual | None:
    """The dual of ``gelu`` or ``leaky_relu`` with their keyword bound, if it is that."""
    if not isinstance(function, functools.partial) or function.args:
        return None
    keywords = dict(function.keywords)
    if function.func is jax.nn.gelu and keywords.keys() == {"approximate"}:
        return None if keywords["approximate"] else _gelu.gelu
    if function.func is jax.nn.leaky_relu and keywords.keys() == {"negative_slope"}:
        return _arc_cosine.leaky_relu(keywords["negative_slope"])
    return None
