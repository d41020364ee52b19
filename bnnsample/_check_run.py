"""Whether arguments that are good on their own go together, before anything is compiled."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax import Array

from bnnsample._check_cold import check_cold
from bnnsample._memory_plan import MemoryPlan, check_memory, plan_memory
from bnnsample.chains._devices import DATA, Devices
from bnnsample.chains._given import checked_starts
from bnnsample.chains._importance import check_choice
from bnnsample.chains._keep import KeepPlan, plan_keep
from bnnsample.coordinates import Collapsed, Posterior, SurrogateRepriorised
from bnnsample.kernels._spec import KernelSpec
from bnnsample.likelihoods import Likelihood
from bnnsample.models import Model


def check_run(
    posterior: Posterior,
    spec: KernelSpec,
    parameters: Mapping[str, Any],
    counts: dict[str, int],
    init: Any,
    keep: str,
    x_eval: Array | None,
    devices: Devices,
    streams: bool,
) -> tuple[KeepPlan, MemoryPlan]:
    """Which draws a run keeps, and the memory that it takes.

    Raises:
        TypeError, ValueError: what no run of this kernel can be, starts of chains that do not fit,
            or more memory than there is.
    """
    _refuse_impossible(posterior, spec, parameters)
    _check_rows(posterior, devices)
    check_cold(posterior)
    if not spec.is_chain:
        check_choice(posterior, parameters["num_proposals"], counts, init)
    elif init is not None:
        checked_starts(posterior, init, counts["num_chains"])
    template = jax.eval_shape(posterior.prior_parameters, jax.random.key(0))
    plan = plan_keep(keep, template, counts["num_chains"], counts["num_samples"])
    memory = plan_memory(posterior, plan, counts, x_eval, devices, streams)
    check_memory(memory, posterior, keep, counts, devices, streams)
    return plan, memory


def outlined(
    make: Callable[..., Posterior],
    model: Model,
    likelihood: Likelihood,
    width: Any,
    x: Array,
    y: Array,
) -> Posterior:
    """The posterior with numbers that mean nothing for the scales that are yet to be fitted.

    Raises:
        ValueError: a likelihood whose marginal likelihood, for a fit, is not known.
    """
    wanted = (*model.to_fit, *likelihood.to_fit)
    if wanted and not likelihood.is_gaussian:
        raise ValueError(
            f"{wanted[0]}='empirical-bayes' maximises a marginal likelihood that is known for "
            f"Gaussian noise alone, got {type(likelihood).__name__}; give a NumPyro distribution "
            "as a prior"
        )
    some = dict.fromkeys(wanted, 1.0)
    return make(model.at(some), likelihood.at(some), width, x, y)


def _check_rows(posterior: Posterior, devices: Devices) -> None:
    rows, over = len(posterior.y), devices.mesh.shape[DATA]
    if rows % over and not posterior.likelihood.splits_unevenly:
        raise ValueError(
            f"devices: the {rows} rows of the data do not divide evenly among {over} devices, as "
            "they must under a likelihood of your own; use another number, or leave rows out"
        )


def _refuse_impossible(
    posterior: Posterior, spec: KernelSpec, parameters: Mapping[str, Any]
) -> None:
    if spec.needs_units and (type(posterior) is not Collapsed or posterior.model.units is None):
        raise ValueError(
            f"kernel {spec.name!r} moves the units of the last hidden layer: it needs "
            "coordinates='collapsed' and a model with units, such as bnnsample.models.mlp"
        )
    if spec.needs_units and posterior.network_dtype is not None:
        raise ValueError(
            f"kernel {spec.name!r} sums over units in the precision of the data: use "
            "precision='float64' or another kernel"
        )
    if spec.needs_surrogate and not isinstance(posterior, SurrogateRepriorised):
        raise ValueError(
            f"kernel {spec.name!r} moves readout and hidden layers in turn: it needs "
            "coordinates='repriorised' and a likelihood that is not Gaussian; for a Gaussian one "
            "the readout is drawn exactly in coordinates='collapsed'"
        )
    position = jax.eval_shape(posterior.prior_draw, jax.random.key(0))
    if spec.needs_dimensions and not jax.tree.leaves(position):
        raise ValueError(
            f"kernel {spec.name!r} has nothing to move: the model has no hidden parameters, and "
            "the collapsed posterior with a known noise scale is drawn exactly; use the "
            "default kernel='infinite_hmc'"
        )
    metric = parameters.get("inverse_mass_matrix")
    size = sum(leaf.size for leaf in jax.tree.leaves(position))
    if metric is not None and len(metric) != size:
        raise ValueError(
            f"kernel_options['inverse_mass_matrix'] needs one variance per coordinate of the "
            f"chain, {size}, got {len(metric)}"
        )
