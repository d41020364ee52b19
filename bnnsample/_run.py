"""The one call: from a model and data to draws and a verdict."""

import contextlib
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import Array

from bnnsample._arguments import checked_choice, checked_counts, checked_seed, key_of
from bnnsample._check_model import check_model, check_names
from bnnsample._check_run import check_run, outlined
from bnnsample._draw import Drawing, result_of
from bnnsample._empirical_bayes import empirical_bayes
from bnnsample._memory_plan import NUM_PRIOR_DRAWS
from bnnsample._precision import checked_precision
from bnnsample._precision import precision as in_precision
from bnnsample._problem import Problem, make_problem
from bnnsample._processes import from_first, is_first
from bnnsample._record import RunRecord
from bnnsample._settings import settings_of
from bnnsample.chains._devices import Devices, resolve_devices
from bnnsample.chains._importance import choose_draws
from bnnsample.chains._keep import KEEPS
from bnnsample.chains._mapping import quiet_blas
from bnnsample.chains._program import Program
from bnnsample.chains._progress import Progress, resolve_progress, state_memory
from bnnsample.chains._quantities import Watch, make_watch, prior_quantities
from bnnsample.chains._resume import restore, save
from bnnsample.chains._sampling import Sampler, SamplerState, fresh
from bnnsample.chains._start import fitted_to_prior, start_chains, state_shapes
from bnnsample.chains._warmup import WarmupResult, warm_up
from bnnsample.checkpoints import (
    Checkpoints,
    NoCheckpoints,
    RunDirectory,
    checked_directory,
    identity_of,
)
from bnnsample.coordinates import (
    Posterior,
    SurrogateRepriorised,
    checked_tempering,
    chosen,
)
from bnnsample.kernels._registry import resolve_kernel
from bnnsample.kernels._spec import KernelSpec, Parameters
from bnnsample.likelihoods import Likelihood
from bnnsample.models import Model
from bnnsample.results import Result
from bnnsample.results._idata import now
from bnnsample.results._load import loaded
from bnnsample.results._memory import Memory
from bnnsample.results._stream import is_finished, stream_of
from bnnsample.results._warn import warned
from ntk import check_backend


