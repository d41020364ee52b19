"""Any NumPyro model with a linear readout, repriorised as it stands."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpyro
from jax import Array

from bnnsample.contrib.numpyro._features import features_of
from bnnsample.contrib.numpyro._map import Prior, Surrogate, gaussian_prior, readout_of
from bnnsample.contrib.numpyro._output import (
    as_outputs,
    network_output,
    observation_of,
    scale_of,
)
from bnnsample.contrib.numpyro._passes import Ahead, Alone, Message, Rest, run_to_output
from bnnsample.contrib.numpyro._reparam import sample_phi
from bnnsample.contrib.numpyro._rows import Rows, rows_of


def repriorise(
    model: Callable,
    readout: str | Sequence[str],
    output: str,
    *,
    observation: Any = None,
    scale: Any = None,
) -> Callable:
    """The model with its readout sites repriorised: the same density, other coordinates.

    The model stays as it is::

        def model(x, y=None):
            net = random_flax_module("net", MLP(), prior, input_shape=(10,))
            sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
            numpyro.sample("y", dist.Normal(net(x).squeeze(-1), sigma), obs=y)

        fast = repriorise(model, ["net/Dense_1.kernel", "net/Dense_1.bias"], output="y")
        mcmc = MCMC(NUTS(fast), ...)
        Predictive(model, mcmc.get_samples())(key, x_new)

    ``mu`` and ``A`` of ``W = mu + A phi`` (Hron et al. 2022, eq. 6) come from the features ``Psi``
    with ``output = Psi W + offset``, found by transposing the model as a linear function of its
    readout, and are a surrogate where the likelihood is not Gaussian: the density is exact for
    any. The new site is ``<first readout site>_repriorised [p, d]``, kernel and bias stacked;
    readout sites become deterministic under their own names. Where the output is not observed and
    no ``observation`` is given (prediction), the model runs as it was. Forward draws with an
    observation are not prior draws.

    Every evaluation runs the network twice: once for the features, once in the model.

    Args:
        model: a NumPyro model.
        readout: names of the sites in which the output is jointly linear: the kernel of the last
            layer and, if it has one, its bias. Normal priors; ``[p, d]``, ``[d, p]`` (Equinox),
            ``[d]``, or ``[p]`` with one output.
        output: name of the likelihood's site, whose ``loc`` or ``logits`` ``[n]`` or ``[n, d]`` is
            the network's output, or of a ``numpyro.deterministic`` that is.
        observation: surrogate observation of the output, ``[n]`` or ``[n, d]``. Default: the value
            of the likelihood's site.
        scale: standard deviation of the surrogate's noise: a scalar, ``[n]``, or the name of a
            sampled site. Default: the likelihood's own ``scale``.

    Raises:
        TypeError: a prior that is not Normal.
        ValueError: names that the model does not have, an output that is not linear in the
            readout, shapes that do not fit, mutable state in the network.
    """
    names = (readout,) if isinstance(readout, str) else tuple(readout)
    if not names or output in names:
        raise ValueError(f"readout must name sites other than the output {output!r}, got {names}")

    @functools.wraps(model)
    def repriorised(*args, **kwargs):
        run = functools.partial(model, *args, **kwargs)
        ahead = Ahead(names, output)
        site = _checked_site(run_to_output(ahead, run), ahead, names, output)
        corrections: list[Array] = []
        values: dict[str, Array] = {}
        if observation is not None or site["type"] == "deterministic" or site["is_observed"]:
            sites, surrogate = _surrogate(run, ahead, site, observation, scale)
            values, correction = _draw(names[0], sites, ahead, surrogate)
            corrections.append(correction)
        with Rest(ahead, values) as rest:
            result = run()
        corrections += rest.corrections()
        if corrections:
            numpyro.factor(f"{names[0]}_correction", sum(corrections))
        return result

    return repriorised


def _surrogate(
    run: Callable, ahead: Ahead, site: Message, observation: Any, scale: Any
) -> tuple[dict[str, Rows], Surrogate]:
    """How the readout sites lie in its matrix, and the Gaussian observation of the output."""
    output = site["name"]
    offset, vector = as_outputs(network_output(site), output)
    n, d = offset.shape
    sites = {name: rows_of(name, prior.shape(), d) for name, prior in ahead.priors.items()}

    def network(values: dict[str, Array]) -> Array:
        reached = run_to_output(Alone({**ahead.values, **values}, output), run)
        assert reached is not None
        return as_outputs(network_output(reached), output)[0]

    y = observation_of(site, observation, offset.shape, vector).astype(offset.dtype)
    noise = scale_of(site, scale, ahead.values, d)
    return sites, Surrogate(features_of(network, sites, n, offset.dtype), y - offset, noise)


def _draw(
    name: str, sites: dict[str, Rows], ahead: Ahead, surrogate: Surrogate
) -> tuple[dict[str, Array], Array]:
    """The readout per site, from ``phi`` over all of them, and the correction of the density."""
    dtype = surrogate.features.dtype
    priors = [gaussian_prior(k, ahead.priors[k], rows, dtype) for k, rows in sites.items()]
    prior = Prior(
        jnp.concatenate([p.loc for p in priors]),
        jnp.concatenate([p.std for p in priors]),
        all(p.shared for p in priors),
    )
    W, correction = readout_of(sample_phi(name, prior.loc.shape, dtype), surrogate, prior)
    values, start = {}, 0
    for site, rows in sites.items():
        values[site] = rows.from_matrix(W[start : start + rows.size])
        start += rows.size
    return values, correction


def _checked_site(
    site: Message | None, ahead: Ahead, names: tuple[str, ...], output: str
) -> Message:
    known = ", ".join([*ahead.values, *ahead.priors])
    missing = [name for name in names if name not in ahead.priors]
    if missing:
        raise ValueError(
            f"the model samples no readout site {', '.join(missing)} before its output "
            f"{output!r}; it has {known}"
        )
    if site is None:
        raise ValueError(f"the model has no site {output!r}, its output; it has {known}")
    return site
