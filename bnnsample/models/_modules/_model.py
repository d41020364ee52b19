"""The model of a module of a framework."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from bnnsample._arguments import shown
from bnnsample.models._checks import checked_width
from bnnsample.models._model import Model, Pytree, Width
from bnnsample.models._modules._binding import Binding
from bnnsample.models._modules._hidden import Hidden
from bnnsample.models._modules._priors import is_rule
from bnnsample.models._modules._split import Split
from bnnsample.models._prior_scales import prior_scales, scales_by_name, with_prior_scales


@dataclass(frozen=True)
class ModuleModel(Model):
    """A network of Flax or Equinox; ``hidden`` is a ``Hidden`` of whitened parameters."""

    split: Callable[[Any, tuple[int, ...], Any], Split] | None = field(
        default=None, compare=False, kw_only=True
    )

    def init(self, key: Array, x: Array, width: Width, num_outputs: int = 1) -> dict[str, Pytree]:
        """As ``Model.init``; the module's readout must have ``num_outputs`` outputs."""
        parameters = super().init(key, x, width, num_outputs)
        readout = self._split_of(parameters["hidden"], parameters["readout"].dtype).readout
        if readout.num_outputs != num_outputs:
            raise ValueError(
                f"the module's readout {readout.path!r} has {readout.num_outputs} outputs, but "
                f"the targets have {num_outputs}"
            )
        return parameters

    def to_framework(self, parameters: Mapping[str, Pytree]) -> Any:
        """Parameters with their prior's scales multiplied in, in the framework's own structure.

        For Linen the variables of ``module.apply``, for NNX and Equinox the module in evaluation
        mode: its outputs are those of ``apply``.
        """
        hidden, W = parameters["hidden"], jnp.asarray(parameters["readout"])
        split = self._split_of(hidden, W.dtype)
        num_features = split.readout.num_features
        kernel = self.scaled(W[:num_features].T).T
        bias = jnp.zeros(W.shape[1], W.dtype)
        if self.has_bias:
            bias = W[-1] * jnp.asarray(self.readout_bias_std, W.dtype)
        return split.assemble(hidden.layers, kernel, bias)

    def from_framework(self, structure: Any, x: Array, width: Width | None = None) -> Any:
        """``{"hidden", "readout"}`` of such a structure, for ``init=`` of ``run``.

        Raises:
            ValueError: parameters of other shapes or outside their prior's support.
        """
        split, width = self._built(width, x)
        layers, kernel, bias = split.take(structure)
        W = kernel * (split.readout.num_features**0.5 / self.readout_weight_std)
        if self.has_bias:
            W = jnp.concatenate([W, bias[None] / self.readout_bias_std])
        elif jnp.any(bias != 0):
            raise ValueError("the readout's bias must be 0, as readout_bias_std has it")
        return {"hidden": Hidden(layers, width, split.binding.shape), "readout": W}

    def _split_of(self, hidden: Hidden, dtype: Any) -> Split:
        assert self.split is not None
        return self.split(hidden.width, hidden.shape, jnp.dtype(dtype))

    def _built(self, width: Any, x: Any) -> tuple[Split, Any]:
        assert self.split is not None
        width = None if width is None else checked_width(width)
        dtype = jax.dtypes.canonicalize_dtype(x.dtype)
        return self.split(width, tuple(x.shape[1:]), dtype), width


class _Made:
    """A function whose last results are kept; a copy by pickle begins without."""

    def __init__(self, make: Callable[..., Split]):
        self.make, self.kept = make, lru_cache(maxsize=16)(make)

    def __call__(self, *given: Any) -> Split:
        return self.kept(*given)

    def __reduce__(self) -> Any:
        return _Made, (self.make,)


def module_model(
    bind: Callable[[Any, tuple[int, ...], Any], Binding],
    name: str,
    prior: Any,
    readout: str | None,
    readout_weight_std: Any,
    readout_bias_std: Any,
    is_ready: bool,
    scales: Any = None,
) -> ModuleModel:
    """The model of modules that ``bind(width, shape, dtype)`` builds for examples of ``shape``."""
    own = scales_by_name(scales)
    if own and not is_rule(prior):
        raise TypeError(
            "scales are arguments of a prior that is a rule, (path, shape, **scales) -> standard "
            f"deviation or distribution, such as fan_in(); got prior={shown(prior)}"
        )
    stds = {"readout_weight_std": readout_weight_std, "readout_bias_std": readout_bias_std}
    given = prior_scales(**stds, **own)
    # Numbers that mean nothing stand for the unknown ones: what is drawn does not depend on them.
    initial = {name: given.values()[name] for name in own}
    if readout is not None and not isinstance(readout, str):
        raise TypeError(f"readout must be a path such as 'head/Dense_0', got {readout!r}")

    def make(width: Any, shape: tuple[int, ...], dtype: Any) -> Split:
        # A module is built with numbers, even where the caller is being traced.
        with jax.ensure_compile_time_eval():
            binding = bind(width, shape, dtype)
        result = Split(binding, prior, readout, initial)
        found = result.readout
        if is_ready and width not in (None, found.num_features):
            raise ValueError(
                f"width must be that of the ready module's readout, {found.num_features}, or "
                f"None, got {width!r}; a function of the width builds modules of any"
            )
        if found.bias is None and given.given["readout_bias_std"] != 0:
            raise ValueError(
                f"the readout {found.path!r} has no bias: readout_bias_std must be 0, got "
                f"{readout_bias_std}"
            )
        return result

    split = _Made(make)

    def build(values: dict[str, Any]) -> Model:
        rescaled = {name: values[name] for name in own}

        def init_hidden(key: Array, x: Array, width: Any) -> Hidden:
            built, width = model._built(width, x)
            return Hidden(built.draw(key), width, built.binding.shape)

        def hidden_features(hidden: Hidden, x: Array) -> Array:
            return model._split_of(hidden, x.dtype).features(hidden.layers, x)

        model = ModuleModel(
            init_hidden,
            hidden_features,
            **{std: values[std] for std in stds},
            name=name,
            split=(lambda *built: split(*built).at(rescaled)) if own else split,
        )
        return model

    return with_prior_scales(build, given)  # type: ignore[return-value]


def build(module: Any, width: Any, kinds: tuple[type, ...], expected: str) -> Any:
    """A ready module as it is; a factory's for ``width``."""
    if isinstance(module, kinds):
        return module
    if width is None:
        raise TypeError("width must be an int or one int per layer, as the function of it asks")
    built = module(width)
    if not isinstance(built, kinds):
        raise TypeError(f"the function of the width must return {expected}, got {built!r}")
    return built
