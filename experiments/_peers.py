"""Ways to a predictive distribution from one network and its data: chains, and fits."""

import functools
import time
import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.infer import MCMC, NUTS

import bnnsample
from bnnsample._lenient import lenient
from bnnsample.chains._mapping import quiet_blas
from bnnsample.chains._quantities import make_watch, quantities
from bnnsample.coordinates import Standard
from bnnsample.repriorisation import predict
from experiments import _ensemble
from experiments._budget import FEWEST_STEPS, gradients_of, run_of_budget
from experiments._data import Data
from experiments._gradient_time import milliseconds_in_turn
from ntk import gp, infinite_kernel

NUM_CHAINS, NUM_MEMBERS, NUM_FIT_DRAWS = 4, 5, 1000
# Of NumPyro's trees in warm-up, where steps are small at first.
WARMUP_TREE_DEPTH = 6


class Task(NamedTuple):
    """What every peer is given.

    Attributes:
        data: with the targets of the evaluation points.
        width: of the hidden layer.
        noise: standard deviation of the targets' noise, known.
        warmup, draws: steps per chain of ours, whose gradients are the others' budget.
        seed: of everything random.
        tree_depth: of NUTS at most, 2^depth gradients a step.
    """

    data: Data
    width: int
    noise: float
    warmup: int
    draws: int
    seed: int
    tree_depth: int = 10

    @property
    def model(self) -> bnnsample.models.Model:
        return bnnsample.models.mlp(1, "gelu")

    @property
    def likelihood(self) -> bnnsample.likelihoods.Gaussian:
        return bnnsample.likelihoods.Gaussian(self.noise)


class Found(NamedTuple):
    """What a peer found at the evaluation points.

    Attributes:
        f: draws of the function ``[s, m, d]``.
        f_mean: of chains E[f | hidden layers] ``[chain, draw, m * d]``; None: independent draws.
        gradients: in all, warm-up and whatever was tried included.
        sampling_gradients: of the recorded draws.
        warmup_seconds, seconds: before the recorded draws, and of them.
        noise: standard deviations ``[s, m, d]`` that each draw has, of a peer that learns them;
            None: the task's.
    """

    f: np.ndarray
    f_mean: np.ndarray | None
    gradients: int
    sampling_gradients: int
    warmup_seconds: float
    seconds: float
    noise: np.ndarray | None = None


def ours(task: Task) -> Found:
    """Collapsed coordinates, infinite HMC, all defaults."""
    return of_result(_run(task, num_warmup=task.warmup, num_samples=task.draws))


def chains(task: Task, budget: int, **settings: Any) -> Found:
    """A chain of the library, in other coordinates or under BlackJAX's kernels."""
    run = functools.partial(_run, task, **settings)
    return of_result(run_of_budget(run, budget))


