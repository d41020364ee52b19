"""What kernels of infinite width cost, beside the least that they could.

Prints, for ReLU networks of fully connected layers, the seconds of the NNGP and NTK of ``x1`` with
``x2`` and of ``x1`` with itself, over those of one matrix product ``x1 @ x2.T`` and one elementwise
``arctan2`` for every layer, timed in turn; the temporary bytes of the compiled programs, for one
layer and for many; and seconds and bytes of a convolutional network with and without an average
over positions at its end.

    python -m experiments.infinite_cost            # n = 4096, and 10,000 with itself
    python -m experiments.infinite_cost --quick    # n = 1024
"""

import argparse
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import ntk
from experiments._options import whole
from ntk.layers import Activation, Conv, Dense, Flatten, GlobalAvgPool, Serial


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="n = 1024 alone")
    parser.add_argument("--depth", type=whole(1), default=3, help="hidden layers (default 3)")
    parser.add_argument("--repeats", type=whole(1), default=5, help="rounds of timing (default 5)")
    arguments = parser.parse_args()
    n = 1024 if arguments.quick else 4096
    x1, x2 = images(n, (784,), 0), images(n, (784,), 1)
    kernel = ntk.infinite_kernel(fully_connected(arguments.depth))
    least, cross, own = in_turn(
        arguments.repeats,
        lambda: at_least(x1, x2, arguments.depth),
        lambda: kernel(x1, x2),
        lambda: kernel(x1),
    )
    print(f"{arguments.depth} hidden layers of ReLU, inputs [{n}, 784], float32")
    print(f"  one product and {arguments.depth} arctan2   {least:8.3f} s")
    print(f"  NNGP and NTK, x1 with x2   {cross:8.3f} s   {cross / least:5.2f} times that")
    print(f"  x1 with itself             {own:8.3f} s   {own / cross:5.2f} of x1 with x2")
    for depth in (1, 3, 12):
        program = jax.jit(ntk.infinite_kernel(fully_connected(depth)))
        analysis = program.lower(x1, x2).compile().memory_analysis()
        share = analysis.temp_size_in_bytes / (4 * n * n)
        print(f"  temporary memory at depth {depth:2}  {share:5.2f} of one kernel's")
    if not arguments.quick:
        many = images(10_000, (784,), 2)
        print(f"  10,000 with itself         {in_turn(1, lambda: kernel(many))[0]:8.3f} s")
    pictures = images(16 if arguments.quick else 64, (16, 16, 3), 3)
    for name, ending in (("flattened", Flatten()), ("averaged", GlobalAvgPool())):
        convolutional = ntk.infinite_kernel(with_convolutions(ending))
        seconds = in_turn(2, lambda k=convolutional: k(pictures))[0]
        print(f"3 convolutions of {list(pictures.shape)}, {name:9} {seconds:8.3f} s")


def fully_connected(depth: int) -> Serial:
    layers = Dense(2**0.5, 0.1), Activation("relu")
    return Serial(*depth * layers, Dense())


def with_convolutions(ending: Any) -> Serial:
    hidden = [
        layer
        for _ in range(3)
        for layer in (Conv((3, 3), 1, "SAME", 2**0.5, 0.1), Activation("relu"))
    ]
    return Serial(*hidden, ending, Dense())


def images(n: int, shape: tuple[int, ...], seed: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, *shape)), jnp.float32)


@jax.jit
def _least(x1: jax.Array, x2: jax.Array, sines: tuple[jax.Array, ...]) -> jax.Array:
    found = x1 @ x2.T
    for sine in sines:
        found = jnp.arctan2(found, sine)
    return found


def at_least(x1: jax.Array, x2: jax.Array, depth: int) -> jax.Array:
    sine = jnp.ones((), x1.dtype)
    return _least(x1, x2, (sine,) * depth)


def in_turn(repeats: int, *calls: Any) -> list[float]:
    """The least seconds of every call, run in turn; compiled beforehand."""
    for call in calls:
        jax.block_until_ready(call())
    best = [float("inf")] * len(calls)
    for _ in range(repeats):
        for k, call in enumerate(calls):
            start = time.perf_counter()
            jax.block_until_ready(call())
            best[k] = min(best[k], time.perf_counter() - start)
    return best


if __name__ == "__main__":
    main()
