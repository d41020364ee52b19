"""One compilation, progress, interruption, memory; no deadlock; a backend that is wrong."""

import gc
import os
import signal
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bnnsample
from bnnsample.chains import _executables, _program, _sampling
from bnnsample.chains._program import Program, chunk_lengths
from bnnsample.coordinates import COORDINATES
from bnnsample.kernels._prior_exact import INFINITE_HMC, MOST_STEPS, _trajectory
from bnnsample.likelihoods import Gaussian, StudentT
from bnnsample.models import from_functions, mlp
from ntk import BackendError, _known_answer, check_backend

X = np.random.default_rng(0).normal(size=(6, 2))
Y = X[:, 0]
REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@pytest.fixture(autouse=True)
def _interruptible():
    """Python raises no KeyboardInterrupt where it was started with SIGINT ignored, as by nohup."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def run(model=None, **settings):
    settings = {
        "width": 4,
        "likelihood": Gaussian(0.5),
        "kernel_options": {"step_size": 0.5, "num_integration_steps": 1},
        "num_chains": 2,
        "num_warmup": 0,
        "num_samples": 40,
        "progress": False,
        **settings,
    }
    return bnnsample.run(mlp() if model is None else model, (X, Y), **settings)


class Recorder:
    """A progress object that remembers, and may press Ctrl-C."""

    def __init__(self, phase=None, after=0):
        self.calls, self.open = [], None
        self.phase, self.after = phase, after

    def start(self, phase, total):
        assert self.open is None
        self.open = phase
        self.calls.append(("start", phase, total))

    def update(self, steps, info):
        assert steps > 0
        self.calls.append(("update", self.open, steps, info))
        if self.open == self.phase and self.done(self.phase) >= self.after:
            raise KeyboardInterrupt

    def close(self):
        self.calls.append(("close", self.open))
        self.open = None

    def done(self, phase):
        return sum(call[2] for call in self.calls if call[:2] == ("update", phase))

    def total(self, phase):
        (total,) = (call[2] for call in self.calls if call[:2] == ("start", phase))
        return total

    def closed(self, phase):
        return self.calls.count(("close", phase))


# --- one compilation


class Traced:
    """A one-layer network that counts how often its features are traced."""

    def __init__(self):
        self.count = 0
        self.model = from_functions(self.init, self.features)

    def init(self, key, x, width):
        return {"w": jax.random.normal(key, (x.shape[1], width), x.dtype)}

    def features(self, h, x):
        assert isinstance(h["w"], jax.core.Tracer), (
            "run on numbers, outside of the compiled program"
        )
        self.count += 1
        return jnp.tanh(x @ h["w"])


def test_ten_thousand_draws_trace_as_often_as_a_hundred():
    counts, compilations = [], []
    for num_samples in (100, 10_000):
        traced, programs = Traced(), []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                _program,
                "compiled",
                lambda *a, log=programs: (log.append(1), _executables.compiled(*a))[1],
            )
            result = run(traced.model, num_samples=num_samples, num_warmup=30, keep="none")
        assert result.record.draws["f"].shape[:2] == (2, num_samples)
        counts.append(traced.count)
        compilations.append(len(programs))
    assert counts[0] == counts[1] > 0
    # Positions, their states, warm-up, prior draws and sampling.
    assert compilations == [5, 5]


@pytest.fixture
def compilations():
    """A list that grows by one with each program that is compiled."""
    compiled = []

    def note(event, duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(duration)

    jax.monitoring.register_event_duration_secs_listener(note)
    yield compiled
    jax.monitoring.unregister_event_duration_listener(note)


def test_the_same_run_again_compiles_nothing(compilations):
    """Nor with other data, another seed, and more draws where a chunk was full before."""
    rng = np.random.default_rng(1)
    again = {"num_warmup": 20, "kernel_options": {}, "num_samples": 2000}
    first = run(**again)
    before = len(compilations)
    second = run(**again)
    x, y = rng.normal(size=X.shape), rng.normal(size=Y.shape)
    bnnsample.run(
        mlp(), (x, y), width=4, likelihood=Gaussian(0.5), num_chains=2, num_warmup=20,
        num_samples=2500, seed=5, progress=False,
    )  # fmt: skip
    assert len(compilations) == before
    for name, values in first.record.draws.items():
        np.testing.assert_array_equal(values, second.record.draws[name])
    # What differs inside the program is another.
    run(mlp(activation="tanh"), **again)
    assert len(compilations) > before


@pytest.mark.parametrize(
    ("likelihood", "tempering"),
    [
        (Gaussian(0.5), "posterior"),
        pytest.param(StudentT(4.0, scale=0.5), "likelihood", marks=pytest.mark.slow),
        pytest.param(Gaussian(0.5), "likelihood", marks=pytest.mark.slow),
        pytest.param(StudentT(4.0, scale=0.5), "posterior", marks=pytest.mark.slow),
    ],
)
def test_another_temperature_compiles_nothing(compilations, likelihood, tempering):
    again = {"likelihood": likelihood, "tempering": tempering, "num_warmup": 20}
    run(temperature=0.5, **again)
    before = len(compilations)
    shared = run(temperature=0.3, **again)
    assert len(compilations) == before
    _executables._KEPT.clear()
    own = run(temperature=0.3, **again)
    for name, values in own.record.draws.items():
        np.testing.assert_array_equal(values, shared.record.draws[name])


def test_a_run_leaves_no_equations_behind():
    """JAX keeps what it has traced of a function as long as that lives: not with every model."""

    def equations():
        gc.collect()
        return sum(type(o).__name__ == "JaxprEqn" for o in gc.get_objects())

    counts = []
    for _ in range(4):
        run(num_warmup=20)
        counts.append(equations())
    assert counts[2] - counts[1] == counts[3] - counts[2] < 50


def answers(fn, *args):
    return [np.asarray(a) for a in jax.tree.leaves(Program(fn)(*args))]


def test_programs_are_shared_by_all_that_they_compute(compilations):
    _executables._KEPT.clear()
    one, two = jnp.arange(3.0), jnp.arange(3.0) + 10
    # Constants, of which one differs in one place; which argument is left unused.
    for at in (0, 17_000):
        constant = np.zeros(20_000)
        constant[at] = 1.0
        expected = 10 + constant
        (found,) = answers(lambda x, c=constant: x + c, 10.0)
        np.testing.assert_array_equal(found, expected)
    assert answers(lambda a, b: a + 1, one, two)[0].tolist() == [1, 2, 3]
    assert answers(lambda a, b: b + 1, one, two)[0].tolist() == [11, 12, 13]
    # Keys of random numbers, and the integers that they are made of.
    key = jax.random.key(3)
    raw = jax.random.key_data(key)
    assert jnp.issubdtype(Program(lambda k: k)(key).dtype, jax.dtypes.prng_key)
    assert Program(lambda k: k)(raw).dtype == jnp.uint32
    # Structures of arguments and of results, around one and the same program.
    assert Program(lambda t: {"b": t["a"] + 1})({"a": 1.0})["b"] == 2
    assert Program(lambda t: (t[0] + 1,))([1.0]) == (2,)
    # Settings of JAX.
    before = len(compilations)
    answers(jnp.sin, one)
    with jax.default_matmul_precision("highest"):
        answers(jnp.sin, one)
    answers(jnp.sin, one)
    assert len(compilations) - before == 2
    assert len(_executables._KEPT) == 9


def test_a_program_that_calls_back_calls_its_own():
    said = []
    for name in ("first", "second"):

        def calls(x, name=name):
            jax.debug.callback(lambda _: said.append(name), x)
            return x + 1

        Program(calls)(jnp.ones(2))
        jax.effects_barrier()
    assert said == ["first", "second"]


def test_few_programs_are_kept(monkeypatch):
    monkeypatch.setattr(_executables, "MOST_KEPT", 3)
    _executables._KEPT.clear()
    for i in range(5):
        Program(lambda x, i=i: x + i)(1.0)
        Program(lambda x: x)(1.0)
    assert len(_executables._KEPT) == 3


def test_chunks_of_other_lengths_compile_nothing(monkeypatch, compilations):
    """Every chunk has a length of its own: operations on its draws must not be compiled for it."""
    counts = []
    for lengths in ((20, 20), (20, 20), (7, 1, 13, 3, 5, 11)):
        starts = np.cumsum((0, *lengths))
        chunks = [(int(s), n) for s, n in zip(starts, lengths, strict=False)]
        monkeypatch.setattr(_sampling, "chunk_lengths", lambda *_, chunks=chunks: iter(chunks))
        before = len(compilations)
        _executables._KEPT.clear()
        run(num_samples=40)
        counts.append(len(compilations) - before)
    assert 0 < counts[1] == counts[2]


@pytest.mark.parametrize(("total", "capacity"), [(1, 1), (7, 3), (1000, 2000), (1000, 64)])
def test_chunks_cover_every_draw_once(total, capacity):
    program = Program(lambda: None)
    spans = []
    for start, length in chunk_lengths(total, capacity, program):
        program.run_seconds += 1e-6 * length
        spans.extend(range(start, start + length))
        assert 1 <= length <= capacity
    assert spans == list(range(total))


def test_draws_do_not_depend_on_chunks(monkeypatch):
    """Nor do the kept ones, whose stride does not divide the chunks."""
    template = 2 * (3 * 4 + 5) * 8
    monkeypatch.setattr("bnnsample.chains._keep.AUTO_BUDGET_BYTES", 6 * template)
    whole = run()
    monkeypatch.setattr("bnnsample.chains._sampling.DEVICE_BUFFER_BYTES", 5_000)
    recorder = Recorder()
    other = run(progress=recorder)
    assert sum(call[0] == "update" for call in recorder.calls) >= 8
    for name, values in whole.record.draws.items():
        np.testing.assert_array_equal(values, other.record.draws[name])
    one, two = whole.record.kept, other.record.kept
    assert list(one.draws) == list(two.draws) == [6, 13, 20, 27, 34]
    jax.tree.map(np.testing.assert_array_equal, one.parameters, two.parameters)
    jax.tree.map(np.testing.assert_array_equal, whole.moments, other.moments)


# --- progress and interruption


@pytest.fixture(scope="module")
def watched():
    recorder = Recorder()
    return recorder, run(progress=recorder, num_warmup=30, kernel_options=None)


def test_progress_receives_the_totals(watched):
    recorder, _ = watched
    assert recorder.total("warm-up") == recorder.done("warm-up") == 30
    assert recorder.total("sampling") == recorder.done("sampling") == 40
    assert recorder.closed("warm-up") == recorder.closed("sampling") == 1
    assert [call[1] for call in recorder.calls if call[0] == "start"] == ["warm-up", "sampling"]
    infos = [call[3] for call in recorder.calls if call[0] == "update"]
    assert all(0 <= info["acceptance"] <= 1 for info in infos)
    assert any("step_size" in info for info in infos)


def assert_consistent(result, done):
    record = result.record
    assert record.interrupted
    for values in (*record.draws.values(), *record.sample_stats.values()):
        assert values.shape[:2] == (2, done)
    assert list(record.kept.draws) == list(range(done))
    for leaf in jax.tree.leaves(record.kept.parameters):
        assert leaf.shape[:2] == (2, done)
    assert record.num_gradients == record.sample_stats["n_steps"].sum()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result.moments))
    assert result.parameters(1, done - 1)["readout"].shape == (5, 1)


def test_ctrl_c_between_chunks_returns_what_was_drawn(monkeypatch):
    monkeypatch.setattr("bnnsample.chains._program.TARGET_CHUNK_SECONDS", 1e-9)
    whole = run()
    recorder = Recorder("sampling", after=7)
    with pytest.warns(UserWarning, match="interrupted: returning the 7 of 40 draws per chain"):
        result = run(progress=recorder)
    assert recorder.closed("sampling") == 1
    assert_consistent(result, 7)
    for name, values in result.record.draws.items():
        np.testing.assert_array_equal(values, whole.record.draws[name][:, :7])
    mean = result.record.kept.parameters["readout"].mean(1)
    np.testing.assert_allclose(result.moments["mean"]["readout"], mean, rtol=1e-9)
    assert result.predict(X).mean.shape == (6,)
    assert "interrupt" in result.report().lower() or "stopped" in result.report().lower()


def test_ctrl_c_within_a_chunk_returns_the_chunks_before(monkeypatch):
    """Signals arrive when the device returns: its inputs are gone, its outputs not assigned."""
    monkeypatch.setattr("bnnsample.chains._program.TARGET_CHUNK_SECONDS", 1e-9)
    call, recorder = Program.__call__, Recorder()

    def interrupted(self, *args):
        result = call(self, *args)
        if recorder.done("sampling") == 5:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(Program, "__call__", interrupted)
    with pytest.warns(UserWarning, match="interrupted: returning the 5 of 40 draws"):
        result = run(progress=recorder)
    assert_consistent(result, 5)


def test_ctrl_c_before_the_first_draw_and_in_the_warm_up_propagates():
    class AtStart(Recorder):
        def start(self, phase, total):
            super().start(phase, total)
            if phase == "sampling":
                os.kill(os.getpid(), signal.SIGINT)

    recorder = AtStart()
    with pytest.raises(KeyboardInterrupt):
        run(progress=recorder)
    recorder = Recorder("warm-up", after=1)
    with pytest.raises(KeyboardInterrupt):
        run(progress=recorder, num_warmup=30, kernel_options=None)
    assert recorder.closed("warm-up") == 1
    assert recorder.open is None


def test_the_bar_prints(capfd):
    run(progress=True, num_warmup=10, kernel_options=None)
    printed = capfd.readouterr()
    assert "warm-up" in printed.err
    assert "sampling" in printed.err
    assert "acceptance" in printed.err
    assert "40/40" in printed.err
    assert printed.out == ""


def test_no_progress_prints_nothing(capfd):
    run(num_samples=1)
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")


# --- memory


def test_records_without_kept_parameters_do_not_grow_with_the_network():
    sizes = []
    for width in (8, 4096):
        record = run(width=width, keep="none", num_samples=3).record
        assert record.kept is None
        arrays = [*record.draws.values(), *record.sample_stats.values(), *record.prior.values()]
        sizes.append(sum(a.nbytes for a in arrays))
        parameters = sum(leaf.size for leaf in jax.tree.leaves(record.moments))
        # A mean and a variance, whatever the number of draws.
        assert parameters <= 2 * 2 * (4 * width + 1)
    assert sizes[0] == sizes[1]


# --- no deadlock: fresh processes under a watchdog

WATCHED = textwrap.dedent(
    """
    import sys
    import numpy as np
    import bnnsample
    coordinates, seed = sys.argv[1], int(sys.argv[2])
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(64, 5)).astype(np.float32)
    result = bnnsample.run(
        bnnsample.models.mlp(depth=1), (x, np.sin(x[:, 0])), width=128, coordinates=coordinates,
        num_chains=4, num_warmup=20, num_samples=20, seed=seed, progress=False,
    )
    assert result.record.draws["f"].shape == (4, 20, 64, 1)
    print("finished")
    """
)
TIME_LIMIT = 900  # seconds: a hang lasts for ever, a busy machine only long


def watch(coordinates, seed):
    """One multi-chain run in a process of its own; ``TimeoutExpired`` if it hangs."""
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    environment |= {"JAX_PLATFORMS": "cpu", "PYTHONPATH": REPOSITORY}
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, coordinates, str(seed)],
        cwd=REPOSITORY,
        env=environment,
        timeout=TIME_LIMIT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["finished"]


@pytest.mark.parametrize(
    "coordinates",
    ["collapsed", *(pytest.param(c, marks=pytest.mark.slow) for c in ("standard", "repriorised"))],
)
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_multi_chain_runs_never_hang(coordinates, seed):
    watch(coordinates, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("coordinates", COORDINATES)
def test_sixty_multi_chain_runs_never_hang(coordinates, seed):
    watch(coordinates, seed + 100)


def test_a_chain_that_rejects_everything_does_not_take_endless_trajectories():
    """Dual averaging drives the step size to zero there; a quarter turn then had 10^6 steps."""
    parameters = {**INFINITE_HMC.defaults, "step_size": 1e-6}
    step_size, num_steps = jax.jit(_trajectory, static_argnums=2)(
        jax.random.key(0), parameters, jnp.float32
    )
    assert num_steps == MOST_STEPS
    assert step_size <= 1.1e-6


@pytest.mark.slow
def test_the_default_call_on_noisy_data_with_few_units():
    """Its warm-up once stood still: noise of 0.5, 32 units, 200 points."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 5)).astype(np.float32)
    y = (np.sin(x[:, 0]) + 0.5 * rng.normal(size=200)).astype(np.float32)
    result = bnnsample.run(mlp(), (x, y), width=32, num_samples=50, progress=False)
    record = result.record
    assert record.warmup_gradients < 32 * 4 * 500
    assert record.sample_stats["acceptance_rate"].mean() > 0.6
    # Classical: the residual noise of 200 points is known to 5%.
    assert 0.4 < record.draws["noise_scale"].mean() < 0.65


