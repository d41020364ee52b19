"""The Gaussian surrogate of a likelihood under a Gaussian process prior of its outputs."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from bnnsample.surrogates._prior import Prior
from bnnsample.surrogates._surrogate import Surrogate

MAX_ITERATIONS = 60
DAMPING = 0.4
TOLERANCE = 1e-2
# Numbers drawn per iteration, and draws per output at least and at most.
NUM_DRAWN, FEWEST, MOST = 2**20, 16, 256
# Precision times prior variance of one point: below, it says nothing; above, float32 breaks.
LEAST_INFORMATION, MOST_INFORMATION = 1e-3, 1e5


def num_drawn(num_points: int, num_outputs: int) -> int:
    """Draws of each output in an iteration."""
    return max(FEWEST, min(MOST, NUM_DRAWN // (num_points * num_outputs)))


def fit(log_prob: Callable[[Array], Array], prior: Prior, num_outputs: int) -> Surrogate:
    """Variational Gaussian approximation with one precision per point.

    Under the prior ``f[:, k] ~ N(0, K)`` the best Gaussian ``q(f)`` has the posterior of a
    Gaussian likelihood with precisions ``-E_q[d^2 log p / d f^2]`` (Opper and Archambeau 2009,
    eq. 10), here averaged over the outputs of a point, and with natural means that follow from
    ``E_q[d log p / d f]``. The curvature comes from the gradient alone, by Stein's identity

        E_q[d^2 log p / d f^2] = E_q[(f - m) d log p / d f] / v,

    which holds where a second derivative does not exist. Damped natural-gradient steps (Khan
    and Lin 2017) with the same draws each time, until nothing changes by more than 1%.

    Any positive precisions and any targets leave the sampler exact; better ones make it faster.
    Draws whose gradient is not finite are left out, and a point's information is kept between
    bounds, outliers of a heavy-tailed likelihood at the lower one.

    Args:
        log_prob: ``f [n, d] -> [n]``, log densities of the observations.
        prior: of the outputs over the data, the same for each.
        num_outputs: ``d``.
    """
    prior_variance = prior.variance
    n, dtype, limits = len(prior_variance), prior_variance.dtype, jnp.finfo(prior_variance.dtype)
    least_variance = jnp.maximum(limits.eps * prior_variance, limits.tiny)
    half = num_drawn(n, num_outputs) // 2
    noise = jax.random.normal(jax.random.key(0), (half, n, num_outputs), dtype)
    noise = jnp.concatenate([noise, -noise])
    prior_variance = jnp.maximum(prior_variance, limits.tiny)
    bounds = LEAST_INFORMATION / prior_variance, MOST_INFORMATION / prior_variance

    def gradient(f):
        value = jax.grad(lambda g: jnp.sum(log_prob(g)))(f)
        return jnp.where(jnp.isfinite(value), value, 0)

    def step(carry):
        precision, natural, _, iteration = carry
        mean, variance = prior.posterior(precision, natural)
        spread = jnp.sqrt(jnp.maximum(variance, least_variance))[:, None]
        gradients = jax.vmap(gradient)(mean[None] + spread[None] * noise)
        curvature = -jnp.mean(jnp.mean(noise * gradients, axis=0) / spread, axis=1)
        curvature = jnp.clip(curvature, *bounds)
        new = jnp.mean(gradients, axis=0) + curvature[:, None] * mean
        change = jnp.max(jnp.abs(curvature - precision) / precision)
        mix = lambda old, new: old + DAMPING * (new - old)  # noqa: E731
        return mix(precision, curvature), mix(natural, new), change, iteration + 1

    def unfinished(carry):
        return (carry[2] > TOLERANCE) & (carry[3] < MAX_ITERATIONS)

    start = (
        1 / prior_variance,
        jnp.zeros((n, num_outputs), dtype),
        jnp.asarray(jnp.inf, dtype),
        jnp.asarray(0, jnp.int32),
    )
    precision, natural, _, _ = jax.lax.while_loop(unfinished, step, start)
    return Surrogate(jnp.sqrt(precision), natural / precision[:, None])
