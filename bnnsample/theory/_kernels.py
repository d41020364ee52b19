"""Empirical kernels at the prior and along the chain against those of infinite width."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array

from bnnsample._record import KeptParameters
from bnnsample.coordinates import Posterior
from bnnsample.theory._alignment import alignment, centred_alignment, relative_frobenius
from bnnsample.theory._limit import WideKernel
from ntk import empirical_nngp, empirical_ntk

DISTANCES = {
    "relative_frobenius": relative_frobenius,
    "alignment": alignment,
    "centred_alignment": centred_alignment,
}
NAMES = ("nngp", "ntk")
INDEX = ("kernel", "at")


def compare_kernels(
    posterior: Posterior,
    kept: KeptParameters,
    kernel: WideKernel,
    x: Array,
    num_draws: int,
    key: Array,
) -> pd.DataFrame:
    """Distances of the empirical NNGP and NTK at ``x [m, ...]`` from their limits.

    Args:
        posterior: the model and its data.
        kept: parameter draws of the posterior, of which ``num_draws`` evenly spaced ones are taken.
        kernel: of the wide limit.
        x: points.
        num_draws: at the prior as many, drawn afresh. With 0 the table is empty.
        key: of the prior draws.

    Returns:
        One row per kernel (``nngp``, ``ntk``) and place (``prior``, ``posterior``); for each
        distance its mean over draws and, under ``.._sd``, its standard deviation.
    """
    columns = [name + suffix for name in DISTANCES for suffix in ("", "_sd")]
    rows = {}
    places = {"prior": _at_prior(posterior, key, x.dtype), "posterior": _along(kept, x.dtype)}
    limits = kernel(x) if num_draws else None
    for at, (count, draw) in places.items() if num_draws else ():
        total = num_draws if count is None else min(num_draws, count)
        chosen = np.linspace(0, (count or total) - 1, total).round().astype(int)
        found: dict[str, list[Any]] = {name: [] for name in NAMES}
        for index in chosen:
            parameters = draw(int(index))
            for name, of in (("nngp", _nngp), ("ntk", _ntk)):
                pair = np.asarray(of(posterior, parameters, x)), np.asarray(getattr(limits, name))
                found[name].append([distance(*pair) for distance in DISTANCES.values()])
        for name in NAMES:
            values = np.asarray(found[name])
            spread = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(len(DISTANCES))
            rows[name, at] = np.stack([values.mean(axis=0), spread], axis=1).ravel()
    order = [(name, at) for name in NAMES for at in places if (name, at) in rows]
    index = pd.MultiIndex.from_tuples(order, names=INDEX) if order else None
    return pd.DataFrame([rows[at] for at in order], index=index, columns=columns)


def _nngp(posterior: Posterior, parameters: Any, x: Array) -> Array:
    return empirical_nngp(posterior.model.features, parameters["hidden"], x)


def _ntk(posterior: Posterior, parameters: Any, x: Array) -> Array:
    """Averaged over outputs, which all have one limit."""
    return empirical_ntk(posterior.model.apply, parameters, x, trace_axes=(-1,), progress=False)


def _at_prior(posterior: Posterior, key: Array, dtype: Any):
    def draw(index: int):
        model, outputs = posterior.model, posterior.num_outputs
        one = jnp.asarray(posterior.x[:1], dtype)
        return model.init(jax.random.fold_in(key, index), one, posterior.width, outputs)

    return None, draw


def _along(kept: KeptParameters, dtype: Any):
    chains, draws = kept.parameters["readout"].shape[:2]

    def draw(index: int):
        at = divmod(index, draws)
        return jax.tree.map(lambda a: jnp.asarray(a[at], dtype), kept.parameters)

    return chains * draws, draw
