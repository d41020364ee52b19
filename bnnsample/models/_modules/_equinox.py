"""Networks written in Equinox."""

from collections.abc import Mapping
from typing import Any

from bnnsample.models._modules._binding import Binding
from bnnsample.models._modules._model import ModuleModel, build, module_model


def from_equinox(
    module: Any,
    prior: Any = None,
    *,
    readout: str | None = None,
    readout_weight_std: Any = 1.0,
    readout_bias_std: Any = 0.1,
    scales: Mapping[str, Any] | None = None,
    batched: bool = False,
    apply_kwargs: Mapping[str, Any] | None = None,
) -> ModuleModel:
    """A model of an Equinox module whose last layer is linear.

    As ``from_flax``, where every argument is explained, with these differences:

    - Parameters are the module's floating point arrays; other arrays are held fixed.
    - The module takes one example and is mapped over a batch, unless ``batched=True``.
    - It runs in inference mode (``eqx.nn.inference_mode``), in which dropout does nothing. A
      module with state (``eqx.nn.State``, as BatchNorm has) is refused.
    - Weights of ``eqx.nn.Linear`` and convolutions are ``[out, in, *window]``; a rule, and the
      whitened parameters, see them as ``[*window, in, out]``.
    - ``Result.parameters`` returns the module, in inference mode.

    Raises:
        ImportError: Equinox is not installed (``pip install 'bnnsample[equinox]'``).
        TypeError, ValueError: as ``from_flax``.
    """
    try:
        import equinox as eqx

        from bnnsample.models._modules._equinox_binding import EquinoxBinding
    except ImportError as error:
        raise ImportError(
            "from_equinox needs the package equinox: pip install 'bnnsample[equinox]'"
        ) from error
    is_ready = isinstance(module, eqx.Module)
    if not is_ready and not callable(module):
        raise TypeError(
            "module must be an Equinox module or a function of the width that returns one, got "
            f"{type(module).__name__}"
        )
    if not isinstance(batched, bool):
        raise TypeError(f"batched must be True or False, got {batched!r}")
    kwargs = dict(apply_kwargs or {})

    def bind(width: Any, shape: tuple[int, ...], dtype: Any) -> Binding:
        built = build(module, width, (eqx.Module,), "an Equinox module")
        return EquinoxBinding(built, shape, dtype, kwargs, batched)

    return module_model(
        bind, "equinox", prior, readout, readout_weight_std, readout_bias_std, is_ready, scales
    )
