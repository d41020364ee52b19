"""The network's output, its observation and noise scale, as the model's site has them."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from bnnsample.contrib.numpyro._map import unwrap
from bnnsample.contrib.numpyro._passes import Message


def _likelihood(site: Message) -> Any:
    """The distribution of the output's site; None where it is deterministic."""
    return None if site["type"] == "deterministic" else unwrap(site["fn"])


def network_output(site: Message) -> Array:
    likelihood = _likelihood(site)
    if likelihood is None:
        return jnp.asarray(site["value"])
    if hasattr(likelihood, "loc"):
        return jnp.broadcast_to(likelihood.loc, site["fn"].shape())
    if hasattr(likelihood, "logits"):
        return likelihood.logits
    raise ValueError(
        f"the output {site['name']!r} must be a numpyro.deterministic or have a distribution with "
        f"loc or logits, got {type(likelihood).__name__}"
    )


def as_outputs(f: Array, output: str) -> tuple[Array, bool]:
    """``[n, d]``, and whether it was ``[n]``."""
    if f.ndim not in (1, 2):
        raise ValueError(f"the output {output!r} must have shape [n] or [n, d], got {f.shape}")
    return (f[:, None], True) if f.ndim == 1 else (f, False)


def observation_of(site: Message, given: Any, shape: tuple[int, ...], vector: bool) -> Array:
    y = given if given is not None else site["value"]
    if given is None and not hasattr(_likelihood(site), "loc"):
        raise ValueError(
            f"the output {site['name']!r} has no likelihood with a loc, whose value would do: "
            "give a surrogate's observation= and scale="
        )
    y = jnp.asarray(y)
    if y.shape != shape and (y.shape != shape[:1] or shape[1] > 1):
        expected = list(shape[:1] if vector else shape)
        raise ValueError(
            f"observation must have the output's shape {expected}, got {y.shape}; for new inputs, "
            "use the model itself"
        )
    return y.reshape(shape)


def scale_of(site: Message, given: Any, values: dict[str, Any], num_outputs: int) -> Array:
    """A scalar or ``[n]``; a likelihood's own scale is averaged over outputs, in square."""
    if isinstance(given, str):
        if given not in values:
            raise ValueError(
                f"scale names no site sampled before the output: {given!r}; there are "
                f"{', '.join(values)}"
            )
        given = values[given]
    if given is not None:
        return given
    likelihood = _likelihood(site)
    if not hasattr(likelihood, "scale"):
        raise ValueError(f"the output {site['name']!r} has no scale: give a surrogate's scale=")
    scale = jnp.asarray(likelihood.scale)
    if scale.ndim == 2 or (scale.ndim == 1 and num_outputs > 1):
        scale = jnp.sqrt(jnp.mean(scale**2, axis=-1))
    return scale[0] if scale.shape == (1,) else scale
