"""A run's folder: which run it is, the states to go on from, and the draws."""

from pathlib import Path
from typing import IO, Any

import numpy as np

from bnnsample._arguments import checked_number, checked_path
from bnnsample._processes import all_see, are_several, from_first
from bnnsample.checkpoints._identity import Identity, claim
from bnnsample.checkpoints._saver import Checkpoints, OrbaxCheckpoints
from bnnsample.checkpoints._shared import SharedCheckpoints

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

RUN, DRAWS = "run.json", "draws.zarr"


class RunDirectory:
    """``run.json``, ``states/`` and ``draws.zarr`` of one run; one run holds it at a time.

    Of several processes the first writes, and all must see the folder.

    Args:
        path: the folder.
        every_seconds: between checkpoints.
        identity: of the run.
        can_grow: a run of more draws is the same, gone on with.

    Raises:
        CheckpointMismatchError: it holds another run.
        BlockingIOError: another process is running it.
        ValueError: another process of this run does not see the folder.
    """

    def __init__(self, path: Path, every_seconds: float, identity: Identity, can_grow: bool):
        self.path = path
        self._lock: IO[str] | None = None
        self._own: OrbaxCheckpoints | None = None

        def hold() -> Identity:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / "lock").open("w")
            if not _locks(self._lock):
                raise BlockingIOError(
                    f"checkpoint_dir={str(self.path)!r} is in use by another process"
                )
            held = claim(self.path / RUN, identity, can_grow)
            self._own = OrbaxCheckpoints(self.path / "states", every_seconds)
            return held

        try:
            self.identity = from_first(hold)
            if not all_see((self.path / RUN).exists()):
                raise ValueError(
                    f"checkpoint_dir={str(self.path)!r} is not the same folder in every process: "
                    "it must lie on a file system that they share"
                )
        except BaseException:
            self.close()
            raise

    @property
    def checkpoints(self) -> Checkpoints:
        """Where states are saved."""
        if are_several():
            return SharedCheckpoints(self._own)
        assert self._own is not None
        return self._own

    @property
    def draws(self) -> Path:
        """The Zarr directory of draws."""
        return self.path / DRAWS

    def close(self) -> None:
        """Let another process have it."""
        if self._own is not None:
            self._own.close()
        if self._lock is not None:
            self._lock.close()


def _locks(file: IO[str]) -> bool:
    """Whether this process now holds the file, until it closes it or ends."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def checked_directory(path: Any, every_seconds: Any) -> tuple[Path | None, float]:
    """Where and how often, checked before anything is written."""
    seconds = checked_number("checkpoint_every", every_seconds, "a number of seconds")
    if not (np.isfinite(seconds) and seconds >= 0):
        raise ValueError(
            f"checkpoint_every must be a number of seconds, 0 or more, got {every_seconds!r}"
        )
    if path is None:
        return None, seconds
    path = checked_path("checkpoint_dir", path)
    from_first(lambda: _check_contents(path))
    return path, seconds


def _check_contents(path: Path) -> None:
    """Raise where a run cannot have its folder."""
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"checkpoint_dir={str(path)!r} is a file")
    entries = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
    if entries - {"lock"} and RUN not in entries:
        raise ValueError(
            f"checkpoint_dir={str(path)!r} has files of something else in it; give a folder "
            "that is empty, new, or an earlier run's"
        )
