"""One network, written in each framework."""

import equinox as eqx
import jax
from flax import linen as nn
from flax import nnx

from bnnsample import models

SCALES = (1.3, 0.4)
READOUT = {"readout_weight_std": 0.8, "readout_bias_std": 0.25}


def gelu(z):
    return jax.nn.gelu(z, approximate=False)


class LinenMLP(nn.Module):
    width: int
    outputs: int

    @nn.compact
    def __call__(self, x):
        for _ in range(2):
            x = gelu(nn.Dense(self.width)(x))
        return nn.Dense(self.outputs)(x)


class NNXMLP(nnx.Module):
    """Attributes in the order of the layers, which is not that of their names."""

    def __init__(self, inputs, width, outputs):
        rngs = nnx.Rngs(0)
        self.one = nnx.Linear(inputs, width, rngs=rngs)
        self.and_another = nnx.Linear(width, width, rngs=rngs)
        self.last = nnx.Linear(width, outputs, rngs=rngs)

    def __call__(self, x):
        return self.last(gelu(self.and_another(gelu(self.one(x)))))


def equinox_mlp(inputs, width, outputs):
    return eqx.nn.MLP(inputs, outputs, width, 2, gelu, key=jax.random.key(0))


def four_models(inputs, outputs, scales=None):
    """Two hidden layers in our own layers, Linen, NNX and Equinox.

    ``scales``: of ``weight_std`` and ``bias_std``, in the place of numbers.
    """
    own = scales or dict(zip(("weight_std", "bias_std"), SCALES, strict=True))
    options = {"prior": models.fan_in(*SCALES), "scales": scales, **READOUT}
    return {
        "own": models.mlp(2, "gelu", **own, **READOUT),
        "linen": models.from_flax(lambda width: LinenMLP(width, outputs), **options),
        "nnx": models.from_flax(lambda width: NNXMLP(inputs, width, outputs), **options),
        "equinox": models.from_equinox(
            lambda width: equinox_mlp(inputs, width, outputs), **options
        ),
    }


def outputs_of(name, width, parameters, x):
    """The framework's own forward pass of what ``to_framework`` returns."""
    if name == "linen":
        outputs = parameters["params"]["Dense_2"]["kernel"].shape[1]
        return LinenMLP(width, outputs).apply(parameters, x)
    return jax.vmap(parameters)(x) if name == "equinox" else parameters(x)
