"""Underdamped Langevin with and without repriorisation, measured as Hron et al. 2022 do."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import bnnsample
from bnnsample.chains._mapping import quiet_blas
from bnnsample.chains._program import Program
from bnnsample.chains._quantities import project
from bnnsample.models import Model
from bnnsample.results import effective_sample_size, r_hat
from experiments._data import Data, as_images, load
from experiments._gradient_time import milliseconds_in_turn
from experiments._measure import MIXED, Bench, Measurement
from experiments._methods import LANGEVIN, best_of_grid, gradients_per_draw, reference_step_size

Row = dict[str, Any]
NETWORKS = ("fcn-1", "fcn-3", "resnet-8")
NUM_CHAINS, NUM_DIRECTIONS, DRAWS_AT_ONCE = 4, 100, 25
# Steps of ours before the draws that every chain starts from.
START_WARMUP, START_DRAWS = 200, 50


class Cell(NamedTuple):
    """One point of a sweep: data, network, its width, number of points, noise deviation."""

    data: str
    network: str
    width: int
    n_train: int
    noise: float


class ProjectedBench(Bench):
    """Chains watched along fixed random directions of parameters, and of outputs.

    ``weights`` of a measurement are all parameters and ``function`` the network's outputs at the
    evaluation points, each projected on 100 random directions; the readout is the chain's own.
    """

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.x_eval = self.watch.x_eval
        size = len(self.x_eval) * self.posterior.num_outputs
        directions = np.random.default_rng(0).normal(size=(size, NUM_DIRECTIONS))
        directions /= np.linalg.norm(directions, axis=0)
        self.directions = jnp.asarray(directions, self.x_eval.dtype)
        self.program = Program(self._chunk)

    def measure(self, setting, states, num_draws, seed) -> Measurement:
        """Draws at one setting from stationary states, in whole chunks."""
        options = {**self.defaults, **{k: jnp.asarray(v) for k, v in setting.items()}}
        chunks = -(-num_draws // DRAWS_AT_ONCE)
        keys = jax.random.split(jax.random.key(seed), (chunks, NUM_CHAINS))
        arguments = (self.posterior, self.watch.signs, self.directions, options)
        recorded = []
        self.program.run_seconds = 0.0
        with quiet_blas(self.devices.platform):
            for chunk_keys in keys:
                states, draws = self.program(*arguments, chunk_keys, states)
                recorded.append(jax.tree.map(np.asarray, draws))
        parameters, function, acceptance = (
            np.concatenate(parts, axis=1) for parts in zip(*recorded, strict=True)
        )
        total = acceptance.size
        return Measurement(
            dict(setting),
            float(acceptance.mean()),
            float(np.median(effective_sample_size(function))),
            float(np.median(effective_sample_size(parameters))),
            float(np.max(r_hat(function))),
            total,
            total * self.thin,
            self.program.run_seconds,
            float(np.max(r_hat(parameters))),
        )

    def _chunk(self, posterior, signs, directions, options, keys, states):
        """``DRAWS_AT_ONCE`` draws of every chain, each of ``thin`` steps."""
        target = self.spec.view(posterior)

        def step(carry, key):
            state, accepted = carry
            state, stats = self.spec.step(key, target, state, options)
            return (state, accepted + stats.acceptance_rate / self.thin), None

        def draw(state, key):
            start = (state, jnp.zeros((), self.x_eval.dtype))
            (state, accepted), _ = jax.lax.scan(step, start, jax.random.split(key, self.thin))
            position = state.position
            readout = posterior.readout(key, position, *posterior.condition(position))
            outputs = posterior.features(position, self.x_eval) @ readout
            network = {"hidden": position["hidden"], "readout": readout}
            parameters = project(signs, network, NUM_DIRECTIONS)
            return state, (parameters, outputs.ravel() @ directions, accepted)

        def chain(pair):
            key, state = pair
            return jax.lax.scan(draw, state, jax.random.split(key, DRAWS_AT_ONCE))

        return jax.lax.map(chain, (keys, states))


def model_of(network: str) -> Model:
    """``fcn-1`` and ``fcn-3``: hidden GELU layers, one and three; ``resnet-8``."""
    family, depth = network.split("-")
    if family == "fcn":
        return bnnsample.models.mlp(int(depth), "gelu")
    return bnnsample.models.resnet(int(depth))


def data_of(cell: Cell, options: Any) -> Data:
    """The cell's points; images in their shape for a residual network."""
    data = load(
        cell.data, cell.n_train, options.seed, dtype=options.dtype, data_dir=options.data_dir
    )
    if cell.network.startswith("fcn"):
        return data._replace(
            x=data.x.reshape(len(data.x), -1), x_eval=data.x_eval.reshape(len(data.x_eval), -1)
        )
    return as_images(data) if cell.data == "digits" else data


