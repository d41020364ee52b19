"""Progress of a run, as a replaceable object."""

import sys
from typing import Any, Protocol

from tqdm.auto import tqdm


class Progress(Protocol):
    """What ``run(progress=...)`` accepts beside True and False."""

    def start(self, phase: str, total: int) -> None:
        """A phase (``"warm-up"``, ``"proposals"``, ``"sampling"``) of ``total`` steps begins."""

    def update(self, steps: int, info: dict[str, Any]) -> None:
        """``steps`` more are done; ``info`` has the recent ``acceptance`` and ``step_size``."""

    def close(self) -> None:
        """The phase is over, or broken off."""


class Silent:
    """No progress."""

    def start(self, phase: str, total: int) -> None:
        pass

    def update(self, steps: int, info: dict[str, Any]) -> None:
        pass

    def close(self) -> None:
        pass


class Bar:
    """A tqdm bar with rate, acceptance and time left."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._is_fresh = True

    def start(self, phase: str, total: int) -> None:
        self._bar = tqdm(total=total, desc=phase, unit="draw", dynamic_ncols=True)
        self._is_fresh = True

    def note(self, text: str) -> None:
        """A line above the bar."""
        tqdm.write(text, file=sys.stderr)

    def update(self, steps: int, info: dict[str, Any]) -> None:
        if self._is_fresh:
            # The first chunk's time is mostly compilation: the rate counts from its end.
            self._bar.reset()
            self._is_fresh = False
        self._bar.set_postfix(info, refresh=False)
        self._bar.update(steps)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def state_memory(progress: Progress, statement: str) -> None:
    """What a run will keep and need, for a progress that takes notes: it has ``note(text)``."""
    note = getattr(progress, "note", None)
    if callable(note):
        note(statement)


def resolve_progress(progress: Any) -> Progress:
    """``True``: a bar; ``False``: none; an object with ``start``, ``update``, ``close``: itself."""
    if progress is True:
        return Bar()
    if progress is False or progress is None:
        return Silent()
    if all(callable(getattr(progress, name, None)) for name in ("start", "update", "close")):
        return progress
    raise TypeError(
        "progress must be True, False or an object with start(phase, total), "
        f"update(steps, info) and close(), got {type(progress).__name__}"
    )
