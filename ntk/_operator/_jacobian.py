"""The Jacobian of a network over a data set, as two linear maps that work batch by batch."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ntk._kernel_inputs import Inputs, Signature, in_blocks
from ntk._operator._batches import activation_bytes, num_bytes, num_rows, num_vectors

Product = Callable[[Array], Array]


class Static(NamedTuple):
    """What a compiled product depends on besides arrays: hashable, compared by value."""

    signature: Signature
    output_shape: tuple[int, ...]
    batch_size: int
    vector_batch_size: int
    diagonal_batch_size: int


@jax.tree_util.register_pytree_node_class
class Jacobian:
    """``J = d f(params, x) / d params``, of shape ``[N, P]`` with ``N = n * d``, never formed.

    A pytree: the arrays (``leaves`` the floating point parameters, ``held`` the others, ``x`` the
    leaves of the inputs ``[n, ...]``) are traced, and everything in ``static`` is a part of the
    compiled program's key.
    """

    def __init__(self, leaves: list[Array], held: list[Array], x: list[Array], static: Static):
        self.leaves = leaves
        self.held = held
        self.x = x
        self.static = static

    def tree_flatten(self) -> tuple[tuple[Any, ...], Static]:
        return (self.leaves, self.held, self.x), self.static

    @classmethod
    def tree_unflatten(cls, static: Static, children: tuple[Any, ...]) -> "Jacobian":
        leaves, held, x = children
        return cls(leaves, held, x, static)

    @property
    def num_data(self) -> int:
        """n, the number of data points."""
        return self.x[0].shape[0]

    @property
    def outputs_per_row(self) -> int:
        """d, the number of outputs of one data point."""
        return math.prod(self.static.output_shape)

    @property
    def size(self) -> int:
        """N, the number of outputs over all data."""
        return self.num_data * self.outputs_per_row

    @property
    def dtype(self) -> Any:
        """In which outputs are summed: that of f, at least single precision."""
        return self.static.signature.dtype

    def forward(self, leaves: list[Array], batch: list[Array]) -> Array:
        """The outputs of a batch, ``[rows * d]``."""
        signature = self.static.signature
        params = signature.layout.join(leaves, self.held)
        outputs = signature.f(params, jax.tree.unflatten(signature.x_tree, batch))
        return outputs.reshape(-1).astype(self.dtype)

    def maps(self) -> tuple[Callable[[Array], list[Array]], Callable[[list[Array]], Array]]:
        """``(pull, push)``: ``v [N] -> J^T v`` over the leaves, and ``u -> J u [N]``.

        With one batch the network is linearised here, once, and every product of the enclosing
        compiled program shares it. With several, each product runs the forward pass batch by
        batch, so that the activations of one batch at a time are alive.

        ``J`` is the transpose of ``J^T``, which also takes networks with a ``jax.custom_vjp``.
        """
        num_batches, rows = even_batches(self.num_data, self.static.batch_size)
        if num_batches == 1:
            pull = self._pull_of(self.x)
            return pull, self._transpose(pull, rows)
        batches = self.batches(rows)
        filling = (num_batches * rows - self.num_data) * self.outputs_per_row

        def pull_all(v: Array) -> list[Array]:
            def add(total: list[Array], item: tuple[Any, Array]) -> tuple[list[Array], None]:
                batch, w = item
                return jax.tree.map(jnp.add, total, self._pull_of(batch)(w)), None

            # The outputs of rows that only fill the last batch have cotangent zero.
            cotangents = jnp.pad(v, (0, filling)).reshape(num_batches, -1)
            zero = jax.tree.map(jnp.zeros_like, self.leaves)
            return jax.lax.scan(add, zero, (batches, cotangents))[0]

        def push_all(u: list[Array]) -> Array:
            def push(batch: list[Array]) -> Array:
                return self._transpose(self._pull_of(batch), rows)(u)

            return jax.lax.map(push, batches).reshape(-1)[: self.size]

        return pull_all, push_all

    def product(self) -> Product:
        """``v [N] -> J J^T v [N]``."""
        pull, push = self.maps()
        return lambda v: push(pull(v))

    def over_vectors(self, fn: Callable[[Array], Any], vectors: Array) -> Any:
        """``fn`` of each row of ``vectors [k, N]``, ``vector_batch_size`` of them at a time."""
        num_groups, group = even_batches(len(vectors), self.static.vector_batch_size)
        if num_groups == 1:
            return jax.vmap(fn)(vectors)
        results = jax.lax.map(jax.vmap(fn), in_blocks(vectors, group))
        return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[: len(vectors)], results)

    def batches(self, rows: int) -> list[Array]:
        """Leaves of x as ``[num_batches, rows, ...]``, filled up with copies of the last row."""
        return [in_blocks(leaf, rows) for leaf in self.x]

    def _pull_of(self, batch: list[Array]) -> Callable[[Array], list[Array]]:
        """``w [rows * d] -> J_batch^T w``: the forward pass is run here, once."""
        _, pull = jax.vjp(lambda leaves: self.forward(leaves, batch), self.leaves)
        return lambda w: pull(w)[0]

    def _transpose(self, pull: Callable[[Array], list[Array]], rows: int):
        """``u -> J_batch u [rows * d]``."""
        cotangent = jax.ShapeDtypeStruct((rows * self.outputs_per_row,), self.dtype)
        push = jax.linear_transpose(pull, cotangent)
        return lambda u: push(u)[0]


def jacobian_of(inputs: Inputs, batch_size: int | None, vector_batch_size: int | None) -> Jacobian:
    """The Jacobian of a checked call; batch sizes that are None come from the memory budget."""
    leaves, held = _widened(inputs.leaves), inputs.held
    x = _widened([jnp.asarray(a) for a in inputs.x1])
    static = Static(inputs.signature, inputs.output_shape, 1, 1, 1)
    per_row = activation_bytes(Jacobian(leaves, held, x, static).forward, leaves, x)
    vectors = num_vectors(leaves) if vector_batch_size is None else vector_batch_size
    rows = num_rows(per_row, vectors) if batch_size is None else batch_size
    # At worst a full Jacobian of the batch, whatever way the diagonal is computed.
    per_gradient = per_row + num_bytes(leaves)
    diagonal_rows = num_rows(per_gradient * math.prod(inputs.output_shape), 0)
    static = Static(inputs.signature, inputs.output_shape, rows, vectors, min(rows, diagonal_rows))
    return Jacobian(leaves, held, x, static)


def even_batches(num_data: int, batch_size: int) -> tuple[int, int]:
    """The number of batches of at most ``batch_size`` rows, and the rows of each."""
    num_batches = math.ceil(num_data / batch_size)
    return num_batches, math.ceil(num_data / num_batches)


def _widened(arrays: list[Array]) -> list[Array]:
    """Half precision raised to single: a product rounded to half would not be linear."""

    def wide(a: Array) -> Array:
        half = jnp.issubdtype(a.dtype, jnp.floating) and jnp.finfo(a.dtype).bits < 32
        return a.astype(jnp.float32) if half else a

    return [wide(a) for a in arrays]
