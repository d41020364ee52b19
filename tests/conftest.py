"""Strict JAX for every test: 64-bit on, no silent promotion of ranks or dtypes."""

import atexit
import os
import pathlib
import shutil
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    # Tests run the same programs again and again: workers, and the processes that tests start,
    # share what one of them has compiled.
    _compiled_programs = tempfile.mkdtemp(prefix="bnnsample-tests-")
    atexit.register(shutil.rmtree, _compiled_programs, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _compiled_programs
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
    # What is read back names features of the processor, line after line.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import pytest

from ntk._tiles import _compiled

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# Every compiled program takes some of a process's memory mappings, of which Linux allows 65530;
# beyond them XLA crashes.
MOST_MAPPINGS = 20_000
# Of XLA on a CPU: its older emitters of loops, and programs in one part. They halve the time to
# compile, at the same speed. Not for users: those emitters clamp the indices of a gather in the
# indices' own dtype, so that bytes into a longer table go wrong.
QUICK_FLAGS = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"


def pytest_configure(config):
    """Tests run chains far too short to be good; those of the warnings ask for them.

    Not in pyproject.toml: pytest would import the library before the lines above. XLA reads its
    flags at the first use of a device, which is later.
    """
    config.addinivalue_line("filterwarnings", "ignore::bnnsample.SamplingWarning")
    if "not slow" in config.option.markexpr:
        os.environ["XLA_FLAGS"] = f"{QUICK_FLAGS} {os.environ.get('XLA_FLAGS', '')}"


def pytest_runtest_setup(item):
    """The default suite compiles for seconds what runs for milliseconds: quickly, then.

    Tests of long programs are marked ``optimized``, and slow ones are always compiled in full.
    """
    in_full = any(item.get_closest_marker(name) for name in ("optimized", "slow"))
    jax.config.update("jax_disable_most_optimizations", not in_full)


@pytest.fixture(autouse=True)
def _room_for_programs():
    yield
    mappings = pathlib.Path("/proc/self/maps")
    if mappings.exists() and mappings.read_bytes().count(b"\n") > MOST_MAPPINGS:
        jax.clear_caches()
        _compiled.cache_clear()
