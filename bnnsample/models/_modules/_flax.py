"""Networks written in Flax."""

from collections.abc import Mapping
from typing import Any

from bnnsample.models._modules._binding import Binding
from bnnsample.models._modules._model import ModuleModel, build, module_model


def from_flax(
    module: Any,
    prior: Any = None,
    *,
    readout: str | None = None,
    readout_weight_std: Any = 1.0,
    readout_bias_std: Any = 0.1,
    scales: Mapping[str, Any] | None = None,
    apply_kwargs: Mapping[str, Any] | None = None,
    collections: Mapping[str, Any] | None = None,
) -> ModuleModel:
    """A model of a Flax module, Linen or NNX, whose last layer is linear.

    The module is split into its last layer, the readout, and all before it. Every other parameter
    has the prior that ``prior`` says; the chain moves in whitened ones, each N(0, 1), and
    ``Result.parameters`` returns the module's own, scales multiplied in: variables for
    ``module.apply`` (Linen), or the module (NNX). The readout is ``Model``'s: its weights have
    prior ``N(0, readout_weight_std^2 / p0)`` for p0 features, its bias
    ``N(0, readout_bias_std^2)``, whatever ``prior`` says. Its number of outputs must be that of
    the targets.

    Modules run in evaluation mode. NNX modules are put into it (``module.eval()``, on a copy).
    Linen modules are told by ``apply_kwargs``; without it, dropout and running statistics are
    refused. Variables that are not parameters (statistics, random streams) are held fixed.

    Args:
        module: a function of the width that builds a module, ``lambda width: MyNet(width)``, or
            a module, for which the width of ``run`` is None or the number of its features.
        prior: of the parameters outside the readout; every standard deviation is the parameter's
            own, as the module uses it.

            - None: every parameter is N(0, 1), for modules in NTK parameterisation, which have
              the scales in their forward pass.
            - a standard deviation, or a NumPyro distribution that is a smooth function of a
              Gaussian: Normal, Laplace, StudentT with at least one degree of freedom, Cauchy,
              LogNormal, HalfNormal, HalfCauchy, Exponential, or a TransformedDistribution of
              Normal. A parameter is that function of a standard normal, exactly: the prior's
              quantile of the normal's probability (a Gaussian copula).
            - a rule ``(path, shape) -> standard deviation or distribution``, such as ``fan_in()``.
              Paths are ``"encoder/Dense_0/kernel"``, shapes ``[*window, in, out]``.
            - a tree of the module's structure, without the readout, with standard deviations,
              arrays of them, or distributions. An entry for a layer holds for all its parameters.

            Standard deviation 0 holds a parameter at 0.
        readout: path of the last layer, ``"head/Dense_0"`` or ``"layers/2"``. By default it is
            found among the ``Dense`` (Linen) or ``Linear`` (NNX) layers. A layer of your own can
            be named too: it is ``a x @ kernel + b bias`` with numbers a and b, which is checked.
        readout_weight_std, readout_bias_std: standard deviations; a readout without bias needs 0.
        scales: of a rule that takes more arguments, ``(path, shape, **scales)``, their values by
            name. ``prior=fan_in(), scales={"weight_std": dist.HalfNormal(1.0)}`` samples one scale
            of all weights; a rule of your own may have one per layer. They, and the two standard
            deviations, are numbers, NumPyro priors of unknown ones, or ``"empirical-bayes"``, as in
            ``mlp``.
        apply_kwargs: arguments of every call of the module, beside the inputs.
        collections: of Linen, variables beside the parameters, held fixed:
            ``{"batch_stats": ...}``.

    Raises:
        ImportError: Flax is not installed (``pip install 'bnnsample[flax]'``).
        TypeError, ValueError: an argument that cannot be meant; and, from ``run`` before anything
            is compiled, a module that cannot be split, with the reason: something follows its
            last layer, the layer is used twice or is not linear, a path names nothing, a prior does
            not fit, parameters are not floating point, or the module changes its variables.
    """
    try:
        from flax import linen, nnx

        from bnnsample.models._modules._linen import LinenBinding
        from bnnsample.models._modules._nnx import NNXBinding
    except ImportError as error:
        raise ImportError(
            "from_flax needs the package flax: pip install 'bnnsample[flax]'"
        ) from error
    kinds = (linen.Module, nnx.Module)
    is_ready = isinstance(module, kinds)
    if not is_ready and not callable(module):
        raise TypeError(
            "module must be a Flax module or a function of the width that returns one, got "
            f"{type(module).__name__}"
        )
    kwargs = dict(apply_kwargs or {})

    def bind(width: Any, shape: tuple[int, ...], dtype: Any) -> Binding:
        built = build(module, width, kinds, "a Flax module")
        if isinstance(built, linen.Module):
            return LinenBinding(built, shape, dtype, kwargs, collections)
        if collections is not None:
            raise ValueError("collections are those of Linen modules; an NNX module holds its own")
        return NNXBinding(built, shape, dtype, kwargs)

    return module_model(
        bind, "flax", prior, readout, readout_weight_std, readout_bias_std, is_ready, scales
    )