def measure(cell: Cell, options: Any) -> list[Row]:
    """A row for either coordinate system, each at the best of its grid for each quantity.

    Both start from draws of the same posterior, by collapsed infinite HMC, so that neither is
    charged for its burn-in.
    """
    model, data = model_of(cell.network), data_of(cell, options)
    likelihood = bnnsample.likelihoods.Gaussian(cell.noise)
    found = bnnsample.run(
        model, (data.x, data.y), width=cell.width, likelihood=likelihood, x_eval=data.x_eval,
        num_chains=NUM_CHAINS, num_warmup=START_WARMUP, num_samples=START_DRAWS,
        seed=options.seed, progress=False,
    )  # fmt: skip
    last = int(found.record.kept.draws[-1])
    starts = [found.parameters(chain, last) for chain in range(NUM_CHAINS)]
    benches = {
        coordinates: ProjectedBench(
            model, data, cell.width, likelihood, coordinates, "ghmc", LANGEVIN.thin
        )
        for coordinates in ("standard", "repriorised")
    }
    states = {name: bench.start(starts) for name, bench in benches.items()}
    gradient = milliseconds_in_turn(
        {name: (gradient_of(bench), (states[name].position,)) for name, bench in benches.items()}
    )
    rows = []
    for name, bench in benches.items():
        settings = LANGEVIN.settings(reference_step_size(bench, states[name], options.seed))
        best = best_of_grid(bench, settings, states[name], options.gradients, options.seed)
        best = until_mixed(bench, best, states[name], options)
        rows.append(row_of(cell, name, best, gradient[name]))
    return rows


def until_mixed(
    bench: Bench, best: dict[str, Measurement], states: Any, options: Any
) -> dict[str, Measurement]:
    """What has not mixed, measured again at its setting with longer chains.

    Of four times the length each time, until R-hat is small or ``longest`` is reached.
    """
    gradients, best = options.gradients, dict(best)
    while gradients < options.longest:
        gradients = min(4 * gradients, options.longest)
        again: list[Measurement] = []
        for quantity, measured in best.items():
            draws = int(gradients / gradients_per_draw(bench, measured.setting))
            mixed = getattr(measured, f"r_hat_{quantity}") <= MIXED
            if mixed or draws <= measured.num_draws / NUM_CHAINS:
                continue
            if measured.setting not in [m.setting for m in again]:
                again.append(bench.measure(measured.setting, states, draws, options.seed + 2))
            best[quantity] = next(m for m in again if m.setting == measured.setting)
    return best


def gradient_of(bench: Bench):
    """The potential's value and gradient at the first chain's position."""

    def gradient(positions: Any) -> tuple[Array, Any]:
        position = jax.tree.map(lambda a: a[0], positions)
        return jax.value_and_grad(bench.posterior.potential)(position)

    return gradient


def row_of(cell: Cell, coordinates: str, best: dict[str, Measurement], gradient_ms: float) -> Row:
    """The figures of one coordinate system: a step takes one gradient.

    Acceptance, steps, seconds and setting are of the function's measurement.
    """
    function, weights = best["function"], best["weights"]
    return {
        **cell._asdict(),
        "method": coordinates,
        "ess_per_step_parameters": weights.weights_per_gradient,
        "ess_per_step_function": function.function_per_gradient,
        "ess_per_second_parameters": weights.ess_weights / weights.seconds,
        "ess_per_second_function": function.function_per_second,
        "r_hat_parameters": weights.r_hat_weights,
        "r_hat_function": function.r_hat_function,
        "acceptance": function.acceptance,
        "gradient_ms": gradient_ms,
        "num_steps": function.num_gradients,
        "seconds": function.seconds,
        "setting": dict(function.setting),
        "num_steps_parameters": weights.num_gradients,
        "setting_parameters": dict(weights.setting),
    }
