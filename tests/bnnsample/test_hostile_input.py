"""Hostile and careless input: every call runs, or raises an error of its own that says why.

The catalogue is ``hostile_inputs``; random calls are those of ``hostile_strategies``. Of each bad
input an error of the library's is wanted, which names the argument, before anything is compiled.
"""

import contextlib
import pathlib
import re
import traceback
import warnings

import hostile_inputs
import hostile_parts
import jax
import numpy as np
import pytest
from hostile_inputs import GOOD
from hostile_strategies import bad_calls, good_calls
from hypothesis import HealthCheck, given, settings

import bnnsample
import ntk
from bnnsample import _run
from bnnsample.chains._program import Program

LIBRARY = tuple(str(pathlib.Path(package.__file__).parent) for package in (bnnsample, ntk))
GROUPS = {
    group.__name__: group
    for group in (
        hostile_inputs.counts,
        hostile_inputs.names,
        hostile_inputs.numbers,
        hostile_inputs.widths,
        hostile_inputs.options,
        hostile_inputs.data,
        hostile_inputs.targets,
        hostile_parts.models,
        hostile_parts.own_models,
        hostile_parts.likelihoods,
        hostile_parts.own_likelihoods,
        hostile_parts.combinations,
        hostile_parts.starts,
    )
}
# Programs of one number, or of an array's one operation, with which JAX makes keys and checks run.
SMALL = {
    "stage", "broadcast_in_dim", "equal", "not_equal", "bitwise_and", "_reduce_all", "greater",
    "value", "_reduce_sum", "convert_element_type", "log_density", "add", "true_divide", "less",
    "_where", "multiply", "isfinite", "subtract", "_threefry_seed", "_threefry_split", "exp", "log",
    "dynamic_slice", "squeeze", "_reduce_min", "_reduce_max", "select_n", "less_equal", "negative",
}  # fmt: skip
QUICK = {"deadline": None, "derandomize": True, "database": None}
SUPPRESSED = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.large_base_example,
              HealthCheck.data_too_large]  # fmt: skip


class ReachedError(BaseException):
    """A bad input came as far as compilation."""


def refuse(*_, **__):
    raise ReachedError


@contextlib.contextmanager
def nothing_compiles():
    """No program of a run is compiled, and the backend not asked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Program, "__call__", refuse)
        patch.setattr(_run, "check_backend", refuse)
        patch.setattr(ntk.gp, "fit", refuse)
        yield


@pytest.fixture
def compiled():
    """Names of the programs that are compiled."""
    names = []

    def note(event, _, fun_name="", **__):
        if "backend_compile" in event:
            names.append(str(fun_name).removeprefix("jit(").removesuffix(")"))

    jax.monitoring.register_event_duration_secs_listener(note)
    yield names
    jax.monitoring.unregister_event_duration_listener(note)


def wrong_with(error, names):
    """What is wrong with how a bad input was refused; None: nothing."""
    if isinstance(error, ReachedError):
        return "reached compilation"
    if not isinstance(error, (TypeError, ValueError)):
        return f"raised {type(error).__name__}"
    raised_by = traceback.extract_tb(error.__traceback__)[-1].filename
    if not raised_by.startswith(LIBRARY):
        return f"raised in {raised_by}"
    if not any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", str(error)) for name in names):
        return f"does not name {' or '.join(names)}: {error}"
    return None


def outcome(make, names):
    """The same of a call that should be refused."""
    try:
        with nothing_compiles(), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            bnnsample.run(**{**GOOD, **make()})
    except (Exception, ReachedError) as error:
        return wrong_with(error, names)
    return "was accepted"


@pytest.mark.parametrize("group", GROUPS)
def test_every_bad_input_of_the_catalogue_is_refused(compiled, group):
    found = {bad.name: outcome(bad.make, [bad.argument]) for bad in GROUPS[group]()}
    assert len(found) == len(list(GROUPS[group]()))
    assert {name: wrong for name, wrong in found.items() if wrong is not None} == {}
    assert set(compiled) <= SMALL


def test_the_catalogue_is_large_and_its_inputs_distinct():
    every = hostile_inputs.every()
    assert len({bad.name for bad in every}) == len(every) >= 500
    assert f"{len(every)} bad inputs" in hostile_inputs.table(every)
    tried = {bad.argument for bad in every}
    assert {*_run.run.__kwdefaults__} - tried <= {"checkpoint_dir"}


@settings(max_examples=100, suppress_health_check=SUPPRESSED, **QUICK)
@given(bad_calls())
def test_a_random_bad_argument_is_refused(case):
    call, names = case
    assert outcome(lambda: call, names) is None


@pytest.mark.slow
@settings(max_examples=3000, suppress_health_check=SUPPRESSED, **QUICK)
@given(bad_calls(num_bad=1))
def test_many_random_bad_arguments_are_refused(case):
    call, names = case
    assert outcome(lambda: call, names) is None


@pytest.mark.slow
@settings(max_examples=1500, suppress_health_check=SUPPRESSED, **QUICK)
@given(bad_calls(num_bad=2))
def test_two_random_bad_arguments_are_refused(case):
    call, names = case
    assert outcome(lambda: call, names) is None


def check_good(call):
    result = bnnsample.run(**call)
    chains, samples = call["num_chains"], call["num_samples"]
    for name, array in result._record.draws.items():
        assert array.shape[:2] == (chains, samples), name
        assert np.isfinite(array).all(), name
    assert result._record.draws["f"].dtype == call["data"][0].dtype
    if call["keep"] != "none":
        assert np.isfinite(result.predict(call["data"][0]).mean).all()


@settings(max_examples=1, suppress_health_check=SUPPRESSED, **QUICK)
@given(good_calls())
def test_random_good_calls_run(call):
    check_good(call)


@pytest.mark.slow
@settings(max_examples=20, suppress_health_check=SUPPRESSED, **QUICK)
@given(good_calls())
def test_many_random_good_calls_run(call):
    check_good(call)


@pytest.mark.parametrize("made", ["file", "other files"])
def test_a_checkpoint_directory_in_the_way(tmp_path, made):
    if made == "file":
        (tmp_path / "run").write_text("mine")
    else:
        (tmp_path / "run").mkdir()
        (tmp_path / "run/notes.txt").write_text("mine")
    with pytest.raises((NotADirectoryError, ValueError), match="checkpoint_dir="):
        bnnsample.run(**GOOD, checkpoint_dir=tmp_path / "run")


@pytest.mark.parametrize("path", [3, 1.5, object(), ["run"], {"a": 1}, b"\xff\0", "a\0b", print])
def test_a_checkpoint_directory_that_is_no_path(path):
    wrong = outcome(lambda: {"checkpoint_dir": path}, ["checkpoint_dir"])
    assert wrong is None
