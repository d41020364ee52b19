"""The empirical neural tangent kernel as an operator."""

from collections.abc import Callable
from typing import Any

import jax
from jax import Array

from ntk._kernel_inputs import check_inputs
from ntk._known_answer import check_backend
from ntk._operator import _eigenpairs, _logdet, _solve, _trace
from ntk._operator._arguments import (
    check_count,
    check_key,
    check_shift,
    check_tolerance,
    to_vectors,
)
from ntk._operator._eigenpairs import Eigenpairs
from ntk._operator._jacobian import Jacobian, jacobian_of
from ntk._operator._logdet import LogDeterminant
from ntk._operator._preconditioners import PRECONDITIONERS
from ntk._operator._solve import Solution
from ntk._operator._trace import TraceEstimate


@jax.tree_util.register_pytree_node_class
class NTKOperator:
    """The empirical NTK ``Theta = J J^T``, ``[N, N]`` with ``N = n * d``, never formed.

    ``J [N, P]`` is the Jacobian of ``f(params, x)`` in all floating point leaves of ``params``.
    A product with a vector is one reverse and one forward pass over the data (NTK-vector products,
    Novak et al. 2022, arXiv:2206.08720, section 3.2). Memory is the data, a few vectors, and for
    each of ``vector_batch_size`` vectors the parameters and the activations of ``batch_size`` rows.

    The operator is a pytree: pass it to a function under ``jax.jit``, or build it there. Compiled
    products are shared by operators with the same ``f`` (the same object), shapes and settings.
    Products, diagonal, trace, ``solve(...).value``, ``logdet(...).value`` and the values of
    ``top_eigenpairs`` have derivatives in ``params``, ``x``, the vectors and the shift; they hold
    the activations of all batches. Use ``jax.lax.map`` and not ``jax.vmap`` over the methods that
    factorise a small matrix (``logdet``, ``top_eigenpairs``, the Nystrom preconditioner): on CPU,
    batched factorisations can wait for each other for ever. Products run at JAX's matrix
    precision; on hardware with TF32, set ``jax.default_matmul_precision("highest")`` for residuals
    below 1e-3. Half precision is raised to float32, parameters and inputs included.

    Args:
        f: ``f(params, x) -> [n, *d]``, each row of the output from its row of ``x`` alone;
            hashable, since its compiled products are kept with it.
        params: A pytree. Leaves that are not floating point are held fixed.
        x: An array ``[n, ...]`` or a pytree of them.
        batch_size: Rows of data per pass, at most. If all go at once, the network is run once for
            all the products of an iterative method. ``None``: as many as keep the activations
            within half a gibibyte.
        vector_batch_size: How many vectors of a block go through the network together. ``None``:
            up to 8, fewer if their gradients would take half a gibibyte.

    Raises:
        TypeError: f is not callable or not hashable, or does not return one array.
        ValueError: as :func:`ntk.empirical_ntk` for ``f``, ``params`` and ``x``; f has no output,
            ``params`` no floating point leaf or a complex one, a batch size is not a positive
            integer. (Values are not checked while they are traced.)
        BackendError: the JAX backend computes wrong numbers.
    """

    _jacobian: Jacobian

    def __init__(
        self,
        f: Callable[[Any, Any], Array],
        params: Any,
        x: Any,
        *,
        batch_size: int | None = None,
        vector_batch_size: int | None = None,
    ):
        for name, size in (("batch_size", batch_size), ("vector_batch_size", vector_batch_size)):
            if size is not None:
                check_count(name, size)
        check_backend(jax.default_backend())
        self._jacobian = _checked(f, params, x, batch_size, vector_batch_size)

    def tree_flatten(self) -> tuple[tuple[Jacobian], None]:
        return (self._jacobian,), None

    @classmethod
    def tree_unflatten(cls, _: None, children: tuple[Jacobian]) -> "NTKOperator":
        operator = object.__new__(cls)
        (operator._jacobian,) = children
        return operator

    @property
    def output_shape(self) -> tuple[int, ...]:
        """``(n, *d)``, the shape of the vectors the kernel acts on."""
        return (self._jacobian.num_data, *self._jacobian.static.output_shape)

    @property
    def shape(self) -> tuple[int, int]:
        """``(N, N)``, the shape of the kernel as a matrix."""
        return (self._jacobian.size, self._jacobian.size)

    @property
    def dtype(self) -> Any:
        """The dtype of every vector and result: f's, and float32 if f's is half precision."""
        return self._jacobian.dtype

    def __matmul__(self, v: Any) -> Array:
        """``Theta v``, in the shape of v: ``[n, *d]``, ``[N]``, or with a trailing axis of vectors.

        Raises:
            ValueError: v has another shape, or another dtype than the operator.
        """
        vectors, restore, _ = to_vectors("v", v, self.output_shape, self.dtype)
        return restore(_multiply(self._jacobian, vectors))

    def solve(
        self,
        b: Any,
        *,
        shift: Any = 0.0,
        tolerance: float | None = None,
        max_steps: int = 1000,
        preconditioner: str | None = None,
        rank: int | None = None,
        key: Array | None = None,
    ) -> Solution:
        """Solve ``(Theta + shift I) value = b`` by conjugate gradients, each vector on its own.

        Look at ``converged``: a solve that ran out of steps or precision returns its last
        iterate, and a singular system may give values that are not finite. The attainable
        residual is about machine epsilon times the condition number of the shifted kernel.
        The derivative of ``value`` is a second solve with the same settings (implicit function
        theorem), as good as these settings are for its right-hand side; that of the other fields is
        zero.

        Args:
            b: ``[n, *d]`` or ``[N]``, or either with a trailing axis of vectors.
            shift: A number, at least 0: a noise variance.
            tolerance: Of the relative residual ``|b - (Theta + shift I) value| / |b|``;
                the square root of machine epsilon unless given.
            max_steps: Products with the kernel, at most, per vector.
            preconditioner: ``None``, ``"diagonal"`` or ``"nystrom"`` (costs ``rank`` products; the
                one for a spectrum that decays).
            rank: Of ``"nystrom"``; 50, or N if that is less, unless given.
            key: Of ``"nystrom"``; a fixed one unless given.

        Returns:
            ``value`` in the shape of b; ``residual``, ``num_steps`` and ``converged``, one number
            or one per vector of the trailing axis.

        Raises:
            ValueError: b does not fit, or an argument is out of its range.
        """
        vectors, restore, per_vector = to_vectors("b", b, self.output_shape, self.dtype)
        size = self._jacobian.size
        if preconditioner is not None and preconditioner not in PRECONDITIONERS:
            names = ", ".join(repr(name) for name in PRECONDITIONERS)
            raise ValueError(f"unknown preconditioner {preconditioner!r}; expected None, {names}")
        if preconditioner != "nystrom" and (rank is not None or key is not None):
            raise ValueError('rank and key belong to preconditioner="nystrom"')
        solution = _solve.solve(
            self._jacobian,
            vectors,
            check_shift(shift, self.dtype, positive=False),
            check_key(jax.random.key(0) if key is None else key, "this"),
            check_tolerance(tolerance, self.dtype),
            check_count("max_steps", max_steps),
            preconditioner,
            check_count("rank", min(50, size) if rank is None else rank, high=size),
        )
        return Solution(restore(solution.value), *(per_vector(field) for field in solution[1:]))

    def diagonal(self) -> Array:
        """The diagonal of the kernel, ``[n, *d]``, exactly, batch by batch.

        By :func:`ntk.empirical_ntk` with every axis on its diagonal: about a forward pass, and
        a reverse pass for every output of a data point.
        """
        return _trace.diagonal(self._jacobian).reshape(self.output_shape)

    def trace(self, num_probes: int | None = None, key: Array | None = None) -> TraceEstimate:
        """The trace of the kernel, exactly or estimated.

        Args:
            num_probes: ``None`` sums the diagonal. A number, at least 2, averages as many random
                quadratic forms (Hutchinson 1990), a reverse pass over the data each.
            key: Random key of the probes.

        Returns:
            ``value`` and its ``standard_error``, zero for the exact trace.

        Raises:
            ValueError: ``num_probes`` is not an integer of at least 2, or only one of the two
                arguments is given.
        """
        if num_probes is None:
            if key is not None:
                raise ValueError("a key without num_probes: the exact trace is not random")
            return _trace.exact_trace(self._jacobian)
        check_count("num_probes", num_probes, low=2)
        return _trace.hutchinson_trace(self._jacobian, check_key(key, "this trace"), num_probes)

    def logdet(
        self, shift: Any, key: Array, num_probes: int = 32, num_steps: int | None = None
    ) -> LogDeterminant:
        """``log det(Theta + shift I)`` by stochastic Lanczos quadrature, with both its errors.

        Ubaru, Chen and Saad 2017, algorithm 1. The derivative of ``value`` is the mean of
        ``z^T (Theta + shift I)^{-1} dTheta z`` over the same probes, the inverse from the same
        Lanczos steps; that of the errors is zero.

        Args:
            shift: A positive number.
            key: Random key of the probes.
            num_probes: At least 2.
            num_steps: Lanczos steps per probe, at most N; 30, or N if that is less, unless given.
                ``num_steps * vector_batch_size`` vectors of outputs are held at once.

        Returns:
            ``value``; ``standard_error``, of the mean over probes; ``quadrature_gap``, a bound on
            how far ``value`` is above the estimate with as many steps as it takes.

        Raises:
            ValueError: shift is not positive, or another argument is out of its range.
        """
        size = self._jacobian.size
        return _logdet.log_determinant(
            self._jacobian,
            check_shift(shift, self.dtype, positive=True),
            check_key(key, "the log-determinant"),
            check_count("num_probes", num_probes, low=2),
            check_count("num_steps", min(30, size) if num_steps is None else num_steps, high=size),
        )

    def top_eigenpairs(
        self,
        k: int,
        *,
        key: Array | None = None,
        tolerance: float | None = None,
        max_steps: int = 100,
    ) -> Eigenpairs:
        """The k largest eigenvalues, ``[k]``, and their eigenvectors, ``[n, *d, k]``.

        Restarted block Lanczos (Golub and Underwood 1977) with full reorthogonalisation, in blocks
        of about ``1.5 k`` vectors. Look at ``converged``. An eigenvalue of any multiplicity is no
        matter. It holds up to 32 blocks of vectors, within half a gibibyte if six blocks fit.
        The values have derivatives ``v^T dTheta v``, right for an eigenvalue that is simple, and
        for the sum over all copies of one that is not; the vectors have none.

        Args:
            k: From 1 to N.
            key: Random key of the first block; a fixed one unless given.
            tolerance: Of the residual norms, relative to the largest eigenvalue; the square root
                of machine epsilon unless given.
            max_steps: Products of the kernel with a block, at most.

        Returns:
            ``values`` and ``vectors``, the largest first; ``residual_norms`` and ``converged``,
            one for each pair; ``num_products`` with one vector.

        Raises:
            ValueError: an argument is out of its range.
        """
        pairs = _eigenpairs.top_eigenpairs(
            self._jacobian,
            check_key(jax.random.key(0) if key is None else key, "this"),
            check_count("k", k, high=self._jacobian.size),
            check_tolerance(tolerance, self.dtype),
            check_count("max_steps", max_steps),
        )
        return pairs._replace(vectors=pairs.vectors.reshape(*self.output_shape, k))


@jax.jit
def _multiply(jacobian: Jacobian, vectors: Array) -> Array:
    return jacobian.over_vectors(jacobian.product(), vectors)


def _checked(
    f: Callable[[Any, Any], Array],
    params: Any,
    x: Any,
    batch_size: int | None,
    vector_batch_size: int | None,
) -> Jacobian:
    inputs = check_inputs(f, params, x, None, (), (), name="x")
    return jacobian_of(inputs, batch_size, vector_batch_size)
