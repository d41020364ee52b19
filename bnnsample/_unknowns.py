"""Unknown scalars sampled with the network: a prior and a coordinate u ~ N(0, 1)."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array
from jax.lax import erf_inv
from jax.scipy.special import log_ndtr, ndtr

from bnnsample._lenient import lenient


@dataclass(frozen=True, eq=False)
class Unknown:
    """A scalar with a NumPyro prior, moved by the chain as ``u`` with reference N(0, 1).

    Where the prior's quantile function ``F^{-1}`` has a closed form here, the value is
    ``F^{-1}(Phi(u))``, which has the prior exactly when ``u ~ N(0, 1)``: no Jacobian is needed.
    Otherwise the value is NumPyro's unconstraining transform of ``u``, and ``log_correction``
    adds the prior's log density and the Jacobian and takes the reference's ``-u^2 / 2`` back.
    """

    prior: dist.Distribution

    @property
    def has_quantile_map(self) -> bool:
        return quantile_map(self.prior) is not None

    def value(self, u: Array) -> Array:
        """The quantity for a chain coordinate ``u``."""
        quantile = quantile_map(self.prior)
        if quantile is not None:
            return quantile(u).astype(u.dtype)
        return jnp.asarray(self._transform(u), u.dtype)

    def prior_draw(self, key: Array, u: Array) -> Array:
        """A draw from the prior: the value of ``u ~ N(0, 1)`` where the quantile map holds."""
        if self.has_quantile_map:
            return self.value(u)
        return jnp.asarray(lenient(self.prior.sample)(key), u.dtype)

    def coordinate(self, value: Array) -> Array:
        """``u`` for a value, by bisection: the map is monotone, and this is called once per run."""
        value = jnp.asarray(value)
        if not self.has_quantile_map:
            return jnp.asarray(self._transform.inv(value), value.dtype)
        low, high = jnp.full_like(value, -1000.0), jnp.full_like(value, 1000.0)
        for _ in range(80):
            middle = (low + high) / 2
            too_low = self.value(middle) < value
            low, high = jnp.where(too_low, middle, low), jnp.where(too_low, high, middle)
        return (low + high) / 2

    def log_correction(self, u: Array) -> Array:
        """Log density of ``u`` under the prior, relative to N(0, 1), up to a constant."""
        if self.has_quantile_map:
            return jnp.zeros_like(u)
        return lenient(self._log_density_ratio)(u).astype(u.dtype)

    def _log_density_ratio(self, u: Array) -> Array:
        value = self._transform(u)
        jacobian = self._transform.log_abs_det_jacobian(u, value)
        return jnp.asarray(self.prior.log_prob(value) + jacobian + u * u / 2)

    @property
    def _transform(self):
        return dist.biject_to(self.prior.support)


def values_of(unknowns: Mapping[str, Unknown], u: Mapping[str, Array]) -> dict[str, Array]:
    """Values of the unknowns that have a coordinate in ``u``."""
    return {name: unknowns[name].value(coordinate) for name, coordinate in u.items()}


def log_correction_of(unknowns: Mapping[str, Unknown], u: Mapping[str, Array]) -> Any:
    """The sum of the unknowns' log corrections; 0 when there is none."""
    return sum(unknown.log_correction(u[name]) for name, unknown in unknowns.items())


def quantile_map(prior: dist.Distribution) -> Callable[[Array], Array] | None:
    """``u -> F^{-1}(Phi(u))`` where a formula is known that is accurate in both tails.

    NumPyro's own ``icdf`` takes ``Phi(u)``, which is 1 in float32 from u = 5.4 on: a chain
    further out would see no slope. Such a prior goes through its transform, exact everywhere.
    """
    build = _CLOSED_FORMS.get(type(prior))
    return None if build is None else build(prior)


def _halves(u: Array) -> tuple[Array, Array]:
    """``u`` where it is negative, and where it is not; 0 elsewhere, where its gradient is 0 too."""
    return jnp.where(u < 0, u, 0), jnp.where(u < 0, 0, u)


def _half_normal(prior: dist.HalfNormal) -> Callable[[Array], Array]:
    """``scale * Phi^{-1}((1 + Phi(u)) / 2)``, from Phi(u) where u < 0, from log Phi(-u) else."""

    def quantile(u: Array) -> Array:
        left, right = _halves(u)
        near_zero = jnp.asarray(2.0**0.5, u.dtype) * erf_inv(ndtr(left))
        tail = _normal_quantile_of_log(log_ndtr(-right) - math.log(2), right)
        return jnp.asarray(prior.scale, u.dtype) * jnp.where(u < 0, near_zero, tail)

    return quantile


def _normal_quantile_of_log(log_probability: Array, u: Array) -> Array:
    """``x >= 0`` with ``log Phi(-x) = log_probability``, where ``sqrt(u^2 + 2 log 2)`` is near x.

    Newton steps on the logarithm, which neither underflows nor cancels however far out x lies;
    convex and monotone, so they converge from either side.
    """
    x = jnp.sqrt(u * u + jnp.asarray(2 * math.log(2), u.dtype))
    for _ in range(4):
        log_tail = log_ndtr(-x)
        hazard = jnp.exp(-x * x / 2 - 0.5 * math.log(2 * math.pi) - log_tail)
        x = x + (log_tail - log_probability) / hazard
    return x


def _half_cauchy(prior: dist.HalfCauchy) -> Callable[[Array], Array]:
    """``scale * tan(pi/2 Phi(u))``, as the reciprocal of ``tan(pi/2 Phi(-u))`` above the median."""

    def quantile(u: Array) -> Array:
        left, right = _halves(u)
        half_pi = jnp.asarray(jnp.pi / 2, u.dtype)
        below = jnp.tan(half_pi * ndtr(left))
        above = 1 / jnp.tan(half_pi * ndtr(-right))
        return jnp.asarray(prior.scale, u.dtype) * jnp.where(u < 0, below, above)

    return quantile


def _log_normal(prior: dist.LogNormal) -> Callable[[Array], Array]:
    return lambda u: jnp.exp(
        jnp.asarray(prior.loc, u.dtype) + jnp.asarray(prior.scale, u.dtype) * u
    )


def _exponential(prior: dist.Exponential) -> Callable[[Array], Array]:
    """``-log(1 - Phi(u)) / rate``, from Phi(u) where it is small."""

    def quantile(u: Array) -> Array:
        left, right = _halves(u)
        value = jnp.where(u < 0, -jnp.log1p(-ndtr(left)), -log_ndtr(-right))
        return value / jnp.asarray(prior.rate, u.dtype)

    return quantile


_CLOSED_FORMS: dict[type, Callable[[Any], Callable[[Array], Array]]] = {
    dist.HalfCauchy: _half_cauchy,
    dist.HalfNormal: _half_normal,
    dist.LogNormal: _log_normal,
    dist.Exponential: _exponential,
}