def run(
    model: Model,
    data: tuple[Any, Any],
    *,
    width: Any,
    likelihood: Likelihood | None = None,
    coordinates: str = "auto",
    kernel: str = "auto",
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
    temperature: float = 1.0,
    tempering: str = "posterior",
    precision: str | None = None,
    progress: Any = True,
    devices: Any = None,
    checkpoint_dir: Any = None,
    checkpoint_every: float = 60.0,
) -> Result:
    """Sample the posterior of a Bayesian neural network.

    Args:
        model: a network from ``bnnsample.models``.
        data: ``(x [n, ...], y [n] or [n, d])`` as NumPy, JAX or pandas. The dtype follows x
            (float64 needs JAX's 64-bit mode); integers are converted to floating point.
        width: units of each hidden layer, an int or one per layer; None where the model is of one
            width already, such as a ready module of Flax or Equinox.
        likelihood: default ``Gaussian()``, noise of unknown standard deviation.
        coordinates: ``"collapsed"`` (the readout integrated out), ``"repriorised"`` or
            ``"standard"``: one posterior, three ways to move in it. ``"auto"``: collapsed for a
            Gaussian likelihood, repriorised through a Gaussian surrogate for any other.
        kernel: ``"infinite_hmc"``, ``"alternating"`` (readout and hidden layers in turn, where
            a surrogate is), ``"unitwise"`` (one hidden layer), ``"infinite_mala"``,
            ``"pcn"``, ``"elliptical_slice"``, ``"importance"`` (independent draws chosen from
            weighted prior draws, where the network is wide enough), or BlackJAX's ``"hmc"``,
            ``"nuts"``, ``"ghmc"``, ``"mala"``, ``"mclmc"``, ``"adjusted_mclmc"``. ``"auto"``:
            ``"alternating"`` where a surrogate is, ``"infinite_hmc"`` elsewhere.
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
            noise scale then is in units of y's standard deviation. Labels and counts stay.
        temperature: T of a cold (below 1) or warm posterior: what ``tempering`` names is raised to
            the power 1 / T. Recorded log-likelihoods and new observations are not tempered. A
            cold one needs a noise scale that is known, or a prior of it that vanishes fast at 0.
        tempering: ``"posterior"``: the whole, prior included, over parameters and unknowns as
            standard normals (Wenzel et al. 2020), but for unknowns whose prior has no quantile
            function in closed form (Gamma, say): over NumPyro's unconstrained coordinate; or
            ``"likelihood"`` alone.
        precision: ``"float64"`` or ``"float32"`` for everything; ``"mixed"``: the network in
            float32, by the fastest products the device has (TF32 on NVIDIA, bfloat16 on TPU), and
            the rest, the n x n algebra above all, in float64. None: the dtype of x.
        progress: True (a bar), False, or an object with ``start``, ``update`` and ``close``. A bar
            is preceded by a line on the memory that the run takes, which
            ``result.settings["memory"]`` has in bytes.
        devices: where chains run: a list of JAX's devices, over which they are spread evenly, or a
            ``jax.sharding.Mesh`` with the axes ``"chains"`` and ``"data"``, whose second splits
            the rows of the data of each chain. None: as many of all devices as divide
            ``num_chains``. The draws are those of one device, up to rounding. In several
            processes (``jax.distributed.initialize``) every one makes the same call; the first
            writes and shows progress, and each has the result.
        checkpoint_dir: a folder of this run's own. Draws are streamed to it (``draws.zarr``, which
            ``bnnsample.load`` and xarray read at any time), and the sampler's state is saved
            (Orbax). The same call again goes on where it stopped and ends with the same draws, bit
            for bit, as one that was not stopped; that of a finished run loads it.
        checkpoint_every: seconds between checkpoints; 0 makes one whenever the host has its turn,
            about every half second.

    Returns:
        A ``Result``: ``idata``, ``summary``, ``report``, ``predict`` and more.

    Warns:
        SamplingWarning: a serious problem of the draws, by its kind (``NonFiniteWarning``,
            ``StuckChainWarning``, ...); ``report()`` says the same.

    Raises:
        TypeError, ValueError: an argument that cannot be meant, or a run beyond the machine's
            memory, before anything is compiled.
        FloatingPointError: no chain start with a finite potential was found.
        ImportanceSamplingError: ``kernel="importance"`` and k-hat above 0.7.
        CheckpointMismatchError: ``checkpoint_dir`` holds another run; says what differs.
        BlockingIOError: another process runs in ``checkpoint_dir``.
        NotADirectoryError: ``checkpoint_dir`` is a file.
        ntk.BackendError: the JAX backend computes wrong numbers.
    """
    arguments = dict(locals())
    counts = checked_counts(
        num_chains=num_chains, num_warmup=num_warmup, num_samples=num_samples, thin=thin
    )
    seed = checked_seed(seed)
    devices = resolve_devices(devices, counts["num_chains"])
    progress = resolve_progress(progress if is_first() else False)
    keep = checked_choice("keep", keep, KEEPS)
    checkpoint_dir, checkpoint_every = checked_directory(checkpoint_dir, checkpoint_every)
    dtype, network_dtype = checked_precision(precision)
    problem = make_problem(data, x_eval, standardize, likelihood, dtype)
    likelihood = problem.likelihood
    coordinates, posterior_type = chosen(coordinates, likelihood)
    tempered = checked_tempering(temperature, tempering)
    kernel = _chosen_kernel(kernel, posterior_type)
    spec, parameters, target = resolve_kernel(kernel, kernel_options)
    make = functools.partial(
        posterior_type, tempering=tempered.cast(problem.dtype), network_dtype=network_dtype
    )
    platform = devices.platform
    with (
        in_precision(problem.dtype),
        quiet_blas(platform),
        devices.as_default(),
        contextlib.ExitStack() as stack,
    ):
        check_model(model, problem.x, width)
        check_names(model, likelihood)
        x, y, evaluated = problem.arrays()
        outline = outlined(make, model, likelihood, width, x, y)
        plan, memory = check_run(
            outline, spec, parameters, counts, init, keep, evaluated, devices,
            streams=checkpoint_dir is not None,
        )  # fmt: skip
        keys = jax.random.split(key_of(seed), 5)
        model, likelihood, fitted = empirical_bayes(
            model, likelihood, width, x, y, jax.random.fold_in(keys[4], 2**31 - 1)
        )
        posterior = make(model, likelihood, width, x, y)
        settings = settings_of(
            model,
            likelihood,
            width=width,
            coordinates=coordinates,
            kernel=kernel,
            kernel_options=kernel_options,
            seed=seed,
            keep=keep,
            standardize=standardize,
            temperature=tempered.temperature,
            tempering=tempered.tempers,
            fitted=fitted,
            target_acceptance=target,
            dtype=problem.dtype,
            precision=precision or problem.dtype.name,
            platform=platform,
            **counts,
        )
        directory = None
        if checkpoint_dir is not None:
            arrays = {"x": problem.x, "y": problem.y, "x_eval": problem.x_eval, "init": init}
            identity = identity_of(settings, arrays, posterior, plan.stride)
            directory = RunDirectory(checkpoint_dir, checkpoint_every, identity, spec.is_chain)
            stack.callback(directory.close)
            again = functools.partial(_again, arguments, checkpoint_dir) if spec.is_chain else None
            if from_first(functools.partial(is_finished, directory.draws, counts["num_samples"])):
                return loaded(directory.draws, model, likelihood, again)
            plan = plan._replace(stride=directory.identity["keep_stride"])
        settings |= {"devices": devices.describe(), "memory": memory.plain()}
        state_memory(progress, memory.statement())
        check_backend(platform)
        posterior = fitted_to_prior(posterior, jax.random.fold_in(keys[1], 2**31 - 1), devices)
        watch = make_watch(posterior, evaluated, keys[0])
        checkpoints = NoCheckpoints() if directory is None else directory.checkpoints
        warm, state = _warmed(
            posterior, spec, parameters, target, init, keys[1:3], counts, devices, progress,
            checkpoints,
        )  # fmt: skip
        frame = _frame(problem, posterior, watch, warm, _prior(posterior, watch, keys[4]), settings)
        sampler = Sampler(spec, warm.parameters, plan, counts["thin"], devices)
        drawing = Drawing(sampler, warm, watch, keys[3], frame, checkpoints)
        if directory is not None:
            stream = stream_of(directory.draws, frame, now(), plan.stride, state.num_draws)
            record, _ = drawing.run(state, counts["num_samples"], stream, progress)
            return warned(Result(record, stream.created_at, again))
        record, end = drawing.run(
            state, counts["num_samples"], Memory(counts["num_samples"]), progress
        )
        return warned(result_of(drawing, record, end if spec.is_chain else None, now()))


