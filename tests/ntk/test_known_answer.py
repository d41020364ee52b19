"""The known-answer check passes on a right backend and raises on a wrong one."""

import jax
import pytest

import ntk
from ntk import _known_answer


@pytest.fixture(autouse=True)
def fresh_cache():
    ntk.check_backend.cache_clear()
    yield
    ntk.check_backend.cache_clear()


@pytest.mark.optimized
def test_passes_here():
    assert ntk.check_backend() is None
    assert ntk.check_backend("cpu") is None


def test_runs_once_per_platform(monkeypatch):
    ntk.check_backend("cpu")
    monkeypatch.setattr(_known_answer.jax, "jit", None)
    ntk.check_backend("cpu")


def test_a_wrong_compiler_is_named(monkeypatch):
    def wrong(fn):
        return lambda *args: 1.5 * fn(*args)

    monkeypatch.setattr(_known_answer.jax, "jit", wrong)
    with pytest.raises(ntk.BackendError, match=f"jax {jax.__version__}"):
        ntk.check_backend("cpu")
    with pytest.raises(ntk.BackendError):
        ntk.check_backend("cpu")


def test_nan_is_wrong(monkeypatch):
    monkeypatch.setattr(_known_answer.jax, "jit", lambda fn: lambda *a: float("nan") * fn(*a))
    with pytest.raises(ntk.BackendError):
        ntk.check_backend("cpu")
