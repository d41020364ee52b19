"""The strategy for ``numpyro.handlers.reparam``: a readout whose features the model knows."""

from typing import Any

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax.typing import ArrayLike
from numpyro.infer.reparam import Reparam

from bnnsample.contrib.numpyro._map import Surrogate, gaussian_prior, readout_of
from bnnsample.contrib.numpyro._rows import Rows


class Readout(dist.Independent):
    """The prior ``W ~ N(0, std^2)`` of a readout, with what ``RepriorisedReadout`` needs.

    Without the strategy it is a Normal like any other.

    Args:
        features: ``Psi [n, p]`` at the data, so that the network's output is ``Psi @ W``.
        num_outputs: ``d``, or None for a readout ``[p]``.
        std: standard deviation of the prior, a scalar or one per row ``[p]``.
        observation: ``y [n]`` or ``[n, d]``, or None where there is none, as in prediction.
        scale: standard deviation of the noise, a scalar or ``[n]``; may be a sampled value.
    """

    pytree_data_fields = ("features", "observation", "scale")

    def __init__(
        self,
        features: ArrayLike,
        num_outputs: int | None = None,
        *,
        std: ArrayLike = 1.0,
        observation: ArrayLike | None,
        scale: ArrayLike | None,
    ):
        features = jnp.asarray(features)
        if features.ndim != 2:
            raise ValueError(f"features must have shape [n, p], got {features.shape}")
        p = features.shape[1]
        std = jnp.asarray(std, features.dtype)
        if std.shape not in ((), (p,)):
            raise ValueError(f"std must be a scalar or of shape [p] = [{p}], got {std.shape}")
        if num_outputs is not None and std.ndim:
            std = std[:, None]
        shape = (p,) if num_outputs is None else (p, num_outputs)
        self.features, self.observation, self.scale = features, observation, scale
        zero = jnp.zeros((), features.dtype)
        super().__init__(dist.Normal(zero, std).expand(shape), len(shape))


class RepriorisedReadout(Reparam):
    """Samples ``phi ~ N(0, I)`` and sets the readout ``W = mu + A phi`` (Hron et al. 2022, eq. 6).

    ``mu`` and ``A A^T`` are the mean and covariance of the readout's posterior under Gaussian
    noise. Adds the site ``<name>_repriorised``, of the readout's shape, and the factor
    ``<name>_correction``, which keeps the model's density exact up to the Jacobian for *any*
    likelihood: observation and scale may be a surrogate's. Where they are those of a Gaussian
    likelihood, the posterior of ``phi`` given everything else is exactly N(0, I). In the model::

        with numpyro.handlers.reparam(config={"W": RepriorisedReadout(psi, y, sigma)}):
            W = numpyro.sample("W", dist.Normal(0, 1).expand([p, d]).to_event(2))

    or around it, ``reparam(model, config={"W": RepriorisedReadout()})``, if the site's distribution
    is a ``Readout``. The site stays as it is where there is no observation (prediction) or the
    readout is itself observed. Forward draws of the model, such as ``Predictive`` without
    posterior samples, are not prior draws while an observation is there.

    Args:
        features: ``Psi [n, p]``, so that the output is ``Psi @ W``; None: the ``Readout``'s.
        observation: ``y [n]`` or ``[n, d]``; None: the ``Readout``'s.
        scale: standard deviation of the noise, a scalar or ``[n]``; None: the ``Readout``'s.

    Raises:
        TypeError: a prior that is not Normal, or nothing given and no ``Readout`` either.
        ValueError: a site that is not ``[p]`` or ``[p, d]`` or stands in a plate, features or
            observation that do not fit it, a scale that is not a scalar or ``[n]``.
    """

    def __init__(self, features: Any = None, observation: Any = None, scale: Any = None):
        self.features, self.observation, self.scale = features, observation, scale

    def __call__(self, name, fn, obs):
        given = self._given(name, fn)
        if obs is not None or given["observation"] is None:
            return fn, obs
        shape = fn.shape()
        surrogate = _checked(name, shape, **given)
        rows = Rows(shape, shape[1] if len(shape) == 2 else 1, False)
        prior = gaussian_prior(name, fn, rows, surrogate.features.dtype)
        phi = sample_phi(name, shape, surrogate.features.dtype)
        W, correction = readout_of(rows.to_matrix(phi), surrogate, prior)
        numpyro.factor(f"{name}_correction", correction)
        return None, rows.from_matrix(W)

    def _given(self, name: str, fn: dist.Distribution) -> dict[str, Any]:
        names = ("features", "observation", "scale")
        given = {key: getattr(self, key) for key in names}
        if isinstance(fn, Readout):
            return {k: getattr(fn, k) if v is None else v for k, v in given.items()}
        missing = [key for key in ("features", "scale") if given[key] is None]
        if missing:
            raise TypeError(
                f"RepriorisedReadout needs {' and '.join(missing)} for the site {name!r}: give "
                f"them to it, or let the site be a Readout; got {type(fn).__name__}"
            )
        return given


def sample_phi(name: str, shape: tuple[int, ...], dtype):
    """The auxiliary site ``<name>_repriorised`` with prior N(0, I)."""
    standard = dist.Normal(jnp.zeros(shape, dtype), jnp.ones((), dtype)).to_event()
    phi = numpyro.sample(f"{name}_repriorised", standard)
    if jnp.shape(phi) != shape:
        raise ValueError(
            f"the readout site {name!r} must not stand in a plate; draw it whole, as in "
            "dist.Normal(0, 1).expand([p, d]).to_event(2)"
        )
    return phi


def _checked(name: str, shape: tuple[int, ...], features, observation, scale) -> Surrogate:
    features = jnp.asarray(features)
    if len(shape) not in (1, 2):
        raise ValueError(f"the readout site {name!r} must be [p] or [p, d], got shape {shape}")
    if features.ndim != 2 or features.shape[1] != shape[0]:
        raise ValueError(
            f"features must have shape [n, p] with p = {shape[0]}, the rows of the readout "
            f"{name!r}, got {features.shape}"
        )
    n, d = features.shape[0], shape[1] if len(shape) == 2 else 1
    y = jnp.asarray(observation, features.dtype)
    if y.shape != (n, d) and (y.shape != (n,) or d > 1):
        expected = f"[{n}] or [{n}, 1]" if d == 1 else f"[{n}, {d}]"
        raise ValueError(
            f"observation must have shape {expected} to fit features {features.shape} and the "
            f"readout {name!r} of shape {shape}, got {y.shape}; for new inputs, use the model "
            "without the strategy or without an observation"
        )
    return Surrogate(features, y.reshape(n, d), scale)