def test_a_signal_in_a_fresh_process_returns_the_draws():
    """A real Ctrl-C, which arrives while the device computes."""
    script = textwrap.dedent(
        """
        import os, signal, threading, warnings
        signal.signal(signal.SIGINT, signal.default_int_handler)
        import numpy as np
        import bnnsample
        x = np.random.default_rng(0).normal(size=(64, 5)).astype(np.float32)
        class Progress:
            def start(self, phase, total): pass
            def close(self): pass
            def update(self, steps, info):
                if not hasattr(self, "timer"):
                    kill = lambda: os.kill(os.getpid(), signal.SIGINT)
                    self.timer = threading.Timer(1.2, kill)
                    self.timer.start()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = bnnsample.run(
                bnnsample.models.mlp(depth=1), (x, x[:, 0]), width=128, num_chains=2,
                num_warmup=0, num_samples=10**6, keep="none", progress=Progress(),
                kernel_options={"step_size": 0.1},
            )
        assert any("interrupted" in str(w.message) for w in caught)
        assert result.record.interrupted
        lengths = {a.shape[1] for a in result.record.draws.values()}
        assert len(lengths) == 1
        print("returned", *lengths)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": REPOSITORY},
        timeout=TIME_LIMIT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("returned")


# --- a backend that computes wrong numbers


def test_this_backend_is_right():
    check_backend.__wrapped__()
    check_backend.__wrapped__("cpu")


def test_the_check_runs_once_per_process(monkeypatch):
    check_backend("cpu")
    monkeypatch.setattr(_known_answer.jnp, "sum", lambda *a, **k: pytest.fail("ran again"))
    check_backend("cpu")


@pytest.mark.parametrize("factor", [0.4, 1.05, 0.0, np.nan])
def test_a_wrong_backend_is_refused_with_its_versions(monkeypatch, factor):
    right = jnp.sum
    wrong = lambda a, axis: right(a, axis=axis) * jnp.asarray(factor, a.dtype)  # noqa: E731
    monkeypatch.setattr(_known_answer.jnp, "sum", wrong)
    with pytest.raises(BackendError, match=r"relative error") as caught:
        check_backend.__wrapped__("cpu")
    for word in (jax.__version__, jax.lib.__version__, "'cpu'", "constraints.txt"):
        assert word in str(caught.value)


def test_run_asks_the_backend(monkeypatch):
    def refuse(platform):
        raise BackendError(f"wrong on {platform}")

    monkeypatch.setattr("bnnsample._run.check_backend", refuse)
    with pytest.raises(BackendError, match="wrong on cpu"):
        run()
