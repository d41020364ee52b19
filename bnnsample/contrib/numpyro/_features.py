"""The features of a readout, from the network's output as a linear function of it."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import Array

from bnnsample.contrib.numpyro._rows import Rows


def features_of(
    network: Callable[[dict[str, Array]], Array], sites: Mapping[str, Rows], n: int, dtype
) -> Array:
    """``Psi [n, p]`` of ``network(readout) -> [n, d]``, the rows of the sites one after the other.

    The transpose of a dense readout maps a cotangent ``e_i`` of output j to ``psi_i`` in column j
    of the kernel. One cotangent serves d data points, one per output, so this costs n^2 p
    operations: as much as the kernel matrix ``Psi Psi^T``.

    Raises:
        ValueError: the network is not linear in the readout.
    """
    d = next(iter(sites.values())).num_outputs
    template = {name: jax.ShapeDtypeStruct(rows.shape, dtype) for name, rows in sites.items()}
    groups = -(-n // d)
    # [group, n, d]: data point ``group * d + j`` in output j.
    cotangents = jnp.eye(groups * d, dtype=dtype)[:, :n].reshape(groups, d, n).swapaxes(1, 2)
    try:
        transposed = jax.linear_transpose(network, template)
        by_site = jax.vmap(lambda cotangent: transposed(cotangent)[0])(cotangents)
    except (NotImplementedError, AssertionError, TypeError) as error:
        raise ValueError(
            f"the output is not linear in the readout {', '.join(sites)}: {error}"
        ) from error
    columns = [jax.vmap(rows.to_matrix)(by_site[name]) for name, rows in sites.items()]
    stacked = jnp.concatenate(columns, axis=1)  # [group, p, d]
    return stacked.swapaxes(1, 2).reshape(groups * d, -1)[:n]
