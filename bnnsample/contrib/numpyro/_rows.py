"""How the sites of a readout, kernel and bias, lie in its matrix."""

from dataclasses import dataclass

from jax import Array


@dataclass(frozen=True)
class Rows:
    """A site of some ``shape`` as rows ``[rows, d]`` of the readout matrix.

    ``outputs_first``: the site's own layout is ``[d, rows]``.
    """

    shape: tuple[int, ...]
    num_outputs: int
    outputs_first: bool

    @property
    def output_axis(self) -> int:
        """The axis of the site that runs over outputs, where there is more than one."""
        return 0 if self.outputs_first else len(self.shape) - 1

    @property
    def size(self) -> int:
        """The number of rows."""
        total = 1
        for length in self.shape:
            total *= length
        return total // self.num_outputs

    def to_matrix(self, value: Array) -> Array:
        if self.outputs_first:
            return value.reshape(self.num_outputs, -1).T
        return value.reshape(-1, self.num_outputs)

    def from_matrix(self, matrix: Array) -> Array:
        return (matrix.T if self.outputs_first else matrix).reshape(self.shape)


def rows_of(name: str, shape: tuple[int, ...], num_outputs: int) -> Rows:
    """The layout of a site, by its shape.

    ``[..., d]`` is a kernel (Flax) or, as ``[d]``, a bias; ``[d, p]`` is an Equinox weight; with
    one output any shape will do. A square site is ``[p, d]``, or ``[d, p]`` if its name ends in
    ``weight``, as Equinox calls it.

    Raises:
        ValueError: no axis of the site has the length of the outputs.
    """
    if num_outputs == 1:
        return Rows(shape, 1, False)
    first = len(shape) == 2 and shape[0] == num_outputs
    last = len(shape) > 0 and shape[-1] == num_outputs
    if not (first or last):
        raise ValueError(
            f"the readout site {name!r} of shape {shape} does not fit {num_outputs} outputs: "
            f"expected [p, {num_outputs}], [{num_outputs}, p] or a bias [{num_outputs}]"
        )
    return Rows(shape, num_outputs, first and (not last or name.endswith("weight")))
