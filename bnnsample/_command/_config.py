"""The description of a run in a TOML file: its tables, checked by name."""

import inspect
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpyro

from bnnsample._arguments import shown
from bnnsample._command._data import KEYS as DATA_KEYS
from bnnsample._command._data import Data, read_data
from bnnsample._command._errors import REFUSALS, CommandError, one_line
from bnnsample._run import run
from bnnsample._scale import PRIORS
from bnnsample.likelihoods import Likelihood
from bnnsample.models import Model
from bnnsample.results._rebuild import LIKELIHOODS, MODELS, with_priors

TABLES = ("model", "likelihood", "data", "run")
# Arguments of ``run`` that no plain value stands for.
_NOT_PLAIN = ("model", "data", "likelihood", "x_eval", "init", "devices")
RUN_KEYS = tuple(name for name in inspect.signature(run).parameters if name not in _NOT_PLAIN)
# A file has no dtype: JAX's default.
PRECISION = "float32"


class Config(NamedTuple):
    """What ``bnnsample.run`` is called with."""

    model: Model
    likelihood: Likelihood | None
    data: Data
    arguments: dict[str, Any]

    @property
    def checkpoint_dir(self) -> Path | None:
        return self.arguments.get("checkpoint_dir")


def read_config(path: Path) -> Config:
    """The run that a file describes; paths in it are relative to the file.

    Raises:
        CommandError: a file that cannot be read, or a table, key or value that cannot be meant.
    """
    tables = _tables(path)
    arguments = _keys("run", tables["run"], RUN_KEYS, needed=("width",))
    arguments.setdefault("precision", PRECISION)
    if "checkpoint_dir" in arguments:
        arguments["checkpoint_dir"] = _path(path, arguments["checkpoint_dir"])
    model = _made("model", tables["model"], MODELS)
    given = tables.get("likelihood")
    likelihood = None if given is None else _made("likelihood", given, LIKELIHOODS)
    data = read_data(_keys("data", tables["data"], DATA_KEYS), path.parent)
    if likelihood is None and data.are_labels:
        raise CommandError(
            "[data] has labels as targets: give [likelihood] with name = "
            + '"Categorical", or "Bernoulli" for two classes'
        )
    return Config(model, likelihood, data, arguments)


def _tables(path: Path) -> dict[str, dict[str, Any]]:
    try:
        with path.open("rb") as file:
            tables = tomllib.load(file)
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise CommandError(f"{path} is not TOML: {error}") from error
    for name, table in tables.items():
        if name not in TABLES:
            raise CommandError(f"unknown table [{name}]; expected {_listed(TABLES)}")
        if not isinstance(table, dict):
            raise CommandError(f"[{name}] must be a table, got {shown(table)}")
    for name in ("model", "data", "run"):
        if name not in tables:
            raise CommandError(f"{path} has no table [{name}]")
    return tables


def _keys(
    table: str, given: Mapping[str, Any], allowed: tuple[str, ...], needed: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The table itself, all of its keys known."""
    for key in given:
        if key not in allowed:
            raise CommandError(f"unknown key {key!r} in [{table}]; expected {_listed(allowed)}")
    for key in needed:
        if key not in given:
            raise CommandError(f"[{table}] needs {key}")
    return dict(given)


def _made(table: str, given: Mapping[str, Any], makers: Mapping[str, Callable[..., Any]]) -> Any:
    """What the constructor of ``makers`` called ``name`` makes of the other keys."""
    name = given.get("name")
    if not isinstance(name, str) or name not in makers:
        raise CommandError(f"[{table}] name must be one of {', '.join(makers)}, got {shown(name)}")
    maker = makers[name]
    _keys(table, given, ("name", *inspect.signature(maker).parameters))
    arguments = {key: _value(table, key, value) for key, value in given.items() if key != "name"}
    try:
        return maker(**arguments)
    except REFUSALS as error:
        raise CommandError(f"[{table}] {one_line(error)}") from error


def _value(table: str, key: str, value: Any) -> Any:
    """A plain value, or the prior that stands for it."""
    try:
        # Of its arguments: a negative scale, say.
        with numpyro.validation_enabled():
            return with_priors(value)
    except (LookupError, TypeError, ValueError) as error:
        known = (
            f"{family}({', '.join(PRIORS[family].arg_constraints)})" for family in sorted(PRIORS)
        )
        reason = "" if isinstance(error, LookupError) else f": {one_line(error)}"
        raise CommandError(
            f"[{table}] {key}: {shown(value)} is not a prior{reason}; distribution must be one of "
            f"{', '.join(known)}, each with its arguments"
        ) from error


def _path(config: Path, value: Any) -> Path:
    if not isinstance(value, str):
        raise CommandError(f"[run] checkpoint_dir must be a path, got {shown(value)}")
    return config.parent / Path(value).expanduser()


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names)
