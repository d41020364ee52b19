"""A long run streamed to disk: memory as its draws pile up, and what its checkpoints cost.

One wide network, few points, many draws, all defaults of ``checkpoint_dir=``. After each chunk of
draws the process's resident memory is noted; flat means that draw 10^5 needs no more of it than
draw 10^4. Of the time of sampling, what is not spent inside the compiled program is spent on
leaving the device, writing and saving: more than checkpoints cost.

    python -m experiments.long_run --width 16384 --draws 100000
    python -m experiments.long_run --quick

Writes ``long_run.csv`` (draws, seconds, MiB) and a PNG.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

import bnnsample
from experiments import _data
from experiments._memory import MIB, resident_bytes
from experiments._options import folder, whole, write_settings
from experiments._plot import save
from experiments._rows import write_csv

COLUMNS = ("draws", "seconds", "mib")
TENTHS = 10


class Recorder:
    """A progress object that notes memory; see ``bnnsample.run(progress=)``."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._phase, self._started, self._draws = "", 0.0, 0

    def start(self, phase: str, total: int) -> None:
        self._phase, self._started, self._draws = phase, time.perf_counter(), 0

    def update(self, steps: int, info: Any) -> None:
        if self._phase == "sampling":
            self._draws += steps
            seconds = time.perf_counter() - self._started
            row = {"draws": self._draws, "seconds": seconds, "mib": resident_bytes() / MIB}
            self.rows.append(row)

    def close(self) -> None:
        pass


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Run the experiment from the command line; returns the noted rows."""
    options = parse(arguments)
    data = _data.load("diabetes", options.points, seed=0)
    recorder = Recorder()
    with tempfile.TemporaryDirectory(dir=options.out) as place:
        result = bnnsample.run(
            bnnsample.models.mlp(1, "gelu"),
            (data.x, data.y),
            width=options.width,
            likelihood=bnnsample.likelihoods.Gaussian(1.0),
            num_chains=options.chains,
            num_warmup=options.warmup,
            num_samples=options.draws,
            seed=0,
            progress=recorder,
            checkpoint_dir=Path(place) / "run",
        )
        size = sum(f.stat().st_size for f in Path(place).rglob("*") if f.is_file())
    rows = recorder.rows
    write_csv(options.out / "long_run.csv", rows, COLUMNS)
    write_settings(options.out / "long_run.json", options)
    plot(rows, options.out / "long_run.png")
    print("\n".join(report(rows, result, size)))
    return rows


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Command-line options."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--width", type=whole(1), default=None)
    parser.add_argument("--draws", type=whole(10), default=None, help="per chain")
    parser.add_argument("--warmup", type=whole(10), default=100)
    parser.add_argument("--chains", type=whole(1), default=1)
    parser.add_argument("--points", type=whole(1), default=16)
    parser.add_argument("--out", type=folder, default=Path("results/long_run"))
    parser.add_argument("--quick", action="store_true", help="a minute on 2 cores")
    options = parser.parse_args(arguments)
    options.width = options.width or (1024 if options.quick else 16384)
    options.draws = options.draws or (20_000 if options.quick else 100_000)
    options.out.mkdir(parents=True, exist_ok=True)
    return options


def report(rows: list[dict[str, Any]], result: bnnsample.Result, size: int) -> list[str]:
    """What was found, in lines."""
    draws, seconds, mib = (np.asarray([row[name] for row in rows]) for name in COLUMNS)
    tenths = tenths_of(draws, mib)
    settled = tenths[1:] or tenths
    # From the first chunk's end: before, the program is compiled.
    outside = 1 - result.sampling_seconds / (seconds[-1] - seconds[0])
    return [
        f"{draws[-1]:,.0f} draws per chain in {seconds[-1]:.0f} s; {size / MIB:.0f} MiB on disk",
        f"resident memory, medians of the run's tenths: {', '.join(f'{m:.0f}' for m in tenths)} "
        f"MiB; after the first at most {max(settled) / settled[0] - 1:+.1%} of the second's; "
        f"largest {mib.max():.0f} MiB",
        f"time outside the compiled program: {outside:.2%}",
    ]


def tenths_of(draws: np.ndarray, mib: np.ndarray) -> list[float]:
    """The median of each tenth of the draws: buffers come and go between one chunk and the next."""
    ends = np.arange(1, TENTHS) * draws[-1] / TENTHS
    parts = np.split(mib, np.searchsorted(draws, ends))
    return [float(np.median(part)) for part in parts if part.size]


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Memory against draws."""
    figure = Figure(figsize=(5, 3), layout="constrained")
    axis = figure.subplots()
    axis.plot([row["draws"] for row in rows], [row["mib"] for row in rows], color="#0b6e4f")
    axis.set(xlabel="draws per chain", ylabel="resident memory [MiB]", ylim=(0, None))
    axis.grid(True, alpha=0.2)
    save(figure, path)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", False)
    main()
