"""Flax Linen modules."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax import errors
from flax import linen as nn
from jax import Array

from bnnsample._lenient import lenient
from bnnsample.models._modules._binding import (
    Binding,
    Values,
    check_floating,
    joined,
    layer_of,
    name_of,
)
from bnnsample.models._modules._priors import key_of


class LinenBinding(Binding):
    """A Linen module; its parameters are the collection ``"params"``."""

    def __init__(
        self,
        module: nn.Module,
        shape: tuple[int, ...],
        dtype: Any,
        apply_kwargs: Mapping[str, Any],
        collections: Mapping[str, Any] | None,
    ):
        self.module, self.shape, self.dtype = module, shape, dtype
        self._kwargs, self._collections = dict(apply_kwargs), dict(collections or {})
        self._layers: dict[str, nn.Module] = {}
        variables, order = self._initialised()
        self._check_collections(variables, collections)
        leaves = _by_path(variables.get("params", {}))
        check_floating(leaves)
        self.shapes = {path: leaves[path].shape for path in order}
        self.linear_layers = tuple(
            path for path, layer in self._layers.items() if type(layer) is nn.Dense
        )

    def outputs(self, values: Values, x: Array, mark: Callable[[str, Any], Any]) -> Any:
        return self._intercepted(values, x, lambda path, proceed, first: mark(path, proceed()))

    def features(self, values: Values, x: Array, readout: str) -> Array:
        return self._intercepted(
            values, x, lambda path, proceed, first: first if path == readout else proceed()
        )

    def layer(self, path: str, values: Values, z: Array) -> Array:
        own = {name_of(name): value for name, value in values.items()}
        y: Any = self._layers[path].clone(parent=None).apply({"params": own}, z)
        return y

    def assemble(self, values: Values) -> dict[str, Any]:
        params: dict[str, Any] = {}
        for path, value in values.items():
            *parents, name = path.split("/")
            node = params
            for parent in parents:
                node = node.setdefault(parent, {})
            node[name] = value
        return {"params": params, **self._collections}

    def take(self, structure: Any) -> dict[str, Any]:
        params = structure.get("params", structure)
        given = _by_path(nn.meta.unbox(params))
        return {path: given[path] for path in self.shapes if path in given} | given

    def _initialised(self) -> tuple[Any, list[str]]:
        """Shapes of the variables, and paths of the parameters in order of their use."""
        order: list[str] = []

        def init(x):
            variables: Any = self.module.init(jax.random.key(0), x, **self._kwargs)
            # In order of creation, before any tree operation sorts them.
            order.extend(_created(variables.get("params", {})))
            return nn.meta.unbox(variables)

        def see(proceed, args, kwargs, context):
            if context.method_name == "__call__":
                self._layers.setdefault(joined(context.module.path), context.module)
            return proceed(*args, **kwargs)

        with nn.intercept_methods(see), _explained():
            variables = jax.eval_shape(lenient(init), self.inputs())
        # Lifted modules, such as nn.remat's, are sorted all the same: calls come first.
        calls = {path: i for i, path in enumerate(self._layers)}
        order.sort(key=lambda path: calls.get(layer_of(path), len(calls)))
        return variables, order

    def _check_collections(self, variables: Any, given: Mapping[str, Any] | None) -> None:
        others = sorted(set(variables) - {"params"})
        if set(others) != set(given or {}):
            raise ValueError(
                f"the module has collections {others} beside its parameters, got collections "
                f"{sorted(given or {})}: they are not sampled; give them as "
                "collections={name: values}, held fixed, and evaluation mode in apply_kwargs"
            )

    def _intercepted(self, values: Values, x: Array, at: Callable[..., Any]) -> Any:
        def intercept(proceed, args, kwargs, context):
            if context.method_name != "__call__":
                return proceed(*args, **kwargs)
            first = args[0] if args else next(iter(kwargs.values()), None)
            path = joined(context.module.path)
            return at(path, lambda: proceed(*args, **kwargs), first)

        with nn.intercept_methods(intercept), _explained():
            y: Any = self.module.apply(self.assemble(values), x, **self._kwargs)
        return y


class _explained:
    """Flax's errors about evaluation modes, with what to do."""

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if isinstance(error, (errors.InvalidRngError, errors.ModifyScopeVariableError)):
            raise ValueError(
                "the module draws random numbers or changes running statistics: give what puts it "
                "in evaluation mode, such as apply_kwargs={'deterministic': True} or "
                f"{{'train': False}}; Flax says: {error}"
            ) from error


def _by_path(params: Any) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {joined(map(key_of, path)): leaf for path, leaf in leaves}


def _created(params: Mapping[str, Any], above: tuple[str, ...] = ()) -> list[str]:
    paths: list[str] = []
    for name, value in params.items():
        inner = isinstance(value, Mapping)
        paths += _created(value, (*above, name)) if inner else [joined((*above, name))]
    return paths
