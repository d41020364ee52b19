"""Whether a cold posterior exists where its noise scale is unknown."""

import jax
import jax.numpy as jnp

from bnnsample._scale import NOISE_SCALE
from bnnsample.coordinates import Posterior

FAR_LEFT = -8.0


def check_cold(posterior: Posterior) -> None:
    """Raise ``ValueError`` where a cold posterior grows without bound as the noise scale goes to 0.

    A network with as many features as there are points passes through all ``N`` targets, at a cost
    that stays finite. Integrated over the readout the likelihood to the power 1 / T then goes as
    ``scale^(N - N / T)``, which for T < 1 only a prior that vanishes fast at 0 makes integrable:
    ``log`` of their product must fall where the prior's coordinate ``u`` (N(0, 1) for a quantile
    map) is far to the left.
    """
    tempering, unknown = posterior.tempering, posterior.unknowns.get(NOISE_SCALE)
    if unknown is None or tempering.temperature >= 1:
        return
    position = jax.eval_shape(posterior.prior_draw, jax.random.key(0))
    num_points, num_features = jax.eval_shape(posterior.features, position, posterior.x).shape
    if num_features < num_points:
        return
    surplus = posterior.y.size * (1 / tempering.temperature - 1)

    def log_density(u):
        prior = (unknown.log_correction(u) - u * u / 2) / tempering.prior_root**2
        return prior - surplus * jnp.log(unknown.value(u))

    slope = jax.jit(jax.grad(log_density))(jnp.asarray(FAR_LEFT, posterior.y.dtype))
    # Written so that NaN fails.
    if not slope > 0:
        prior = type(unknown.prior).__name__
        raise ValueError(
            f"temperature={tempering.temperature:g} and a noise scale with a {prior} prior have no "
            f"posterior: a network of {num_features} features passes through all "
            f"{num_points} points, and the cold likelihood then grows without bound as the noise "
            "scale goes to 0. Give the noise scale as a number (likelihood=Gaussian(scale=0.1), "
            "say), a prior that vanishes fast at 0 (a narrow LogNormal), or a temperature of at "
            "least 1"
        )
