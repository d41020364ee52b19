"""The one call: from a model and data to draws and a verdict."""

import contextlib
import operator
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bnnsample import _data
from bnnsample._check_model import check_model
from bnnsample._record import KeptParameters, RunRecord
from bnnsample._settings import settings_of
from bnnsample._standardize import Standardizer
from bnnsample.chains._keep import plan_keep
from bnnsample.chains._mapping import quiet_blas
from bnnsample.chains._progress import resolve_progress
from bnnsample.chains._quantities import make_watch, prior_quantities
from bnnsample.chains._sampling import Sampler
from bnnsample.chains._start import start_chains
from bnnsample.chains._warmup import warm_up
from bnnsample.coordinates import COORDINATES, Collapsed, Posterior
from bnnsample.kernels._registry import resolve_kernel
from bnnsample.kernels._spec import KernelSpec
from bnnsample.likelihoods import Gaussian, Likelihood
from bnnsample.models import Model
from bnnsample.results import Result
from ntk import check_backend

NUM_PRIOR_DRAWS = 200


def run(
    model: Model,
    data: tuple[Any, Any],
    *,
    width: Any,
    likelihood: Likelihood | None = None,
    coordinates: str = "collapsed",
    kernel: str = "infinite_hmc",
    kernel_options: Mapping[str, Any] | None = None,
    num_chains: int = 4,
    num_warmup: int = 500,
    num_samples: int = 1000,
    thin: int = 1,
    seed: int = 0,
    x_eval: Any = None,
    init: Any = None,
    keep: str = "auto",
    standardize: bool = False,
    progress: Any = True,
) -> Result:
    """Sample the posterior of a Bayesian neural network.

    Args:
        model: a network from ``bnnsample.models``.
        data: ``(x [n, ...], y [n] or [n, d])`` as NumPy, JAX or pandas. The dtype follows x
            (float64 needs JAX's 64-bit mode); integers are converted to floating point.
        width: units of each hidden layer, an int or one per layer.
        likelihood: default ``Gaussian()``, noise of unknown standard deviation.
        coordinates: ``"collapsed"`` (the readout integrated out), ``"repriorised"`` or
            ``"standard"``: one posterior, three ways to move in it.
        kernel: ``"infinite_hmc"``, ``"unitwise"`` (one hidden layer), ``"infinite_mala"``,
            ``"pcn"``, ``"elliptical_slice"``, or BlackJAX's ``"hmc"``, ``"nuts"``, ``"ghmc"``,
            ``"mala"``, ``"mclmc"``, ``"adjusted_mclmc"``.
        kernel_options: values by name (``step_size``, ``num_integration_steps``,
            ``target_acceptance``, ...); a value given is not adapted.
        num_chains: independent chains.
        num_warmup: adaptation steps per chain, not recorded.
        num_samples: draws per chain.
        thin: kernel steps per draw.
        seed: an int; the same seed, data and settings give the same draws on one machine.
        x_eval: inputs ``[m, ...]`` at which the function is recorded; default x.
        init: where chains start: network parameters ``{"hidden", "readout"}`` or a position,
            with a leading axis of ``num_chains`` on every array, or a list of one per chain.
        keep: whole parameter draws kept for ``predict``: ``"auto"`` (evenly thinned within 256
            MiB), ``"all"`` or ``"none"``.
        standardize: standardise x and y for the sampler and undo it in every prediction. The
            noise scale then is in units of y's standard deviation.
        progress: True (a bar), False, or an object with ``start``, ``update`` and ``close``.

    Returns:
        A ``Result``: ``idata``, ``summary``, ``report``, ``predict`` and more.

    Raises:
        TypeError, ValueError: an argument that cannot be meant, before anything is compiled.
        FloatingPointError: no chain start with a finite potential was found.
        ntk.BackendError: the JAX backend computes wrong numbers.
    """
    counts = _checked_counts(
        num_chains=num_chains, num_warmup=num_warmup, num_samples=num_samples, thin=thin
    )
    seed = _checked_seed(seed)
    spec, parameters, target = resolve_kernel(kernel, kernel_options)
    if not isinstance(coordinates, str) or coordinates not in COORDINATES:
        raise ValueError(
            f"unknown coordinates {coordinates!r}; expected one of {', '.join(COORDINATES)}"
        )
    if not isinstance(standardize, (bool, np.bool_)):
        raise TypeError(f"standardize must be True or False, got {standardize!r}")
    progress = resolve_progress(progress)
    x_raw, y_raw = _data.as_pair(data)
    x = _data.as_inputs(x_raw)
    y, y_was_vector = _data.as_targets(y_raw, len(x))
    x_new = None if x_eval is None else _data.as_inputs(x_eval, "x_eval")
    if x_new is not None and x_new.shape[1:] != x.shape[1:]:
        raise ValueError(
            f"x_eval must have the trailing shape of x, {x.shape[1:]}, got {x_new.shape[1:]}"
        )
    dtype = _data.common_dtype(x)
    x, y = _data.cast(x, dtype, "x"), _data.cast(y, dtype, "y")
    x_new = x if x_new is None else _data.cast(x_new, dtype, "x_eval")
    standardizer = (Standardizer.fit if standardize else Standardizer.identity)(x, y)

    likelihood = Gaussian() if likelihood is None else likelihood
    if not isinstance(likelihood, Likelihood):
        raise TypeError(f"likelihood must be a Likelihood, got {type(likelihood).__name__}")
    likelihood.check(y)
    platform = jax.default_backend()
    with _precision(dtype), quiet_blas(platform):
        check_model(model, x, width)
        posterior = COORDINATES[coordinates](
            model,
            likelihood,
            width,
            jnp.asarray(standardizer.inputs(x)),
            jnp.asarray(standardizer.targets(y)),
        )
        _refuse_impossible(posterior, spec, parameters)
        plan = plan_keep(
            keep,
            jax.eval_shape(posterior.prior_parameters, jax.random.key(0)),
            counts["num_chains"],
            counts["num_samples"],
        )
        check_backend(platform)
        evaluated = None if x_eval is None else jnp.asarray(standardizer.inputs(x_new))
        keys = jax.random.split(_key(seed), 5)
        watch = make_watch(posterior, evaluated, keys[0])
        states, make_states = start_chains(
            posterior, spec, jax.random.split(keys[1], counts["num_chains"]), init, platform
        )
        warm = warm_up(
            posterior,
            spec,
            parameters,
            target,
            states,
            make_states,
            keys[2],
            counts["num_warmup"],
            platform,
            progress,
        )
        sampler = Sampler(spec, warm.parameters, plan, counts["thin"], platform)
        samples = sampler.run(
            warm.posterior,
            watch,
            warm.states,
            keys[3],
            counts["num_samples"],
            progress,
        )
        prior = _prior(posterior, watch, keys[4])
    kept = None
    if samples.kept is not None:
        at = samples.kept_draws
        unknowns = {name: samples.draws[name][:, at] for name in likelihood.unknowns}
        kept = KeptParameters(at, samples.kept, unknowns)
    return Result(
        RunRecord(
            posterior=posterior,
            standardizer=standardizer,
            x=x,
            y=y,
            x_eval=x_new,
            y_was_vector=y_was_vector,
            draws=samples.draws,
            sample_stats=samples.sample_stats,
            prior=prior,
            hidden_index=np.asarray(watch.hidden_index),
            kept=kept,
            moments=samples.moments,
            settings=settings_of(
                model,
                likelihood,
                width=width,
                coordinates=coordinates,
                kernel=kernel,
                kernel_options=kernel_options,
                seed=seed,
                keep=keep,
                standardize=standardize,
                target_acceptance=target,
                dtype=dtype,
                platform=platform,
                **counts,
            ),
            adapted={k: _plain(v) for k, v in warm.parameters.items() if v is not None},
            num_gradients=samples.num_gradients,
            sampling_seconds=samples.seconds,
            warmup_gradients=warm.num_gradients,
            warmup_seconds=warm.seconds,
            compile_seconds=(
                make_states.compile_seconds + warm.compile_seconds + samples.compile_seconds
            ),
            interrupted=samples.interrupted,
        )
    )


