"""What a run says that it keeps and needs, against what it keeps and needs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_results_record import make_record

import bnnsample
from bnnsample import _memory_plan
from bnnsample._gradient_memory import gradient_bytes, surrogate_bytes
from bnnsample.chains import _keep
from bnnsample.chains._devices import one_device
from bnnsample.chains._program import Program
from bnnsample.coordinates import COORDINATES, SurrogateRepriorised
from bnnsample.likelihoods import Bernoulli, Categorical, Gaussian, from_log_prob
from bnnsample.models import cnn, mlp
from bnnsample.results import Result, _quantiles

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 3)).astype(np.float32)
Y = RNG.normal(size=(12, 2)).astype(np.float32)


class Listener:
    """A progress that takes notes."""

    def __init__(self):
        self.notes = []

    def start(self, phase, total):
        self.notes.append(phase)

    def update(self, steps, info):
        pass

    def close(self):
        pass

    def note(self, text):
        self.notes.append(text)


def run(y=Y, **settings):
    common = {"width": 8, "num_chains": 2, "num_warmup": 2, "num_samples": 6, "progress": False}
    return bnnsample.run(mlp(), (X, y), **{**common, **settings})


def nbytes(tree):
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    "settings",
    [{"likelihood": Gaussian(0.3)}, {"y": Y[:, 0] > 0, "likelihood": Bernoulli(), "keep": "all"}],
)
def test_the_numbers_are_those_of_the_record(settings):
    listener = Listener()
    result = run(progress=listener, x_eval=X[:5], **settings)
    record, memory = result._record, result.settings["memory"]
    for name, array in record.draws.items():
        assert memory["draws"][name] == array.nbytes, name
    assert set(memory["draws"]) == {*record.draws, "sample_stats"}
    assert memory["draws"]["sample_stats"] == nbytes(dict(record.sample_stats))
    assert memory["kept"] == nbytes(record.kept.parameters)
    assert memory["host"]["moments"] == nbytes(record.moments)
    assert listener.notes[0].startswith("keeps ")
    assert "on the device" in listener.notes[0]
    assert "warm-up" in listener.notes[1:]


def refuse(*_, **__):
    pytest.fail("reached compilation")


def test_a_run_beyond_memory_is_refused_with_the_numbers(monkeypatch):
    monkeypatch.setattr(Program, "__call__", refuse)
    x = np.zeros((1000, 3), np.float32)
    y = np.zeros((1000, 10), np.float32)
    monkeypatch.setattr(_keep, "available_bytes", lambda: 2**30)
    with pytest.raises(ValueError, match="the run needs about") as caught:
        bnnsample.run(mlp(), (x, y), width=8, num_samples=4000, progress=False)
    # f, f_mean and y are [chain, draw, point, output] each.
    each = 4 * 4000 * 1000 * 10 * 4 / 2**20
    for words in (f"f {each:.1f} MiB", "1.00 GiB available", "thin=", "checkpoint_dir=", "x_eval="):
        assert words in str(caught.value)


def test_a_stream_holds_its_buffers_alone(monkeypatch, tmp_path):
    """What is refused in memory reaches compilation where draws go to disk."""
    monkeypatch.setattr(_keep, "available_bytes", lambda: 2**30)
    monkeypatch.setattr(Program, "__call__", refuse)
    x, y = np.zeros((200, 3), np.float32), np.zeros((200, 10), np.float32)
    settings = {"width": 8, "num_samples": 20_000, "progress": False}
    with pytest.raises(ValueError, match="checkpoint_dir="):
        bnnsample.run(mlp(), (x, y), **settings)
    with pytest.raises(pytest.fail.Exception, match="reached compilation"):
        bnnsample.run(mlp(), (x, y), checkpoint_dir=tmp_path / "run", **settings)


def test_a_small_accelerator_is_asked_for_its_memory(monkeypatch):
    memory = _memory_plan.MemoryPlan({"f": 8}, 0, {"draws": 8}, {"gradient": 2**31}, shared=False)
    posterior = COORDINATES["collapsed"](mlp(), Gaussian(0.1), 8, X, Y)
    counts = {"num_chains": 2, "num_samples": 3}
    monkeypatch.setattr(_memory_plan, "device_available_bytes", lambda devices: 2**30)
    with pytest.raises(ValueError, match=r"2.00 GiB of memory on the device.*1.00 GiB available"):
        _memory_plan.check_memory(memory, posterior, "auto", counts, one_device(), streams=False)
    monkeypatch.setattr(_memory_plan, "device_available_bytes", lambda devices: None)
    _memory_plan.check_memory(memory, posterior, "auto", counts, one_device(), streams=False)


@pytest.mark.optimized
@pytest.mark.parametrize(
    ("model", "shape", "n", "width"),
    [(mlp(1), (8,), 300, 128), (mlp(3), (8,), 200, 128), (cnn(2), (8, 8, 3), 16, 32)],
)
def test_a_gradient_needs_about_what_is_said(model, shape, n, width):
    x = RNG.normal(size=(n, *shape))
    posterior = COORDINATES["collapsed"](model, Gaussian(0.1), width, x, x.reshape(n, -1)[:, :1])
    position = jax.eval_shape(posterior.prior_draw, jax.random.key(0))
    program = jax.jit(jax.value_and_grad(posterior.potential)).lower(position).compile()
    needed = program.memory_analysis().temp_size_in_bytes
    assert 0.8 * needed < gradient_bytes(posterior, position) < 3 * needed


@pytest.mark.optimized
@pytest.mark.parametrize(("n", "width"), [(600, 256), (4000, 64)])
@pytest.mark.parametrize("likelihood", [Bernoulli(), Categorical()])
def test_a_fit_needs_about_what_is_said(likelihood, n, width):
    """By the kernel of all points, and by features where chains together have fewer."""
    likelihood, y, _ = likelihood.prepared(np.arange(n) % 2, n)
    x = RNG.normal(size=(n, 8)).astype(np.float32)
    posterior = SurrogateRepriorised(mlp(1), likelihood, width, x, y.astype(np.float32))
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 4))
    positions = jax.eval_shape(jax.vmap(posterior.prior_draw), keys)
    program = jax.jit(posterior.fitted).lower(positions).compile()
    needed = program.memory_analysis().temp_size_in_bytes
    one = jax.eval_shape(posterior.prior_draw, jax.random.key(0))
    assert 0.6 * needed < surrogate_bytes(posterior, one, 4) < 3 * needed
    # To four prior draws at least.
    assert surrogate_bytes(posterior, one, 1) == surrogate_bytes(posterior, one, 4)


def test_a_surrogate_that_is_given_needs_no_fit():
    own = from_log_prob(
        lambda y, f: -jnp.sum((y - f) ** 4, axis=1),
        surrogate=lambda y: (y, jnp.ones_like(y[:, 0])),
    )
    posterior = SurrogateRepriorised(mlp(1), own, 8, X, Y)
    one = jax.eval_shape(posterior.prior_draw, jax.random.key(0))
    assert surrogate_bytes(posterior, one, 4) == 0


def test_quantiles_take_points_in_blocks(monkeypatch):
    result = Result(make_record(likelihood=Gaussian(0.5), draws=400, keep_every=1, d=1))
    x = RNG.normal(size=(7, 3))
    whole = result.quantiles(x, [0.1, 0.9])
    sizes = []
    drawn = _quantiles.new_observations
    monkeypatch.setattr(
        _quantiles,
        "new_observations",
        lambda record, x, *number: sizes.append(len(x)) or drawn(record, x, *number),
    )
    monkeypatch.setattr(_quantiles, "BLOCK_BYTES", 3 * 800 * 4 * 8)
    blocks = result.quantiles(x, [0.1, 0.9])
    assert sizes == [1, 3, 3, 1]
    # Quantiles of 3200 draws: their standard error is about 1.7 std / sqrt(3200).
    error = 1.7 * result.predict(x).predictive_std / np.sqrt(3200)
    assert (np.abs(blocks - whole) < 5 * 2**0.5 * error).all()
