"""A known-answer check of the backend: a compiler that computes wrong numbers must not pass."""

import functools

import jax
import jax.numpy as jnp
import numpy as np


class BackendError(RuntimeError):
    """The JAX backend computed a wrong number for a case whose answer is known."""


@functools.cache
def check_backend(platform: str | None = None) -> None:
    """Check once per process and platform that JAX computes a reduction in nested vmaps right.

    jaxlib 0.10.2 fuses a sum over a product along a middle axis inside nested vmaps into
    a kernel that is wrong by more than half on CPU, silently, and only at real shapes; so the
    check runs at a real shape (2, 64, 64) with 10 outputs. It costs a few milliseconds.

    Raises:
        BackendError: the compiled result differs from NumPy's.
    """
    platform = platform or jax.default_backend()
    device = jax.local_devices(backend=platform)[0]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 64, 64)).astype(np.float32)
    g = rng.standard_normal((10, 2, 64, 64)).astype(np.float32)
    w = rng.standard_normal((64, 32)).astype(np.float32)

    def one(x_i, g_i):
        return jnp.sum(x_i * g_i, axis=0) @ w

    # The first call may be within a function being traced.
    with jax.ensure_compile_time_eval(), jax.default_device(device):
        nested = jax.jit(jax.vmap(lambda g_o: jax.vmap(one)(x, g_o)))
        got = np.asarray(nested(g), dtype=np.float64)
    expected = np.sum(x[None].astype(np.float64) * g, axis=2) @ w
    error = np.linalg.norm(got - expected) / np.linalg.norm(expected)
    # TF32 and bfloat16 products are allowed; a wrong kernel is off by 0.6 and more.
    if not error < 2e-2:
        raise BackendError(
            f"the JAX backend {platform!r} (jax {jax.__version__}, jaxlib "
            f"{jax.lib.__version__}) computes a known case wrong, relative error {error:.2g}; "
            "install the versions in constraints.txt. With jaxlib 0.10.2 on CPU, setting "
            "XLA_FLAGS=--xla_cpu_experimental_ynn_fusion_type= before importing jax also helps"
        )
