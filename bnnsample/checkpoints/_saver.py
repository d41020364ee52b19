"""States of a run on disk: each complete or absent, the latest wins (Orbax)."""

import time
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from bnnsample._processes import to_host

Pytree = Any
Notes = dict[str, Any]
KEPT = 2
MOST_SHARE = 0.03


class Checkpoints(Protocol):
    """Where a run's phases leave their states, and find them."""

    def is_due(self) -> bool:
        """Whether the last save is long enough ago."""

    def save(self, phase: str, notes: Notes, state: Pytree) -> None:
        """Save a phase's arrays and what it notes beside them (JSON), in the last ones' place."""

    def notes(self, phase: str) -> Notes | None:
        """What ``phase`` noted; None: it has not saved, or another one after it."""

    def restore(self, template: Pytree) -> Pytree:
        """The latest arrays; ``template`` has their structure and shapes."""

    def close(self) -> None:
        """Let go of the folder."""


class NoCheckpoints:
    """Nothing is saved, and nothing found."""

    def is_due(self) -> bool:
        return False

    def save(self, phase: str, notes: Notes, state: Pytree) -> None:
        pass

    def notes(self, phase: str) -> Notes | None:
        return None

    def restore(self, template: Pytree) -> Pytree:
        raise LookupError("nothing was saved")

    def close(self) -> None:
        pass


class OrbaxCheckpoints:
    """Numbered checkpoints in a folder, written beside it and renamed; the last two are kept.

    One process has them, whatever others there are; arrays leave their devices before they are
    saved, so that a run may go on with others.

    They are due ``every_seconds``, and no more often than that saving takes ``MOST_SHARE`` of the
    time, unless every 0 seconds are asked for.

    A state is saved leaf by leaf, under numbers: containers are the program's own. Leaves without
    elements, which Orbax does not take, are left out. A template's leaves are arrays or shapes.
    """

    def __init__(self, directory: Path, every_seconds: float):
        self._ocp = _orbax()
        directory.mkdir(parents=True, exist_ok=True)
        options = self._ocp.CheckpointManagerOptions(
            max_to_keep=KEPT,
            enable_async_checkpointing=False,
            create=False,
            cleanup_tmp_directories=True,
            multiprocessing_options=self._ocp.options.MultiprocessingOptions(
                primary_host=jax.process_index(), active_processes={jax.process_index()}
            ),
        )
        self._manager = self._ocp.CheckpointManager(directory.absolute(), options=options)
        self._every, self._last = every_seconds, time.monotonic()
        latest = self._manager.latest_step()
        self._next = 0 if latest is None else latest + 1
        self._save_seconds = 0.0

    def is_due(self) -> bool:
        interval = self._every and max(self._every, self._save_seconds / MOST_SHARE)
        return time.monotonic() - self._last >= interval

    def save(self, phase: str, notes: Notes, state: Pytree) -> None:
        start = time.monotonic()
        args = self._ocp.args.Composite(
            state=self._ocp.args.StandardSave(to_host(_numbered(state))),
            notes=self._ocp.args.JsonSave({"phase": phase, **notes}),
        )
        self._manager.save(self._next, args=args, force=True)
        self._next += 1
        self._last = time.monotonic()
        self._save_seconds = self._last - start

    def notes(self, phase: str) -> Notes | None:
        latest = self._manager.latest_step()
        if latest is None:
            return None
        args = self._ocp.args.Composite(notes=self._ocp.args.JsonRestore())
        notes = dict(self._read(latest, args)["notes"])
        return notes if notes.pop("phase") == phase else None

    def restore(self, template: Pytree) -> Pytree:
        shapes = jax.eval_shape(_numbered, template)
        args = self._ocp.args.Composite(state=self._ocp.args.StandardRestore(shapes))
        stored = self._read(self._manager.latest_step(), args)["state"]
        leaves, structure = jax.tree.flatten(template)
        restored = [
            like(stored[str(i)], leaf) if leaf.size else jnp.zeros(leaf.shape, leaf.dtype)
            for i, leaf in enumerate(leaves)
        ]
        return jax.tree.unflatten(structure, restored)

    def _read(self, step: int | None, args: Any) -> Any:
        try:
            return self._manager.restore(step, args=args)
        except Exception as error:
            # Written whole, so damaged since, in any way.
            raise ValueError(
                f"{self._manager.directory}/{step} is damaged: {error}. Without it the run goes "
                "on from the state before it, or starts anew"
            ) from error

    def close(self) -> None:
        """Let go of the folder."""
        self._manager.close()


def _orbax() -> Any:
    try:
        import orbax.checkpoint as ocp  # noqa: PLC0415
    except ImportError:
        raise ImportError(
            "checkpoint_dir needs Orbax: pip install 'bnnsample[checkpoints]'"
        ) from None
    return ocp


def _numbered(tree: Pytree) -> dict[str, Any]:
    """Leaves with elements under their numbers; random keys as their data."""
    return {str(i): without_key(leaf) for i, leaf in enumerate(jax.tree.leaves(tree)) if leaf.size}


def without_key(leaf: Any) -> Any:
    """A random key's data; another leaf as it is."""
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def like(stored: Any, leaf: Any) -> Any:
    """What was stored, as the template's leaf: a key, an array on the host or on the device."""
    if _is_key(leaf):
        return jax.random.wrap_key_data(jnp.asarray(stored))
    return np.asarray(stored) if isinstance(leaf, np.ndarray) else jnp.asarray(stored)


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