def numpyro_nuts(task: Task, budget: int, per_draw: float) -> Found:
    """NumPyro's NUTS on the same potential, a third of its steps warm-up.

    ``per_draw``, the gradients that BlackJAX's takes, says how many steps the budget has. Its time
    is that of its gradients alone, compiled on their own: what it does beside them and its
    compilation are left out, in its favour.
    """
    data = task.data
    x, y = jnp.asarray(data.x), jnp.asarray(data.y)
    posterior = Standard(task.model, task.likelihood, task.width, x, y)

    def potential(q):
        squares = sum(jnp.sum(leaf * leaf) for leaf in jax.tree.leaves(q))
        return posterior.potential(q) + squares / 2

    keys = jax.random.split(jax.random.key(task.seed), NUM_CHAINS)
    starts = jax.jit(jax.vmap(posterior.prior_draw))(keys)

    count = max(FEWEST_STEPS, int(budget / (per_draw * NUM_CHAINS)))
    mcmc = MCMC(
        NUTS(potential_fn=potential, max_tree_depth=(WARMUP_TREE_DEPTH, task.tree_depth)),
        num_warmup=count // 3, num_samples=count - count // 3, num_chains=NUM_CHAINS,
        chain_method="sequential", progress_bar=False,
    )  # fmt: skip
    fields = ("num_steps",)
    with quiet_blas(jax.default_backend()):
        lenient(mcmc.warmup)(
            jax.random.key(task.seed), init_params=starts, extra_fields=fields, collect_warmup=True
        )
        warmup_steps = int(np.sum(mcmc.get_extra_fields()["num_steps"]))
        lenient(mcmc.run)(mcmc.post_warmup_state.rng_key, extra_fields=fields)
    steps = int(np.sum(mcmc.get_extra_fields()["num_steps"]))
    positions = mcmc.get_samples(group_by_chain=True)
    position = jax.tree.map(lambda a: a[0, -1], positions)
    gradient = jax.value_and_grad(potential)
    seconds = milliseconds_in_turn({"gradient": (gradient, (position,))})["gradient"] / 1000
    watch = make_watch(posterior, jnp.asarray(data.x_eval), jax.random.key(0))
    flat = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), positions)
    total = len(jax.tree.leaves(flat)[0])

    @jax.jit
    def recorded(keys, flat):
        def one(pair):
            found, _ = quantities(posterior, watch, *pair)
            return found["f"], found["f_mean"]

        return jax.lax.map(one, (keys, flat))

    f, f_mean = recorded(jax.random.split(jax.random.key(1), total), flat)
    f_mean = np.asarray(f_mean).reshape(NUM_CHAINS, total // NUM_CHAINS, -1)
    gradients = warmup_steps + steps
    return Found(np.asarray(f), f_mean, gradients, steps, warmup_steps * seconds, steps * seconds)


def of_result(result: bnnsample.Result) -> Found:
    """What a finished run recorded."""
    draws = result.record.draws
    f, f_mean = draws["f"], draws["f_mean"]
    return Found(
        f.reshape(-1, *f.shape[2:]),
        f_mean.reshape(*f_mean.shape[:2], -1),
        gradients_of(result),
        result.num_gradients,
        result.warmup_seconds,
        result.sampling_seconds,
    )


def deep_ensemble(task: Task, max_steps: int) -> tuple[Found, Any]:
    """Five members (Lakshminarayanan et al. 2017), and their parameters.

    Rate, penalty and number of steps by cross-validation; a member counts as a draw.
    """
    started = time.perf_counter()
    data = task.data
    ensemble = _ensemble.train(
        task.model, task.likelihood, task.width, (data.x, data.y), NUM_MEMBERS, max_steps, task.seed
    )
    networks = ensemble.parameters["network"]
    f = jax.jit(jax.vmap(lambda network: task.model.apply(network, jnp.asarray(data.x_eval))))
    f = np.asarray(f(networks))
    seconds = time.perf_counter() - started
    return Found(f, None, ensemble.num_gradients, 0, 0.0, seconds), networks


def last_layer_laplace(task: Task, trained: Found, networks: Any) -> Found:
    """The posterior of a trained network's readout given its features: Gaussian, so exact.

    The network is the ensemble's first member (Kristiadi et al. 2020; Daxberger et al. 2021), and
    its gradients and time are a member's share.
    """
    data = task.data
    started = time.perf_counter()
    hidden = jax.tree.map(lambda a: a[0], networks["hidden"])
    psi, psi_eval = (task.model.features(hidden, jnp.asarray(x)) for x in (data.x, data.x_eval))
    f = gaussian_draws(*predict(psi_eval, psi, jnp.asarray(data.y), task.noise), task.seed)
    seconds = trained.seconds / NUM_MEMBERS + time.perf_counter() - started
    return Found(f, None, trained.gradients // NUM_MEMBERS, 0, 0.0, seconds)


def nngp(task: Task) -> Found:
    """The Gaussian process that the network is at infinite width (Lee et al. 2018), in float64."""
    started = time.perf_counter()
    data = task.data
    with jax.enable_x64(True):
        x, x_eval, y = (jnp.asarray(a, jnp.float64) for a in (data.x, data.x_eval, data.y))
        kernel = infinite_kernel(task.model.network)
        matrices = gp.kernel_matrices(lambda a, b: kernel(a, b, get="nngp"), x, x_eval)
        found = gp.posterior(matrices, y, task.noise**2)
        f = gaussian_draws(found.mean, found.variance, task.seed)
    return Found(f, None, 0, 0, 0.0, time.perf_counter() - started)


def _run(task: Task, **settings: Any) -> bnnsample.Result:
    data = task.data
    # What they warn of is in the table.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bnnsample.SamplingWarning)
        return bnnsample.run(
            task.model, (data.x, data.y), width=task.width, likelihood=task.likelihood,
            num_chains=NUM_CHAINS, seed=task.seed, x_eval=data.x_eval, keep="none",
            progress=False, **settings,
        )  # fmt: skip


def gaussian_draws(mean: Array, variance: Array, seed: int) -> np.ndarray:
    """Draws ``[s, m, d]`` of every point's own Gaussian."""
    mean, deviation = np.asarray(mean), np.sqrt(np.asarray(variance))[:, None]
    normal = np.random.default_rng(seed).normal(size=(NUM_FIT_DRAWS, *mean.shape))
    return mean + deviation * normal
