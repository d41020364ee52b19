"""Langevin with and without repriorisation against the number of points, and their noise.

Reproduces the ablations of Hron et al. 2022 (arXiv:2206.07673): effective samples and R-hat of
underdamped Langevin in standard and in repriorised coordinates as the data grow in number, and as
their noise falls. Its theorem is of fixed data and growing width: the gain should shrink as the
number of points comes near the width, and as the noise leaves less to learn. We found so: digits,
width 256, along outputs at least 30 times the effective samples with 16 and 64 points, at least 16,
5.9 and 2.0 times at noise scales .2, .5 and 1; with 256 points neither coordinates had mixed.

    python -m experiments.langevin_data --quick
    python -m experiments.langevin_data --width 1024 --n-trains 32 128 512

Everything is measured as in ``langevin_width``, with one number of points and one noise scale held
while the other is swept. Cells already in the CSV of ``--out`` are kept. Writes a CSV, a PNG and a
JSON of settings and versions.
"""

import argparse
from pathlib import Path

import jax

from experiments import _langevin_sweep
from experiments._langevin import Cell, Row
from experiments._options import positive, whole

NAME = "langevin_data"
N_TRAIN, NOISE = 128, 0.1


def main(arguments: list[str] | None = None) -> list[Row]:
    """Run the experiment from the command line; returns the table's rows."""
    options = parse(arguments)
    cells = [
        Cell(options.data, options.network, options.width, n, noise)
        for n, noise in dict.fromkeys(
            [(n, NOISE) for n in options.n_trains] + [(N_TRAIN, s) for s in options.noise_scales]
        )
    ]
    return _langevin_sweep.sweep(cells, options, NAME, plot)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Command-line options."""
    parser = _langevin_sweep.parser_of(__doc__, NAME)
    parser.add_argument("--network", choices=("fcn-1", "fcn-3"), default="fcn-1")
    parser.add_argument("--width", type=whole(1))
    parser.add_argument("--n-trains", nargs="+", type=whole(2), help="numbers of points")
    parser.add_argument(
        "--noise-scales", nargs="+", type=positive, help="standard deviations of the noise"
    )
    options = _langevin_sweep.checked(parser, arguments)
    options.width = options.width or (256 if options.quick else 512)
    options.n_trains = options.n_trains or ([32, 128] if options.quick else [16, 32, 64, 128, 256])
    options.noise_scales = options.noise_scales or (
        [0.1, 0.5] if options.quick else [0.05, 0.1, 0.2, 0.5, 1.0]
    )
    return options


def plot(rows: list[Row], path: Path) -> None:
    """A row of panels against the number of points, one against the noise."""
    lines = {
        "points": ("n_train", [row for row in rows if row["noise"] == NOISE]),
        "noise": ("noise", [row for row in rows if row["n_train"] == N_TRAIN]),
    }
    _langevin_sweep.plot_lines({k: v for k, v in lines.items() if v[1]}, path)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", False)
    main()