def _checked_counts(**counts: Any) -> dict[str, int]:
    checked = {}
    for name, value in counts.items():
        checked[name] = _index(name, value)
        least = 0 if name == "num_warmup" else 1
        if checked[name] < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
        if checked[name] >= 2**31:
            raise ValueError(f"{name} must be below 2**31, got {value}")
    return checked


def _index(name: str, value: Any) -> int:
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an int, got {value!r}") from None


def _checked_seed(seed: Any) -> int:
    seed = _index("seed", seed)
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed must lie between 0 and 2**63 - 1, got {seed}")
    return seed


def _key(seed: int) -> jax.Array:
    """All 63 bits count: ``jax.random.key`` drops the upper ones in 32-bit mode."""
    low, high = seed % 2**32, seed >> 32
    key = jax.random.key(np.uint32(low))
    return jax.random.fold_in(key, np.uint32(high)) if high else key


def _precision(dtype: np.dtype) -> contextlib.AbstractContextManager:
    """A float32 run under 64-bit JAX computes in 32-bit mode, as it would without."""
    if dtype == np.float32 and jax.config.read("jax_enable_x64"):
        return jax.enable_x64(False)
    return contextlib.nullcontext()


def _refuse_impossible(
    posterior: Posterior, spec: KernelSpec, parameters: Mapping[str, Any]
) -> None:
    if spec.needs_units and (type(posterior) is not Collapsed or posterior.model.units is None):
        raise ValueError(
            f"kernel {spec.name!r} moves the units of the last hidden layer: it needs "
            "coordinates='collapsed' and a model with units, such as bnnsample.models.mlp"
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


def _prior(posterior: Posterior, watch, key) -> dict[str, np.ndarray]:
    """Prior draws in turn: memory for one."""
    draw = jax.jit(
        lambda posterior, watch, keys: jax.lax.map(
            lambda k: prior_quantities(posterior, watch, k), keys
        )
    )
    draws = draw(posterior, watch, jax.random.split(key, NUM_PRIOR_DRAWS))
    return {name: np.asarray(value)[None] for name, value in draws.items()}


def _plain(value: Any) -> Any:
    array = np.asarray(value)
    return array.item() if array.ndim == 0 else array.tolist()
