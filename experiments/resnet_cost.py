"""What a ResNet costs: seconds and memory of a gradient, and a few steps of a run.

The images, 32 x 32 x 3 as in CIFAR-10, and their ten targets are noise of a fixed seed: costs do
not depend on them. The collapsed gradient is compiled and timed by itself, XLA says what memory it
plans for it, and ``bnnsample.run`` takes a few steps of infinite HMC with one chain.

    python -m experiments.resnet_cost --depth 20 --width 16 --n-train 32
"""

import argparse
import resource
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import bnnsample
from bnnsample.chains._mapping import quiet_blas
from bnnsample.coordinates import Collapsed
from bnnsample.likelihoods import Gaussian
from bnnsample.models import Model
from experiments._options import whole

OUTPUTS = 10
MIB = 2**20


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Print and return the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--depth", type=whole(8), default=20, help="6 k + 2: 8, 14, 20, ...")
    parser.add_argument("--width", type=whole(1), default=16, help="of the first group of three")
    parser.add_argument("--n-train", type=whole(1), default=32)
    parser.add_argument("--size", type=whole(1), default=32, help="pixels on a side")
    parser.add_argument("--steps", type=whole(1), default=3, help="draws, of three gradients each")
    parser.add_argument("--quick", action="store_true", help="ResNet-8, 4 images of 8 pixels")
    options = parser.parse_args(arguments)
    if options.quick:
        options.depth, options.width, options.n_train, options.size = 8, 4, 4, 8
    try:
        model = bnnsample.models.resnet(options.depth)
    except ValueError as error:
        parser.error(f"--{error}")
    x, y = images(options.n_train, options.size)
    print(
        f"ResNet-{options.depth}, width {options.width}, {options.n_train} images of noise, "
        f"{options.size} x {options.size} x 3, float32 on {jax.default_backend()}"
    )
    figures = gradient(model, x, y, options.width)
    show(figures)
    run = steps(model, x, y, options)
    # Linux counts in KiB.
    run["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    show(run)
    return figures | run


def show(figures: dict[str, float]) -> None:
    """One figure a line."""
    for name, value in figures.items():
        print(f"  {name:<28}{value:,.6g}", flush=True)


def images(n: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Standard normal pixels and targets shifted one-hot, of a fixed seed."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, size, size, 3)).astype(np.float32)
    y = np.eye(OUTPUTS, dtype=np.float32)[rng.integers(OUTPUTS, size=n)] - np.float32(1 / OUTPUTS)
    return x, y


def gradient(
    model: Model, x: np.ndarray, y: np.ndarray, width: int, repeats: int = 3
) -> dict[str, float]:
    """One value and gradient of the collapsed potential: the fastest time, and XLA's memory."""
    posterior = Collapsed(model, Gaussian(0.1), width, jnp.asarray(x), jnp.asarray(y))
    position = jax.jit(posterior.prior_draw)(jax.random.key(0))
    start = time.perf_counter()
    lowered = jax.jit(lambda p, q: jax.value_and_grad(p.potential)(q)).lower(posterior, position)
    compiled = lowered.compile()
    compile_seconds = time.perf_counter() - start
    memory: Any = compiled.memory_analysis()
    seconds = []
    with quiet_blas(jax.default_backend()):
        for _ in range(repeats + 1):
            start = time.perf_counter()
            jax.block_until_ready(compiled(posterior, position))
            seconds.append(time.perf_counter() - start)
    return {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(position)),
        "gradient_compile_seconds": compile_seconds,
        "gradient_seconds": min(seconds[1:]),
        "gradient_temporary_mib": memory.temp_size_in_bytes / MIB,
        "gradient_arguments_mib": memory.argument_size_in_bytes / MIB,
    }


def steps(model: Model, x: np.ndarray, y: np.ndarray, options: Any) -> dict[str, float]:
    """A few draws by ``bnnsample.run``, observed at one image."""
    start = time.perf_counter()
    result = bnnsample.run(
        model,
        (x, y),
        width=options.width,
        likelihood=Gaussian(0.1),
        kernel_options={"step_size": 0.05, "num_integration_steps": 3},
        num_chains=1,
        num_warmup=0,
        num_samples=options.steps,
        x_eval=x[:1],
        progress=False,
    )
    total = time.perf_counter() - start
    return {
        "run_gradients": result.num_gradients,
        "run_seconds_per_gradient": result.sampling_seconds / result.num_gradients,
        "run_compile_seconds": result.compile_seconds,
        "run_total_seconds": total,
        "run_acceptance": float(result.idata.sample_stats["acceptance_rate"].values.mean()),
    }


if __name__ == "__main__":
    main()
