"""A model against its contract, by abstract evaluation: nothing is computed or compiled."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bnnsample._record import RECORDED
from bnnsample.likelihoods import Likelihood
from bnnsample.models import Model
from bnnsample.models._checks import checked_width

# Results, and starts of chains, have something else under these names.
RESERVED = frozenset({*RECORDED, "readout"})


def check_model(model: Model, x: np.ndarray, width: Any) -> None:
    """Raise unless ``init_hidden`` and ``hidden_features`` return what a run needs.

    Raises:
        TypeError: not a ``Model``, a width that is no int or sequence of ints, or hidden
            parameters that are not floating point arrays of the dtype of x.
        ValueError: a width below 1 or beyond 2**31, or features that are not ``[n, p0]`` in the
            dtype of x.
    """
    if not isinstance(model, Model):
        raise TypeError(
            "model must be a bnnsample.models.Model, such as bnnsample.models.mlp(depth=2), "
            f"got {type(model).__name__}"
        )
    if width is not None:  # of one width already, or refused by the model itself
        checked_width(width)
    key = jax.random.key(0)
    inputs = jax.ShapeDtypeStruct(x.shape, x.dtype)
    hidden = _shapes("init", lambda k, a: model.init_hidden(k, a, width), key, inputs)
    for path, leaf in jax.tree_util.tree_leaves_with_path(hidden):
        name = jax.tree_util.keystr(path) or "h"
        if not jnp.issubdtype(leaf.dtype, jnp.floating) or leaf.dtype != x.dtype:
            raise TypeError(
                f"the model's init returned {name} of dtype {leaf.dtype}; expected the dtype of "
                f"x, {x.dtype}, drawn from N(0, 1)"
            )
        if leaf.size == 0:
            raise ValueError(f"the model's init returned {name} of shape {leaf.shape}: empty")
    phi = _shapes("features", model.hidden_features, hidden, inputs)
    shape = getattr(phi, "shape", None)
    if shape is None or len(shape) != 2 or shape[0] != x.shape[0] or shape[1] == 0:
        raise ValueError(
            f"the model's features must return shape [n, p] = [{x.shape[0]}, p] for x of shape "
            f"{x.shape}, got {shape if shape is not None else type(phi).__name__}"
        )
    if phi.dtype != x.dtype:
        raise TypeError(f"the model's features returned dtype {phi.dtype} for x of dtype {x.dtype}")


def _shapes(name: str, fn: Callable[..., Any], *arguments: Any) -> Any:
    """What a function of the model returns, as shapes; whatever it raises says whose it was."""
    try:
        return jax.eval_shape(fn, *arguments)
    except Exception as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raised = "" if type(error) in (TypeError, ValueError) else f"{type(error).__name__}: "
        raise kind(
            f"the model's {name} failed for x of shape {arguments[1].shape}: {raised}{error}"
        ) from error


def check_names(model: Model, likelihood: Likelihood) -> None:
    """Raise ``ValueError`` where an unknown of the model and one of the likelihood share a name."""
    names = {*likelihood.unknowns, *likelihood.to_fit}
    taken = sorted(names & {*model.unknowns, *model.to_fit})
    if taken:
        raise ValueError(
            f"the model and the likelihood both have an unknown named {taken[0]!r}: rename one"
        )
    reserved = sorted(RESERVED & {*names, *model.unknowns, *model.to_fit})
    if reserved:
        raise ValueError(f"an unknown may not be named {reserved[0]!r}: results have that name")