def _chosen_kernel(kernel: Any, posterior_type: type[Posterior]) -> Any:
    if not isinstance(kernel, str) or kernel != "auto":
        return kernel
    return "alternating" if posterior_type is SurrogateRepriorised else "infinite_hmc"


def _again(arguments: dict[str, Any], path: Path, num_samples: int, progress: Any) -> Result:
    """The same run, in its checkpoint directory, with more draws."""
    more = checked_counts(num_samples=num_samples)["num_samples"]
    total = arguments["num_samples"] + more
    changed = {"checkpoint_dir": path, "num_samples": total, "progress": progress}
    return run(**{**arguments, **changed})


def _warmed(
    posterior: Posterior,
    spec: KernelSpec,
    parameters: Parameters,
    target: float | None,
    init: Any,
    keys: Array,
    counts: dict[str, int],
    devices: Devices,
    progress: Progress,
    checkpoints: Checkpoints,
) -> tuple[WarmupResult, SamplerState]:
    """What the warm-up found, and where sampling begins or goes on."""
    start_key, key = keys
    chain_keys = jax.random.split(start_key, counts["num_chains"])
    shapes = state_shapes(posterior, spec, chain_keys, counts["num_samples"])
    resumed = restore(checkpoints, posterior, shapes)
    if resumed is not None:
        return resumed
    if spec.is_chain:
        states, make_states = start_chains(posterior, spec, chain_keys, init, devices)
        warm = warm_up(
            posterior, spec, parameters, target, states, make_states, key, counts["num_warmup"],
            devices, progress, checkpoints,
        )  # fmt: skip
        warm.compile_seconds += make_states.compile_seconds
    else:
        num_proposals = parameters["num_proposals"]
        warm = choose_draws(posterior, spec, num_proposals, key, counts, devices, progress)
    state = fresh(warm.posterior, warm.states)
    save(checkpoints, warm, state)
    return warm, state


def _frame(
    problem: Problem,
    posterior: Posterior,
    watch: Watch,
    warm: WarmupResult,
    prior: dict[str, np.ndarray],
    settings: dict[str, Any],
) -> RunRecord:
    """The record but for what sampling brings."""
    return RunRecord(
        posterior=posterior,
        standardizer=problem.standardizer,
        x=problem.x,
        y=problem.y,
        x_eval=problem.x_eval,
        y_was_vector=problem.y_was_vector,
        draws={},
        sample_stats={},
        prior=prior,
        hidden_index=np.asarray(watch.hidden_index),
        kept=None,
        moments=None,
        settings=settings,
        adapted={k: _plain(v) for k, v in warm.parameters.items() if v is not None},
        num_gradients=0,
        sampling_seconds=warm.sampling_seconds,
        warmup_gradients=warm.num_gradients,
        warmup_seconds=warm.seconds,
        compile_seconds=warm.compile_seconds,
    )


def _prior(posterior: Posterior, watch, key) -> dict[str, np.ndarray]:
    """Prior draws in turn: memory for one."""
    draw = Program(
        lambda posterior, watch, keys: jax.lax.map(
            lambda k: prior_quantities(posterior, watch, k), keys
        )
    )
    draws = draw(posterior, watch, jax.random.split(key, NUM_PRIOR_DRAWS))
    return {name: np.asarray(value)[None] for name, value in draws.items()}


def _plain(value: Any) -> Any:
    array = np.asarray(value)
    return array.item() if array.ndim == 0 else array.tolist()
