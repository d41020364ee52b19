"""Langevin with and without repriorisation against width: fully connected and residual networks.

Reproduces figure 1 and its companions of Hron et al. 2022 (arXiv:2206.07673): effective samples
and R-hat of underdamped Langevin, the paper's sampler, along 100 fixed random directions of the
parameters and of the outputs, in standard and in repriorised coordinates; with the mean acceptance
and what the map costs per gradient. A step takes one gradient. The paper found up to 50 times the
effective samples, at all widths, and more the wider the network.

We found, on digits with one hidden layer, 3.7, 4.0, 13.7 and at least 125 times along outputs at
widths 64, 128, 256 and 512; along parameters at least 23 and 174 times at 256 and 512, and at 64
and 128 no gain that chains of 64,000 gradients could show, since neither mixes.

    python -m experiments.langevin_width --quick
    python -m experiments.langevin_width --networks fcn-1 --widths 64 256 1024 4096
    python -m experiments.langevin_width --data cifar10 --data-dir cifar-10-batches-py

Langevin's energy differences are those of sums over all parameters, which float32 rounds: beyond a
quarter of a million of them (width 4096 on digits) take ``--dtype float64``.

Regression on shifted one-hot labels. Step size and damping are the best of a grid, for parameters
and function each on its own, and both start from draws of the posterior. Effective samples are
medians over directions, R-hat the largest: above 1.05 effective samples are an upper bound, and
``--longest`` measures the best setting again with chains of four times the length each time. Cells
already in the CSV of ``--out`` are kept. Writes a CSV, a PNG and a JSON of settings and versions.
"""

import argparse
from pathlib import Path

import jax

from experiments import _langevin_sweep
from experiments._langevin import NETWORKS, Cell, Row
from experiments._options import positive, whole

NAME = "langevin_width"
WIDTHS = {
    "fcn-1": (64, 128, 256, 512, 1024, 2048, 4096),
    "fcn-3": (64, 128, 256, 512, 1024),
    "resnet-8": (4, 8, 16, 32, 64),
}
QUICK_WIDTHS = {"fcn-1": (64, 256, 1024), "fcn-3": (32, 128), "resnet-8": (4, 8)}
# A gradient of a residual network is dear.
N_TRAIN = {"fcn-1": 128, "fcn-3": 128, "resnet-8": 32}


def main(arguments: list[str] | None = None) -> list[Row]:
    """Run the experiment from the command line; returns the table's rows."""
    options = parse(arguments)
    cells = [
        Cell(options.data, network, width, options.n_train or N_TRAIN[network], options.noise_scale)
        for network in options.networks
        for width in options.widths or (QUICK_WIDTHS if options.quick else WIDTHS)[network]
    ]
    return _langevin_sweep.sweep(cells, options, NAME, plot)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Command-line options."""
    parser = _langevin_sweep.parser_of(__doc__, NAME)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--noise-scale", type=positive, default=0.1, help="standard deviation")
    parser.add_argument("--widths", nargs="+", type=whole(1), help="of every network")
    parser.add_argument("--n-train", type=whole(2))
    return _langevin_sweep.checked(parser, arguments)


def plot(rows: list[Row], path: Path) -> None:
    """A row of panels for each network."""
    names = dict.fromkeys(row["network"] for row in rows)
    lines = {n: ("width", [row for row in rows if row["network"] == n]) for n in names}
    _langevin_sweep.plot_lines(lines, path)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", False)
    main()
